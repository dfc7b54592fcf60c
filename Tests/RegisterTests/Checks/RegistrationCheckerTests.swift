// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Synchronization
import TestSupport
import Testing

@testable import Register

@Suite("Register checks", .enabled(if: RealParts.canRun("busybox"), "needs busybox"), .timeLimit(.minutes(1)))
struct RegistrationCheckerTests {
    private typealias Fixture = CheckFixture

    /// Checks that run; they end with the value.
    private final class Checking: Sendable {
        let checks: RegistrationChecker
        private let changes = Counter()
        private let task: Task<Void, any Error>

        private final class Counter: Sendable {
            let count = Atomic(0)
        }

        init() throws {
            let checks = RegistrationChecker(try #require(HTTPClient()))
            self.checks = checks
            task = Task { [changes] in
                try await checks.run { changes.count.add(1, ordering: .relaxed) }
            }
        }

        deinit { task.cancel() }

        /// How often it has said that a verdict has changed.
        var changed: Int { changes.count.load(ordering: .relaxed) }

        func want(_ targets: CheckTarget..., passing: Bool = false) {
            checks.watch(Dictionary(uniqueKeysWithValues: targets.map { ($0, passing) }))
        }

        func finds(_ verdict: CheckResult, of target: CheckTarget) async -> Bool {
            await eventually { checks.results[target] == verdict }
        }

        func stop() async {
            task.cancel()
            _ = await task.result
        }
    }

    private static let quick = Duration.milliseconds(100)

    // MARK: One check

    private func failure(of target: CheckTarget) async throws -> CheckFailure? {
        try await #require(HTTPClient()).failure(of: target)
    }

    @Test func `a connection is enough for tcp, and it is closed at once without a word`() async throws {
        let received = Mutex<[Int]>([])
        let server = try StubServer { client in
            let count = client.request()?.utf8.count ?? 0
            received.withLock { $0.append(count) }
        }
        for _ in 0..<3 { #expect(try await failure(of: Fixture.target(port: server.port)) == nil) }
        #expect(await eventually { received.withLock { $0 } == [0, 0, 0] })
    }

    @Test(arguments: ["tcp", "http:/up"])
    func `no connection is a failure with the system's reason`(check: String) async throws {
        let port = try FreePort.take()
        #expect(
            try await failure(of: Fixture.target(check: check, port: port)) == .noConnection("Connection refused"))
    }

    @Test func `a server that does not answer costs the limit and no more`() async throws {
        let server = try StubServer { $0.waitForEnd() }
        let target = Fixture.target(check: "http", port: server.port, timeout: .milliseconds(150))
        #expect(try await failure(of: target) == .noAnswer(within: .milliseconds(150)))
    }

    @Test(arguments: [("", "Empty reply from server"), ("nonsense\r\n\r\n", "Received HTTP/0.9 when not allowed")])
    func `what is no answer is a failure with libcurl's reason`(answer: String, reason: String) async throws {
        let server = try StubServer { client in
            _ = client.request()
            client.send(answer)
        }
        #expect(try await failure(of: Fixture.target(check: "http", port: server.port)) == .broken(reason))
    }

    @Test(arguments: [
        (200, nil, true), (301, nil, true), (404, nil, false), (503, nil, false), (404, "400-499", true),
        (200, "204", false),
    ])
    func `the status decides, and the body does not matter`(status: Int, allowed: String?, passes: Bool) async throws {
        let server = try StubServer { client in
            _ = client.request()
            // The body is announced, and never comes.
            client.send("HTTP/1.1 \(status) Words\r\nContent-Length: 1000000000\r\n\r\nbegin")
            client.waitForEnd()
        }
        var options = ServiceOptions()
        options.checkStatus = allowed.flatMap { StatusCodes($0) }
        let target = Fixture.target(check: "http", port: server.port, timeout: .seconds(20), options)
        #expect(try await failure(of: target) == (passes ? nil : .status(status)))
    }

