import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("What docker-discover logs of changes")
struct EventLogTests {
    private let lines = CapturedLines()

    private func log() -> EventLog {
        EventLog(Logger(level: .info, format: .logfmt, write: { [lines] in lines.add($0) }))
    }

    private func problems(_ range: Range<Int>) -> Set<Diagnostic> {
        Set(range.map { .portOfStats(service("s\($0)"), port($0)) })
    }

    @Test func `of many problems of one kind the first are logged, and the others counted`() {
        var log = log()
        log.log(problems(1000..<1003).union([.badField(key: "/backends/web/config", field: "x")]))
        #expect(lines.count(of: "level=error msg=\"service not served\"") == 3)
        log.log(problems(1000..<6000))
        #expect(lines.count(of: "msg=\"service not served\"") == 13)
        #expect(
            lines.contain("level=error msg=\"more problems of this kind\"", "kind=\"service not served\"", "count=4987")
        )
        log.log(Set<Diagnostic>())
        #expect(lines.count(of: "msg=\"problem resolved\"") == 11)
        #expect(lines.contain("level=info msg=\"more problems resolved\"", "count=4990"))
        let before = lines.all.count
        log.log(Set<Diagnostic>())
        #expect(lines.all.count == before)
    }
}
