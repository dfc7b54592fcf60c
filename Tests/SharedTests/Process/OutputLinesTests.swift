import Testing

@testable import Shared

@Suite("OutputLines")
struct OutputLinesTests {
    private static let bytes = Array("eins\nzwei\n\nübrig".utf8)

    @Test(arguments: 0...bytes.count)
    func `lines are the same wherever the bytes are cut`(cut: Int) {
        var output = OutputLines()
        var lines = output.take(Self.bytes[..<cut])
        lines += output.take(Self.bytes[cut...])
        #expect(lines == ["eins", "zwei", ""])
        #expect(output.end() == "übrig")
        #expect(output.end() == nil)
    }

    @Test func `lines come out whole when the bytes come one by one`() {
        var output = OutputLines()
        let lines = Self.bytes.indices.flatMap { output.take(Self.bytes[$0...$0]) }
        #expect(lines == ["eins", "zwei", ""])
    }

    @Test func `a line without end is cut, and the next one is whole`() {
        var output = OutputLines()
        let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 5_000)
        for _ in 0..<100 { #expect(output.take(piece[...]).isEmpty) }
        #expect(output.take(Array("\nnext\n".utf8)[...]).map(\.utf8.count) == [8_192, 4])
    }
}
