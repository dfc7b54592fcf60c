import Shared
import Testing

@testable import Discover

@Suite("AccessLogLine")
struct AccessLogLineTests {
    @Test func `a request tells what became of it`() throws {
        let line = "[ACCESS] http web ::ffff:10.0.0.1:40790 0123456789ab 200 0/x"
        #expect(AccessLogLine(line) == nil)
        let request = try #require(
            AccessLogLine(
                "[ACCESS] http web ::ffff:10.0.0.1:40790 0123456789ab 200 0 1 12 14 1139 -- GET /a b=[ACCESS]"))
        #expect(request.mode == .http)
        #expect(
            request.fields == [
                "service": "web", "client": "10.0.0.1:40790", "endpoint": "0123456789ab", "status": "200",
                "queue_ms": "0", "connect_ms": "1", "answer_ms": "12", "ms": "14", "bytes": "1139", "method": "GET",
                "path": "/a b=[ACCESS]",
            ])
    }

    @Test func `what did not come about is not told`() throws {
        let request = try #require(AccessLogLine("[ACCESS] http web ::1:5 <NOSRV> 503 -1 -1 -1 0 217 SC GET /foo"))
        #expect(Set(request.fields.keys) == ["service", "client", "status", "ms", "bytes", "end", "method", "path"])
        #expect(request.fields["end"] == "SC" && request.fields["client"] == "::1:5")
    }

    @Test func `a connection tells where it led`() throws {
        let connection = try #require(AccessLogLine("[ACCESS] tcp db 127.0.0.1:38818 x 1 0 8 1140 --"))
        #expect(connection.mode == .tcp)
        #expect(connection.fields["endpoint"] == "x" && connection.fields["ms"] == "8")
        #expect(connection.fields["status"] == nil)
    }

    @Test(arguments: ["", "[ACCESS]", "[ACCESS] http", "[ACCESS] udp a b c", "[WARNING]  (1) : x", "[ACCESS] tcp a b"])
    func `other lines are none of it`(line: String) {
        #expect(AccessLogLine(line) == nil)
    }
}
