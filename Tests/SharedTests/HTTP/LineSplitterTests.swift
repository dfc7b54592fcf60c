import Testing

@testable import Shared

@Suite("Line splitter")
struct LineSplitterTests {
    private static let text = "one\r\ntwo\n\nvierßig\nlast"
    private static let lines = ["one", "two", "", "vierßig", "last"]

    private func split(_ pieces: [ArraySlice<UInt8>], longest: Int = 100) throws -> [String] {
        var splitter = LineSplitter(longest: longest)
        var lines: [[UInt8]] = []
        for piece in pieces {
            splitter.append(Array(piece))
            while let line = try splitter.next() { lines.append(line) }
        }
        if let rest = splitter.rest() { lines.append(rest) }
        return lines.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func `the lines are the same wherever the bytes are cut`() throws {
        let bytes = Array(Self.text.utf8)
        for cut in 0...bytes.count {
            #expect(try split([bytes[..<cut], bytes[cut...]]) == Self.lines)
        }
        #expect(try split(bytes.indices.map { bytes[$0...$0] }) == Self.lines)
    }

    @Test func `a stream that ends with a newline has no further line`() throws {
        #expect(try split([Array("a\n".utf8)[...]]) == ["a"])
        #expect(try split([]) == [])
    }

    @Test func `a line may be as long as allowed and no longer, ended or not`() throws {
        var splitter = LineSplitter(longest: 4)
        splitter.append(Array("1234\n".utf8))
        #expect(try splitter.next() == Array("1234".utf8))
        splitter.append(Array("12345".utf8))
        #expect(throws: LineSplitter.TooLong.self) { try splitter.next() }
        var ended = LineSplitter(longest: 4)
        ended.append(Array("12345\n".utf8))
        #expect(throws: LineSplitter.TooLong.self) { try ended.next() }
    }

    @Test func `a line as long as allowed passes wherever the bytes are cut`() throws {
        let bytes = Array("1234\n5678\n9012\n".utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]]
                #expect(try split(pieces, longest: 4) == ["1234", "5678", "9012"])
            }
        }
    }
}
