import Testing

@testable import Shared

@Suite("TextTable")
struct TextTableTests {
    @Test func `columns are as wide as their widest cell, and no line ends in blanks`() {
        var table = TextTable(["A", "NAME", "B"])
        table.add(["longer", "x", ""])
        table.add(["", "yy", "z"])
        #expect(table.lines == ["A       NAME  B", "longer  x", "        yy    z"])
    }

    @Test func `a cell that is far too long does not widen its column`() {
        let long = String(repeating: "x", count: 10_000)
        var table = TextTable(["A", "B"])
        table.add([long, "y"])
        table.add(["zz", "y"])
        #expect(table.lines == ["A   B", long + "  y", "zz  y"])
    }

    @Test(arguments: [
        ("plain äö", "plain äö"), ("a\nb", #"a\nb"#), ("\u{1b}[31m", #"\u{1B}[31m"#), ("\u{202e}x", #"\u{202E}x"#),
        ("a\tb\r", #"a\tb\r"#), ("\u{2028}", #"\u{2028}"#),
    ])
    func `what a terminal would obey is shown by its name`(text: String, shown: String) {
        #expect(OneLine.text(text) == shown)
        var table = TextTable([""])
        table.add([text])
        #expect(table.lines.last == shown)
    }
}
