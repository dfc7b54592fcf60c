import Glibc
import Shared
import Synchronization
import TestSupport
import Testing

@Suite("Logger")
struct LoggerTests {
    private let lines = CapturedLines()

    @Test func `a line has its level, its message and its facts in order`() {
        logger(.logfmt).info("registered", ["service": "whoami", "endpoint": "10.0.0.1:80", "entries": 2])
        #expect(lines.all == [#"level=info msg="registered" service=whoami endpoint=10.0.0.1:80 entries=2"#])
    }

    @Test func `in json integers and truth values stay what they are`() {
        logger(.json).warning("retrying", ["tries": 3, "lost": false, "after": "1s", "port": Port(80)])
        #expect(
            lines.all == [#"{"level":"warning","msg":"retrying","tries":3,"lost":false,"after":"1s","port":80}"#])
    }

    @Test func `a fact that is nil is left out`() {
        logger(.logfmt).error("gone", ["why": nil as String?, "id": "a"])
        #expect(lines.all == [#"level=error msg="gone" id=a"#])
    }

    @Test func `program and time are fields of every line when they are wanted`() {
        let logger = Logger(
            level: .info, format: .logfmt, program: "docker-register", timestamps: true,
            now: { .milliseconds(1_785_501_296_789) }, write: lines.add)
        logger.info("started")
        #expect(lines.all == [#"time=2026-07-31T12:34:56.789Z level=info program=docker-register msg="started""#])
    }

    @Test(arguments: Logger.Level.allCases)
    func `a line below the level is not written, and its facts are not computed`(level: Logger.Level) {
        let computed = Mutex(0)
        func fact() -> Int {
            computed.withLock { count in
                count += 1
                return count
            }
        }
        let logger = Logger(level: level, format: .logfmt, write: lines.add)
        logger.debug("debug", ["n": fact()])
        logger.info("info", ["n": fact()])
        logger.warning("warning", ["n": fact()])
        logger.error("error", ["n": fact()])
        let expected = Logger.Level.allCases.filter { $0 >= level }.count
        #expect(lines.all.count == expected)
        #expect(computed.withLock { $0 } == expected)
    }

    @Test(arguments: Logger.Format.allCases)
    func `a line for journald begins with its level's priority`(format: Logger.Format) {
        let told = CapturedLines()
        for logger in [
            Logger(level: .debug, format: format, priorities: true, write: told.add), self.logger(format),
        ] {
            logger.debug("m")
            logger.info("m")
            logger.warning("m")
            logger.error("m")
        }
        #expect(told.all == zip(["<7>", "<6>", "<4>", "<3>"], lines.all).map { $0 + $1 })
    }

    private func logger(_ format: Logger.Format) -> Logger {
        Logger(level: .debug, format: format, write: lines.add)
    }
}

@Suite("LogEncoding")
struct LogEncodingTests {
    @Test(arguments: [
        ("plain", "plain"), ("", #""""#), ("two words", #""two words""#), ("a=b", #""a=b""#),
        ("say \"hi\"", #""say \"hi\"""#), (#"C:\x"#, #""C:\\x""#), ("a\nlevel=error", #""a\nlevel=error""#),
        ("a\r\n\tb", #""a\r\n\tb""#), ("\u{0}\u{1b}[31m", #""\u0000\u001b[31m""#), ("\u{7f}", #""\u007f""#),
        ("\u{85}", #""\u0085""#), ("\u{2028}", #""\u2028""#), ("\u{202e}abc", #""\u202eabc""#),
        ("\u{e0001}", #""\udb40\udc01""#), ("grün", "grün"), ("[::1]:80", "[::1]:80"),
        (String(decoding: [0x61, 0xff, 0x62] as [UInt8], as: UTF8.self), "a\u{fffd}b"),
    ])
    func `a hostile value stays one value in both formats`(value: String, expected: String) {
        #expect(line(.logfmt, value) == #"level=info msg="m" v="# + expected)
        let quoted = expected.hasPrefix("\"") ? expected : "\"\(expected)\""
        #expect(line(.json, value) == #"{"level":"info","msg":"m","v":"# + quoted + "}")
    }

    @Test(arguments: Logger.Format.allCases)
    func `a value of a megabyte is cut and its size named`(format: Logger.Format) {
        let line = line(format, String(repeating: "x", count: 1_000_000))
        #expect(line.utf8.count < 1_200)
        #expect(line.contains("xxx... (1000000 bytes)"))
    }

    @Test(arguments: 0..<8)
    func `a cut tears no character`(offset: Int) {
        let line = line(.logfmt, String(repeating: "a", count: offset) + String(repeating: "😀", count: 1_000))
        #expect(!line.contains("\u{fffd}"))
        #expect(line.contains("😀... (\(4_000 + offset) bytes)"))
    }

    @Test func `a value at the limit is whole`() {
        let value = String(repeating: "x", count: 1_024)
        #expect(line(.logfmt, value).hasSuffix("v=" + value))
    }

    private func line(_ format: Logger.Format, _ value: String) -> String {
        let lines = CapturedLines()
        Logger(level: .info, format: format, write: lines.add).info("m", ["v": value])
        return lines.all.joined(separator: "|")
    }
}

@Suite("Timestamp")
struct TimestampTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (-5, "1970-01-01T00:00:00.000Z"),
    ])
    func `a time is written as RFC 3339 says`(milliseconds: Int, text: String) {
        #expect(Timestamp.text(.milliseconds(milliseconds)) == text)
    }

    @Test(arguments: [
        (false, true, false, true), (false, false, false, true), (false, false, true, false),
        (true, false, false, false), (true, true, false, true), (false, true, true, true),
    ])
    func `a line needs a time of its own unless journald or Docker gives it one`(
        isJournal: Bool, isTerminal: Bool, isInDocker: Bool, needed: Bool
    ) {
        let answer = Logger.needsTimestamps(isJournal: isJournal, isTerminal: isTerminal, isInDocker: isInDocker)
        #expect(answer == needed)
    }
}
