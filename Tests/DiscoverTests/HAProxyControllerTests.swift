import Glibc
import Shared
import TestSupport
import Testing

@testable import Discover

private let canDrive = RealParts.canRun("haproxy")

@Suite("ProxyDriver", .timeLimit(.minutes(2)), .enabled(if: canDrive, "haproxy is not installed"))
struct HAProxyControllerTests {
    private let one: StubServer
    private let two: StubServer
    private let place: Int

    init() throws {
        one = try StubServer(answering: "one")
        two = try StubServer(answering: "two")
        place = try FreePort.take()
    }

    private var onlyOne: String { "web@\(place): 1=127.0.0.1:\(one.port)" }
    private var onlyTwo: String { "web@\(place): 2=127.0.0.1:\(two.port)" }
    private var both: String { "\(onlyOne) 2=127.0.0.1:\(two.port)" }

    /// A connection that leads to this backend.
    private func connection(to name: String) throws -> LongConnection {
        for _ in 0..<10 {
            let connection = try LongConnection(port: place)
            if connection.answers(name) { return connection }
        }
        throw LongConnection.Failure("nobody answers \(name)")
    }

    private func answers(_ count: Int = 6) throws -> Set<String> {
        Set(
            try (0..<count).map { _ in
                String(try LongConnection(port: place).exchange().suffix(3))
            })
    }

    @Test func `endpoints come, move and go without a reload, and the file follows`() async throws {
        try await withDriverLab { lab in
            #expect(try await lab.apply([onlyOne]).map(\.load) == [.start])
            let worker = try await lab.worker()
            #expect(try await lab.apply([both]).map(\.description) == ["runtime: 3 commands"])
            #expect(lab.file == lab.configuration([both]).text)
            #expect(try answers() == ["one", "two"])
            let moved = "web@\(place): 1=127.0.0.1:\(two.port)"
            #expect(try await lab.apply([moved]).map(\.description) == ["runtime: 4 commands"])
            #expect(try answers() == ["two"])
            #expect(lab.file == lab.configuration([moved]).text)
            #expect(await lab.drains())
            #expect(try await lab.states().keys.sorted() == ["web/1"])
            #expect(try await lab.apply([moved]) == [])
            #expect(try await lab.worker() == worker)
        }
    }

    @Test func `a state directory that somebody deletes keeps HAProxy neither from reloads nor from starts`()
        async throws
    {
        try await withDriverLab { lab in
            try await lab.apply([onlyOne])
            let folder = lab.access.directory.path
            let aside = try ScratchFolder()
            #expect(unsafe rename(folder, aside.path + "/first") == 0)
            let other = try FreePort.take()
            try await lab.apply([onlyOne, "api@\(other): 1=127.0.0.1:\(two.port)"])
            #expect(try LongConnection(port: other).answers("two"))
            #expect(unsafe rename(folder, aside.path + "/second") == 0)
            let master = try #require(lab.master)
            master.send(.kill)
            #expect(await eventually { await lab.driver.look() })
            // The worker sees only a moment later that its master has gone.
            try await lab.apply([onlyTwo])
            #expect(await eventually { (try? answers()) == ["two"] })
            #expect(lab.file == lab.configuration([onlyTwo]).text)
        }
    }

    @Test func `a server that leaves keeps its connections and gets no new one, and goes when they have ended`()
        async throws
    {
        try await withDriverLab { lab in
            try await lab.apply([both])
            var open: LongConnection? = try connection(to: "one")
            try await lab.apply([onlyTwo])
            #expect(try answers() == ["two"])
            #expect(open?.answers("one") == true)
            _ = await lab.driver.finishDrains()
            #expect(try await lab.states()["web/1"]?.isLeaving == true)
            #expect(!lab.file.contains("server 1 "))
            open = nil
            #expect(await lab.drains())
            #expect(try await lab.states().keys.sorted() == ["web/2"])
        }
    }

