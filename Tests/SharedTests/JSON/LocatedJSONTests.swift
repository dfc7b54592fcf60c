import FoundationEssentials
import Testing

@testable import Shared

@Suite("JSON with places")
struct LocatedJSONTests {
    private func parse(_ text: String) throws -> LocatedJSON { try LocatedJSONParser.parse(text.utf8) }

    @Test func `every value and field has its line and column`() throws {
        let json = try parse("\n{ \"a\": [1,\n  \"\u{e4}\u{1f600}\", true],\t\"b\":null }")
        guard case .object(let members) = json.value, case .list(let elements) = members[0].value.value else {
            Issue.record("not an object with a list: \(json)")
            return
        }
        #expect(json.place == LocatedJSON.Location(line: 2, column: 1))
        #expect(members.map(\.name) == ["a", "b"])
        #expect(
            members.map(\.place) == [
                LocatedJSON.Location(line: 2, column: 3), LocatedJSON.Location(line: 3, column: 16),
            ])
        #expect(members[1].value == LocatedJSON(place: LocatedJSON.Location(line: 3, column: 20), value: .null))
        #expect(elements.map(\.value) == [.number("1"), .text("\u{e4}\u{1f600}"), .boolean(true)])
        #expect(elements.map(\.place.line) == [2, 3, 3])
        #expect(elements.map(\.place.column) == [9, 3, 9])
    }

    @Test(arguments: [
        (#""""#, ""), (#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"),
        (#""\u0041\u00e4\ud83d\ude00""#, "A\u{e4}\u{1f600}"),
        ("\"\u{7f}\"", "\u{7f}"),
    ])
    func `texts are read with their escapes`(text: String, value: String) throws {
        #expect(try parse(text).value == .text(value))
    }

    @Test(arguments: [
        ("", "1:1: expected a value, but here the file ends"), ("{", "1:2: expected a field's name in double quotes"),
        ("[1,]", "1:4: expected a value"), ("[1 2]", "1:4: expected ',' or ']'"),
        ("{\"a\" 1}", "1:6: expected ':' after the field's name"), ("{\"a\":1,}", "1:8: expected a field's name"),
        ("{\"a\":1 \"b\":2}", "1:8: expected ',' or '}'"), ("{a:1}", "1:2: expected a field's name in double quotes"),
        ("\n\n  'a'", "3:3: expected a value"), ("[01]", "1:3: expected ',' or ']'"), ("[1.]", "1:4: expected a digit"),
        ("[-]", "1:3: expected a digit"), ("[1e+]", "1:5: expected a digit"), ("[.5]", "1:2: expected a value"),
        ("tru", "1:1: expected a value"), ("{} // all", "1:4: here the text should end"),
        ("\"a\nb\"", "1:3: a line break or control character"), ("\"abc", "1:5: the file ends within a text"),
        (#""\x""#, "1:2: no such escape"), (#""\u12g4""#, "1:6: expected four hexadecimal digits"),
        (#""\ud83d""#, "1:2: half of a surrogate pair"), (#""\ud83d\u0041""#, "1:2: half of a surrogate pair"),
        (#""\ude00""#, "1:2: half of a surrogate pair"),
        (String(repeating: "[", count: 100), "1:33: more than 32 levels of lists and objects"),
    ])
    func `what is no JSON is shown where it stops being it`(text: String, message: String) {
        let mistake = #expect(throws: LocatedJSON.Diagnostic.self) { try parse(text) }
        #expect(mistake.map(\.description)?.hasPrefix(message) == true, "\(mistake.map(\.description) ?? "none")")
    }

    @Test func `bytes that are no text are named with their line, and a byte order mark is skipped`() throws {
        let mistake = #expect(throws: LocatedJSON.Diagnostic.self) {
            try LocatedJSONParser.parse(Array("{\n\"a\": \"".utf8) + [0xff] + Array("\"\n}".utf8))
        }
        #expect(mistake?.description == "2:1: this line is not UTF-8")
        #expect(try LocatedJSONParser.parse([0xef, 0xbb, 0xbf] + Array("{}".utf8)).value == .object([]))
    }

    @Test func `it takes a text, cut at any place or with any byte missing, just when JSONDecoder does`() {
        let text = #"{"a":[1,-2.5e+3,0,"x\n\u0041"],"b":{"c":true,"d":false},"e":null,"f":[],"g":{}}"#
        let bytes = Array(text.utf8)
        var variants = bytes.indices.map { Array(bytes[..<$0]) }
        for index in bytes.indices { variants.append(Array(bytes[..<index] + bytes[(index + 1)...])) }
        for variant in variants + [bytes] {
            let isAccepted = (try? LocatedJSONParser.parse(variant)) != nil
            let reference = (try? JSONDecoder().decode(Anything.self, from: Data(variant))) != nil
            #expect(isAccepted == reference, "\(String(decoding: variant, as: UTF8.self))")
        }
    }

    /// Any JSON, looked through to the last value: the decoder judges some values only when they are asked for.
    private struct Anything: Decodable {
        init(from decoder: any Decoder) throws {
            if let object = try? decoder.container(keyedBy: Key.self) {
                for key in object.allKeys { _ = try object.decode(Anything.self, forKey: key) }
            } else if var list = try? decoder.unkeyedContainer() {
                while !list.isAtEnd { _ = try list.decode(Anything.self) }
            } else {
                let value = try decoder.singleValueContainer()
                if value.decodeNil() || (try? value.decode(Bool.self)) != nil { return }
                if (try? value.decode(String.self)) == nil { _ = try value.decode(Double.self) }
            }
        }

        private struct Key: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
    }
}
