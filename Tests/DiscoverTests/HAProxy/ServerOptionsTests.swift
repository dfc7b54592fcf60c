import Shared
import Testing

@testable import Discover

@Suite("Server keywords")
struct ServerOptionsTests {
    typealias Change = @Sendable (inout ServerOptions) -> Void

    static let health = "fall 2 rise 2"
    static let observed = "observe layer4 error-limit 3 on-error sudden-death"
    static let checked = "check inter 2s fastinter 200ms \(health) \(observed)"
    static let checked81 = "check inter 2s fastinter 200ms \(health) port 81 \(observed)"
    static let cases: [(Change, String)] = [
        ({ _ in }, "weight 100 check inter 2s fastinter 200ms \(health) \(observed)"),
        ({ ($0.check, $0.weight) = (nil, 0) }, "weight 0"),
        ({ ($0.check, $0.maxConnections) = (nil, 5) }, "weight 100 maxconn 5"),
        ({ ($0.check, $0.isBackup) = (nil, true) }, "weight 100 backup"),
        ({ ($0.check, $0.slowStart) = (nil, .milliseconds(1500)) }, "weight 100 slowstart 1500ms"),
        ({ ($0.check, $0.slowStart) = (nil, .zero) }, "weight 100"),
        ({ ($0.check, $0.proxyProtocol) = (nil, .v1) }, "weight 100 send-proxy"),
        ({ ($0.check, $0.hasCookie, $0.isBackup) = (nil, true, true) }, "weight 100 cookie 1 backup"),
        ({ $0.proxyProtocol = .v2 }, "weight 100 send-proxy-v2 check-send-proxy \(checked)"),
        ({ ($0.check, $0.proxyProtocol) = (.init(port: port(81)), .v1) }, "weight 100 send-proxy \(checked81)"),
        ({ ($0.check, $0.proxyProtocol) = (nil, .v2) }, "weight 100 send-proxy-v2"),
        (
            {
                $0.check = .init(
                    isHTTP: true, interval: .seconds(5), fastInterval: .seconds(1), downInterval: .seconds(60), rise: 3,
                    fall: 4, port: port(8081))
            }, "weight 100 check inter 5s fastinter 1s downinter 60s fall 4 rise 3 port 8081 \(observed)"
        ),
    ]

    private func line(_ change: Change) -> ServerLine {
        var server = DesiredState.Server(id: instance("1"), endpoint: endpoint("10.0.0.5:80"))
        change(&server.keywords)
        return ServerLine(server, fixed: server.keywords.fixed)
    }

    @Test(arguments: cases)
    func `each keyword is written, and read again from a file`(change: Change, expected: String) throws {
        let line = line(change)
        #expect(line.words == "10.0.0.5:80 \(expected)")
        let read = try #require(ServerLine(words: "1 \(line.words)".split(separator: " ")))
        #expect(read == line)
        #expect(read.isChecked == expected.contains("check inter"))
    }

    @Test(arguments: ["", "1", "1 10.0.0.5:80", "1 10.0.0.5:80 check", "1 host:80 weight 5", "1 10.0.0.5:80 weight x"])
    func `a line that was written by others is none`(text: String) {
        #expect(ServerLine(words: text.split(separator: " ")) == nil)
    }

    @Test func `a server of which only the address is known equals none`() {
        let known = line { $0.check = nil }
        let seen = ServerLine(id: known.id, endpoint: known.endpoint, weight: known.weight)
        #expect(seen != known && seen != seen)
        #expect(!seen.isChangeable(to: known))
    }
}