    @Test(arguments: CheckMethod.allCases)
    func `a request has the path, the method and the host that are asked for`(method: CheckMethod) async throws {
        let requests = CapturedLines()
        let server = try StubServer { client in
            requests.add(client.request() ?? "")
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
        var options = ServiceOptions()
        options.checkMethod = method
        options.checkHost = HostHeader("web.example:81")
        let target = Fixture.target(check: "http:/up?x=1", port: server.port, options)
        #expect(try await failure(of: target) == nil)
        let request = try #require(requests.all.first)
        #expect(request.hasPrefix("\(method.rawValue) /up?x=1 HTTP/1.1\r\n"))
        #expect(request.contains("\r\nHost: web.example:81\r\n"))
        #expect(request.contains("\r\nConnection: close\r\n"))
        #expect(request.hasSuffix("\r\n\r\n"))
    }

    // MARK: All of them

    @Test func `what comes up passes soon, and what goes fails after its failures in a row`() async throws {
        let port = try FreePort.take()
        let checking = try Checking()
        let target = Fixture.target(port: port, interval: Self.quick)
        checking.want(target)
        #expect(await checking.finds(.failing(Fixture.refused), of: target))
        do {
            let server = try Program("busybox", ["httpd", "-f", "-p", "127.0.0.1:\(port)"]).start { _ in }
            defer { server.signalGroup(9) }
            #expect(await checking.finds(.passing, of: target))
        }
        #expect(await checking.finds(.failing(Fixture.refused), of: target))
        #expect(checking.changed == 3)
    }

    @Test func `what was registered before passes until it has failed often enough`() async throws {
        let server = try StubServer { $0.waitForEnd() }
        let checking = try Checking()
        let unhurried = Fixture.target(1, port: server.port, interval: .seconds(3600))
        let refused = Fixture.target(2, port: try FreePort.take(), interval: Self.quick, fall: 2)
        checking.want(unhurried, refused, passing: true)
        #expect(await checking.finds(.failing(Fixture.refused), of: refused))
        #expect(checking.changed == 1)
        #expect(checking.checks.results[unhurried] == .passing && server.connections == 0)
    }

    /// How many connections to a port of this machine are open, as their clients see it.
    private static func connections(to port: Int) -> Int {
        let hexadecimal = String(port, radix: 16, uppercase: true)
        let peer = "0100007F:" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
        let table = (try? FileContents("/proc/self/net/tcp"))?.text ?? ""
        return table.split(separator: "\n").count { line in
            let fields = line.split(separator: " ")
            return fields.count > 3 && fields[2] == peer && fields[3] == "01"
        }
    }

    @Test func `hundreds that hang delay no other, and cost no more connections than there is room for`() async throws {
        let hanging = try StubServer { $0.waitForEnd() }
        let well = try StubServer { client in
            _ = client.request()
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
        let checking = try Checking()
        let targets = (0..<300).map {
            Fixture.target($0, check: "http", port: hanging.port, interval: Self.quick, timeout: .milliseconds(300))
        }
        let wanted = Dictionary(uniqueKeysWithValues: targets.map { ($0, false) })
        checking.checks.watch(wanted)
        // All have hung once; from then on they have half of the room.
        let most = Mutex(0)
        #expect(
            await eventually(within: .seconds(45)) {
                let now = Self.connections(to: hanging.port)
                most.withLock { $0 = max($0, now) }
                return targets.allSatisfy { if case .failing? = checking.checks.results[$0] { true } else { false } }
            })
        // Those that were given up a moment ago may still be closing.
        #expect((1...2 * RegistrationChecker.room).contains(most.withLock { $0 }))
        var times: [Duration] = []
        for number in 1000..<1010 {
            let target = Fixture.target(number, check: "http", port: well.port)
            let start = ContinuousClock.now
            checking.checks.watch(wanted.merging([target: false]) { $1 })
            #expect(await checking.finds(.passing, of: target))
            times.append(ContinuousClock.now - start)
        }
        #expect(times.min() ?? .zero < .milliseconds(300))
    }

    @Test func `nothing is checked that is not asked for, and it ends at once`() async throws {
        let server = try StubServer { $0.waitForEnd() }
        let checking = try Checking()
        let target = Fixture.target(check: "http", port: server.port, interval: Self.quick, timeout: .seconds(60))
        checking.want(target)
        #expect(await eventually { server.connections == 1 })
        checking.want()
        #expect(await eventually { checking.checks.results.isEmpty })
        let start = ContinuousClock.now
        await checking.stop()
        #expect(ContinuousClock.now - start < .seconds(10))
        #expect(server.connections == 1)
    }
}
