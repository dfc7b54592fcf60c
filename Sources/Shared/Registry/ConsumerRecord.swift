import FoundationEssentials

/// What a docker-discover says of itself: the JSON object at `<prefix>-consumers/<instance>`, under a lease of its own.
package struct ConsumerRecord: Codable, Equatable, Sendable {
    /// The host's name.
    package var host: String
    /// The program's version.
    package var version: String
    /// The etcd cluster whose revision it is.
    package var cluster: String
    /// The registry's revision that HAProxy runs, as it was when somebody last waited for it.
    package var revision: Int64

    /// Makes one.
    package init(host: String, version: String, cluster: String, revision: Int64) {
        self.host = host
        self.version = version
        self.cluster = cluster
        self.revision = revision
    }

    /// Parses a value; nil where it is none.
    package init?(json: some Sequence<UInt8>) {
        guard let record = try? JSONDecoder().decode(Self.self, from: Data(json)) else { return nil }
        self = record
    }

    /// The object in one line with sorted fields.
    package func json() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(self))
    }
}
