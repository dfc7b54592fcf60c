package import FoundationEssentials

extension JSONEncoder {
    /// One that writes a value in one line with sorted fields: equal values have equal bytes.
    package static var oneLine: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }
}
