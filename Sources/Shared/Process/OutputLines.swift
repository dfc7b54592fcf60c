/// Makes lines of the bytes that a program writes, however they are cut into pieces.
struct OutputLines {
    /// The longest line, in bytes; what goes beyond it is dropped up to the next newline.
    static let longestLine = 8_192

    private var partial: [UInt8] = []
    private var hasPartial = false

    /// Takes the next bytes and gives the lines that they complete, without their newlines and with invalid UTF-8
    /// repaired.
    mutating func take(_ bytes: ArraySlice<UInt8>) -> [String] {
        var lines: [String] = []
        var rest = bytes
        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
            append(rest[..<newline])
            lines.append(close())
            rest = rest[(newline + 1)...]
        }
        if !rest.isEmpty { append(rest) }
        return lines
    }

    /// The line that has begun and not ended, if any: call it when nothing more comes.
    mutating func end() -> String? {
        hasPartial ? close() : nil
    }

    private mutating func append(_ bytes: ArraySlice<UInt8>) {
        hasPartial = true
        partial += bytes.prefix(Self.longestLine - partial.count)
    }

    private mutating func close() -> String {
        defer {
            partial.removeAll(keepingCapacity: false)
            hasPartial = false
        }
        return String(decoding: partial, as: UTF8.self)
    }
}
