/// Spans of time as people write them: `15s`, `500ms`, `10m`, `1h`, `1m30s`.
package enum DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
    ]

    /// Reads whole numbers with units, the larger ones first and each once; a bare number counts seconds.
    package static func parse(_ text: String) -> Duration? {
        if let seconds = number(text[...]) { return .seconds(seconds) }
        var rest = text[...]
        var milliseconds: Int64 = 0
        for unit in units {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard let count = number(digits), letters(rest.dropFirst(digits.count)) == unit.name else { continue }
            milliseconds += count * unit.milliseconds
            rest = rest.dropFirst(digits.count + unit.name.count)
        }
        return rest.isEmpty && !text.isEmpty ? .milliseconds(milliseconds) : nil
    }

    /// Writes a span so that ``parse(_:)`` reads it again, rounded down to a millisecond.
    package static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        var rest = min(max(seconds, 0), Int64.max / 10_000) * 1_000 + max(attoseconds, 0) / 1_000_000_000_000_000
        var text = ""
        for unit in units where rest >= unit.milliseconds {
            text += "\(rest / unit.milliseconds)\(unit.name)"
            rest %= unit.milliseconds
        }
        return text.isEmpty ? "0s" : text
    }

    /// Writes a span for people: from a second on in tenths of a second.
    ///
    /// What is left of a limit is some microseconds less than the limit.
    package static func rounded(_ duration: Duration) -> String {
        let tenth = Duration.milliseconds(100)
        guard duration > .seconds(1) - tenth / 2, duration < .seconds(1_000_000_000) else { return text(duration) }
        return text(tenth * Int(((duration / tenth) as Double).rounded()))
    }

    private static func letters(_ text: Substring) -> Substring {
        text.prefix { $0.isLetter }
    }

    /// Nine digits at most: nothing here can overflow, and nobody waits longer than thirty years.
    private static func number(_ digits: Substring) -> Int64? {
        digits.count <= 9 && digits.allSatisfy { $0.isASCII && $0.isNumber } ? Int64(digits) : nil
    }
}
