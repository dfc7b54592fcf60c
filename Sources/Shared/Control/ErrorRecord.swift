import FoundationEssentials

/// Something that failed, as `status` tells it.
package struct ErrorRecord: Encodable, Equatable, Sendable {
    /// When, RFC 3339.
    package var time: String
    /// What, in one sentence.
    package var error: String

    /// Names what failed, and when.
    package init(time: String, error: String) {
        self.time = time
        self.error = error
    }

    /// Takes what has just failed.
    package init(_ error: any Error) {
        self.init(time: Timestamp.text(Timestamp.now()), error: "\(error)")
    }
}

/// How `--json` prints what is reported.
package enum ReportJSON {
    /// One object with sorted fields.
    package static func text(_ report: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(report), as: UTF8.self) + "\n"
    }
}