    @Test func `connections to a server that left are cut when their time is over`() async throws {
        try await withDriverLab(drain: .milliseconds(1)) { lab in
            try await lab.apply([both])
            let open = try connection(to: "one")
            let other = try connection(to: "two")
            try await lab.apply([onlyTwo])
            #expect(await lab.drains())
            #expect(!open.answers("one"))
            #expect(other.answers("two"))
            #expect(lab.log.count(of: "closing connections to a removed endpoint") == 1)
            #expect(try await lab.states().keys.sorted() == ["web/2"])
        }
    }

    @Test func `a server that comes back while it is leaving serves again, and keeps its connections`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([both])
            let open = try connection(to: "one")
            try await lab.apply([onlyTwo])
            #expect(try await lab.apply([both]).map(\.description) == ["runtime: 2 commands"])
            #expect(try answers() == ["one", "two"])
            #expect(open.answers("one"))
            #expect(lab.driver.current?.leaving.isEmpty == true)
        }
    }

    @Test func `a reload while a server is leaving leaves its connections to the old worker`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([both])
            let open = try connection(to: "one")
            try await lab.apply([onlyTwo])
            let api = "api@\(try FreePort.take()): 1=127.0.0.1:\(one.port)"
            #expect(try await lab.apply([onlyTwo, api]).map(\.load) == [.reload(.listenersChanged)])
            #expect(open.answers("one"))
            #expect(try answers() == ["two"])
            #expect(try await lab.states().keys.sorted() == ["api/1", "web/2"])
            #expect(await lab.driver.finishDrains() == nil)
            #expect(lab.driver.oldWorkers == 1)
        }
    }

    @Test func `what needs no reload is done before one`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([both])
            let api = "api@\(try FreePort.take()): 1=127.0.0.1:\(one.port)"
            let updates = try await lab.apply([onlyOne, api]).map(\.description)
            #expect(updates == ["runtime: 2 commands", "reload: services changed"])
            #expect(try answers() == ["one"])
        }
    }

    @Test func `keywords that only a new server takes need a new one, and a reload where none stands in`() async throws
    {
        try await withDriverLab { lab in
            try await lab.apply([both])
            let half = "\(onlyOne) 2=127.0.0.1:\(two.port)*50"
            let updates = try await lab.apply([half]) { if $0.weight == 50 { $0.check?.rise = 3 } }
            #expect(updates.map(\.description) == ["runtime: 6 commands"])
            let open = try connection(to: "two")
            // HAProxy removes no server with connections.
            let again = try await lab.apply([half]) { if $0.weight == 50 { $0.check?.rise = 4 } }
            #expect(again.count == 1 && again[0].description.contains("reload: HAProxy answered 'Server still has"))
            #expect(open.answers("two"))
            #expect(try await lab.states()["web/2"]?.isOut == false)
            #expect(try await lab.apply([half]) { $0.check?.rise = 5 }.map(\.load) == [.reload(.keywordsChanged)])
            #expect(open.answers("two"))
        }
    }

    @Test func `every keyword is taken while HAProxy runs as in a file`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([onlyTwo])
            var number = 0
            // New servers with cookies need HAProxy 3.0.
            for (change, words) in ServerOptionsTests.cases where !words.contains("cookie") {
                number += 1
                let next = "\(onlyTwo) x\(number)=127.0.0.1:\(one.port)*1"
                let updates = try await lab.apply([next]) { if $0.weight == 1 { change(&$0) } }
                #expect(updates.allSatisfy { $0.description.hasPrefix("runtime") }, "\(updates)")
                try await lab.access.program.check(lab.access.directory.configuration.path)
            }
            #expect(await lab.drains())
            let next = "\(onlyTwo) x=127.0.0.1:\(one.port)"
            for limit in [5, 9, nil] {
                #expect(try await lab.apply([next]) { $0.maxConnections = limit }.allSatisfy { $0.isRuntime })
            }
        }
    }

    @Test func `a new server with an HTTP check gets no connection before it has passed`() async throws {
        try await withDriverLab { lab in
            let other = try FreePort.take()
            let isHealthy = LatestValue<Bool>()
            let requests = CapturedLines()
            let slow = try StubServer { connection in
                while let request = connection.request() {
                    let isCheck = request.hasPrefix("GET /health")
                    if !isCheck { requests.add(request) }
                    var status = "200 OK"
                    if isCheck {
                        let isGood = isHealthy.take() ?? false
                        if isGood { isHealthy.put(true) } else { status = "503 Not Yet" }
                    }
                    connection.send("HTTP/1.1 \(status)\r\nContent-Length: 3\r\n\r\nnew")
                }
            }
            func text(_ sections: [String]) -> HAProxyConfiguration {
                let plain = lab.configuration(sections) { $0.check = .init(isHTTP: true, interval: .milliseconds(300)) }
                let check = "\n    mode http\n    option httpchk GET /health\n    bind "
                let text = [place, other].reduce(plain.text) {
                    $0.replacing("\n    bind :\($1)", with: check + ":\($1)")
                }
                return HAProxyConfiguration(
                    pieces: [text], mark: plain.mark, binds: plain.binds, sections: plain.sections)
            }
            let next = "\(onlyOne) 2=127.0.0.1:\(slow.port)"
            try await lab.apply(text([onlyOne]))
            #expect(try await lab.apply(text([next])).map(\.description) == ["runtime: 5 commands"])
            #expect(try await lab.states()["web/2"]?.isDown == true)
            #expect(try answers(20) == ["one"])
            #expect(requests.all.isEmpty)
            isHealthy.put(true)
            #expect(try await eventually { try answers(2).contains("new") })
            // So does one that comes with a reload.
            _ = isHealthy.take()
            let updates = try await lab.apply(text([next, "api@\(other): 1=127.0.0.1:\(slow.port)"]))
            #expect(updates.map(\.load) == [.reload(.listenersChanged)])
            #expect(try await lab.states()["api/1"]?.isDown == true)
            isHealthy.put(true)
            #expect(try await eventually { try LongConnection(port: other).answers("new") })
        }
    }

    @Test func `servers that were down or taken out stay so over a reload, and no others`() async throws {
        try await withDriverLab { lab in
            let dead = try FreePort.take()
            let section = "\(both) 3=127.0.0.1:\(dead) 4=127.0.0.1:\(dead) 5=127.0.0.1:\(one.port)"
            try await lab.apply([section])
            #expect(
                try await eventually {
                    try await lab.states().filter { $0.value.isDown }.keys.sorted() == ["web/3", "web/4"]
                })
            try await lab.tell("set server web/2 state maint")
            try await lab.tell("set server web/5 state drain")
            let api = "api@\(try FreePort.take()): 1=127.0.0.1:\(one.port)"
            // The fourth one moves to where somebody answers, at the same moment.
            let next = section.replacing("4=127.0.0.1:\(dead)", with: "4=127.0.0.1:\(one.port)")
            let updates = try await lab.apply([next, api]).map(\.description)
            #expect(updates == ["runtime: 2 commands", "reload: services changed"])
            let states = try await lab.states()
            #expect(states.filter { $0.value.isDown }.keys.sorted() == ["web/2", "web/3"])
            #expect(states.filter { $0.value.isOut }.keys.sorted() == ["web/2", "web/5"])
            #expect(states["web/4"]?.endpoint?.port == port(one.port))
            #expect(try answers() == ["one"])
            let left = try FileContents(lab.access.directory.serverStates.path).text
            #expect(left == ServerState.fileHead)
            // What comes back is not held down.
            try await lab.tell("set server web/2 state ready")
            try await lab.apply([next])
            #expect(try await lab.states()["web/2"]?.isOut == false)
        }
    }

    @Test func `a driver that begins anew needs no reload, whatever was changed since the file was loaded`()
        async throws
    {
        try await withDriverLab { lab in
            try await lab.apply([onlyOne])
            try await lab.apply([both])
            try await lab.restartDriver()
            #expect(try await lab.apply([both]) == [])
            let open = try connection(to: "two")
            try await lab.apply([onlyOne])
            try await lab.restartDriver()
            #expect(lab.driver.current?.leaving.keys.map(\.description) == ["web/2"])
            // Its keywords are known to nobody any more, so it has to be a new one; HAProxy removes none with connections.
            #expect(try await lab.apply([both]).allSatisfy { $0.description.contains("Server still has connections") })
            #expect(open.answers("two"))
            #expect(try answers() == ["one", "two"])
            // Killed between a change and the writing of the file.
            try await lab.tell("set server web/1 weight 0;set server web/1 state drain")
            try await lab.tell("set server web/2 addr 127.0.0.1 port 1")
            try await lab.restartDriver()
            #expect(try await lab.apply([both]).map(\.description) == ["runtime: 4 commands"])
            #expect(try answers() == ["one", "two"])
        }
    }

    @Test func `what somebody else changed is found by the next change, named and put right`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([both])
            try await lab.tell("set server web/1 weight 7")
            let half = "\(onlyOne) 2=127.0.0.1:\(two.port)*50"
            let updates = try await lab.apply([half])
            #expect(updates.map(\.description) == ["reload: server web/1 has weight 7, not 100"])
            #expect(try await lab.states().mapValues(\.weight) == ["web/1": 100, "web/2": 50])
            try await lab.tell("set server web/1 state maint;del server web/1")
            let third = try await lab.apply([both])
            #expect(third.map(\.description) == ["reload: server web/1 is missing"])
            #expect(try answers() == ["one", "two"])
            // A reload by others loads the file, in which all is.
            let before = try await lab.worker()
            lab.master?.send(.user2)
            #expect(try await eventually { try await lab.worker().map { $0 != before } == true })
            let last = try await lab.apply([half])
            #expect(last.map(\.description) == ["reload: another worker serves"])
            #expect(try answers() == ["one", "two"])
        }
    }

    @Test func `a file that cannot be written holds up no endpoint, and follows later`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([onlyOne])
            let candidate = lab.access.directory.configuration.path + ".new"
            #expect(unsafe mkdir(candidate, 0o700) == 0)
            await #expect(throws: FileError.self) { try await lab.apply([both]) }
            #expect(try answers() == ["one", "two"])
            #expect(unsafe rmdir(candidate) == 0)
            #expect(try await lab.apply([both]) == [])
            #expect(lab.file == lab.configuration([both]).text)
        }
    }

    @Test func `a runtime API that is silent is done without`() async throws {
        try await withDriverLab(answer: .milliseconds(300)) { lab in
            try await lab.apply([onlyOne])
            unsafe unlink(lab.access.directory.statsSocket)
            let silent = try StubServer(path: lab.access.directory.statsSocket) { connection in
                connection.waitForEnd()
                // Longer than anybody waits.
                usleep(5_000_000)
            }
            let updates = try await lab.apply([both])
            #expect(updates.count == 1 && updates[0].description.hasPrefix("reload: no complete answer from"))
            #expect(try answers() == ["one", "two"])
            withExtendedLifetime(silent) {}
        }
    }

    @Test func `an HAProxy that cannot add servers is asked once, and then reloaded`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([onlyOne])
            unsafe unlink(lab.access.directory.statsSocket)
            let old = try StubServer(path: lab.access.directory.statsSocket) { connection in
                connection.waitForEnd()
                connection.send("Unknown command. Please enter one of the following commands only :\n  help\n\n")
            }
            let first = try await lab.apply([both])
            #expect(first.count == 1 && first[0].description.hasPrefix("reload: HAProxy answered 'Unknown command."))
            #expect(try await lab.apply([onlyTwo]).map(\.load) == [.reload(.staticServers)])
            #expect(try answers() == ["two"])
            withExtendedLifetime(old) {}
        }
    }

    @Test func `an HAProxy that is killed starts with the file, in which all changes are`() async throws {
        try await withDriverLab { lab in
            try await lab.apply([onlyOne])
            try await lab.apply([both])
            lab.master?.send(.kill)
            #expect(await eventually { await lab.driver.look() })
            #expect(await eventually { (try? await lab.apply([both]))?.map(\.load) == [.start] })
            #expect(try answers() == ["one", "two"])
        }
    }
}

extension ConfigChange {
    /// Whether it needs no reload.
    var isRuntime: Bool { !commands.isEmpty && load == nil }
}
