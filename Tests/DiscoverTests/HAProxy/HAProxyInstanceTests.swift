import Shared
import Synchronization
import TestSupport
import Testing

@testable import Discover

/// An HAProxy whose loads come to what a test says, and whose worker answers at a stub of the runtime API's socket.
private struct ScriptedHAProxy: HAProxyInstance {
    let access: HAProxyAccess
    var presence: KnownState
    /// What looks find, in order; then nothing has changed.
    var looks: [KnownState] = []
    /// What loads come to, in order.
    var outcomes: [Result<LoadOutcome, LoadFailure>] = []
    /// What was to be loaded.
    let requests = LatestValue<LoadRequest>()

    mutating func look() async -> Bool {
        guard !looks.isEmpty else { return false }
        presence = looks.removeFirst()
        return true
    }

    func changed() async throws { try await Task.sleep(for: .seconds(60)) }

    mutating func load(_ request: LoadRequest) async throws -> LoadOutcome {
        requests.put(request)
        // A load that no test expects.
        guard !outcomes.isEmpty else { throw LoadFailure.refused(["unexpected"]) }
        let outcome = try outcomes.removeFirst().get()
        switch outcome {
        case .loaded: presence = .unknown(.unknownState)
        case .waiting: presence = access.isExternal ? .absent : .notRunning
        }
        return outcome
    }

    func stop(grace: Duration) async {}
}

@Suite("HAProxyController: decisions", .timeLimit(.minutes(1)))
struct HAProxyDecisionTests {
    private let folder: ScratchFolder
    private let next = PlanFixture(["web@80: 1=10.0.0.5:80"]).configuration
    private let other = PlanFixture(["api@81: 1=10.0.0.5:81"]).configuration
    private let bare = PlanFixture([]).configuration
    private let worker = HAProxyWorker(pid: 7, mark: nil)

    init() throws { folder = try ScratchFolder() }

    private func access(external: Bool) throws -> HAProxyAccess {
        let program = HAProxyProgram(path: "/nowhere", version: .oldest, abilities: .all)
        let directory = try #require(StateDirectory(folder.path))
        let settings = ExternalHAProxy.Settings(path: folder.path + "/theirs.cfg", reload: .command("false"))
        var access = HAProxyAccess(program: program, directory: directory, external: external ? settings : nil)
        access.timing.poll = .milliseconds(1)
        return access
    }

    private func controller(
        _ presence: KnownState, external: Bool = false, _ outcomes: [Result<LoadOutcome, LoadFailure>],
        looks: [KnownState] = []
    ) async throws -> (HAProxyController, LatestValue<LoadRequest>) {
        var instance = ScriptedHAProxy(access: try access(external: external), presence: presence)
        (instance.outcomes, instance.looks) = (outcomes, looks)
        return (await HAProxyController(instance, logger: .discard), instance.requests)
    }

    private func apply(_ controller: inout HAProxyController, _ next: HAProxyConfiguration) async throws
        -> HAProxyController.Progress
    {
        try await controller.apply(ConfigChange(from: controller.known, to: next), bare: bare)
    }

    @Test func `a start is not put off, and a reload waits for quiet`() async throws {
        var (controller, _) = try await controller(
            .notRunning,
            [.success(.loaded(worker, next, rejection: nil)), .success(.loaded(worker, other, rejection: nil))])
        #expect(!controller.isServing)
        let start = try await apply(&controller, next)
        #expect(start.wait == nil && start.done.load == .start)
        #expect(controller.isServing && controller.current?.mark == next.mark && controller.file == next)
        let reload = try await apply(&controller, other)
        #expect(try #require(reload.wait) > .zero)
        #expect(reload.done.isEmpty)
        try await Task.sleep(for: try #require(reload.wait))
        let loaded = try await apply(&controller, other)
        #expect(loaded.wait == nil && loaded.done.load == .reload(.listenersChanged))
        #expect(controller.current?.mark == other.mark)
        #expect(controller.oldWorkers == nil)
    }

    @Test func `what stands in at a start is what was accepted, then what is bare`() async throws {
        // What an earlier run left is better than nothing.
        try AtomicFile(path: folder.path + "/haproxy.cfg").replace(with: Array(other.text.utf8))
        var (controller, requests) = try await controller(
            .notRunning,
            [
                .success(.loaded(worker, next, rejection: nil)), .success(.waiting(.seconds(3))),
            ], looks: [.notRunning])
        _ = try await apply(&controller, next)
        let first = try #require(requests.take())
        #expect(first.fallbacks == [other, bare] && first.accepted == nil && first.inPlace == nil)
        #expect(await controller.look())
        #expect(controller.known == .notRunning)
        let change = ConfigChange(from: controller.known, to: other)
        let waiting = try await controller.apply(change, withoutSnippets: next, bare: bare)
        #expect(waiting.wait == .seconds(3) && waiting.done.isEmpty)
        let second = try #require(requests.take())
        #expect(second.fallbacks == [next, next, bare])
        #expect(second.accepted == next && second.inPlace == next)
        // Nothing was put in place.
        #expect(controller.file == next && !controller.isServing)
    }

    @Test func `a start with something else is taken, and the rejection told`() async throws {
        var (controller, _) = try await controller(
            .notRunning, [.success(.loaded(worker, bare, rejection: LoadFailure.refused(["no"])))])
        await #expect(throws: LoadFailure.refused(["no"])) { _ = try await apply(&controller, next) }
        #expect(controller.current?.mark == bare.mark && controller.file == bare)
    }

    @Test func `a start that fails leaves nothing that runs, however it failed`() async throws {
        var (controller, _) = try await controller(
            .notRunning, [.failure(.unconfirmed(after: .seconds(1))), .failure(.refused([]))])
        for _ in 0..<2 {
            await #expect(throws: LoadFailure.self) { _ = try await apply(&controller, next) }
            #expect(controller.known == .notRunning && controller.file == nil)
        }
    }

    @Test func `a reload that is refused changes nothing, and one that nobody confirms leaves it unknown`() async throws
    {
        var (controller, _) = try await controller(
            .notRunning,
            [
                .success(.loaded(worker, next, rejection: nil)), .failure(.refused(["no"])),
                .failure(.unconfirmed(after: .seconds(1))),
            ])
        _ = try await apply(&controller, next)
        func reload() async throws {
            while let wait = try await apply(&controller, other).wait { try await Task.sleep(for: wait) }
        }
        await #expect(throws: LoadFailure.refused(["no"])) { try await reload() }
        #expect(controller.current?.mark == next.mark && controller.file == next)
        await #expect(throws: LoadFailure.unconfirmed(after: .seconds(1))) { try await reload() }
        #expect(controller.known == .unknown(.unknownState) && controller.isServing)
    }

    @Test func `an external HAProxy that is away is asked at once, and its file is in place meanwhile`() async throws {
        var (controller, requests) = try await controller(
            .absent, external: true,
            [.success(.waiting(.seconds(2), file: next)), .success(.loaded(worker, next, rejection: nil))])
        #expect(!controller.isServing)
        let waiting = try await apply(&controller, next)
        #expect(waiting.wait == .seconds(2) && waiting.done.isEmpty)
        #expect(controller.known == .absent && controller.file == next)
        let loaded = try await apply(&controller, next)
        #expect(try #require(requests.take()).inPlace == next)
        #expect(loaded.wait == nil && loaded.done.load == .reload(.unknownState))
        #expect(controller.isServing)
    }

    @Test func `the file of an external HAProxy is known before it runs`() async throws {
        try AtomicFile(path: folder.path + "/theirs.cfg").replace(with: Array(next.text.utf8))
        let (controller, _) = try await controller(.absent, external: true, [])
        #expect(controller.file?.mark == next.mark && controller.known == .absent)
    }

    @Test func `an external HAProxy that is stopped in the middle of a reload is away`() async throws {
        var (controller, _) = try await controller(
            .absent, external: true,
            [.success(.loaded(worker, next, rejection: nil)), .success(.waiting(.seconds(2)))])
        _ = try await apply(&controller, next)
        var wait: Duration?
        repeat {
            try await Task.sleep(for: wait ?? .zero)
            wait = try await apply(&controller, other).wait
        } while wait != .seconds(2)
        #expect(controller.known == .absent)
        // The file before is in place.
        #expect(controller.file == next)
    }

    @Test func `the file that was written is what was accepted last`() async throws {
        let more = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80"]).configuration
        var (controller, requests) = try await controller(
            .notRunning, [.success(.loaded(worker, next, rejection: nil)), .success(.waiting(.seconds(1)))],
            looks: [.notRunning])
        _ = try await apply(&controller, next)
        try controller.writeFile(more)
        #expect(controller.file == more)
        #expect(try FileContents(folder.path + "/haproxy.cfg").text == more.text)
        _ = await controller.look()
        _ = requests.take()
        _ = try await apply(&controller, other)
        let request = try #require(requests.take())
        #expect(request.accepted == more && request.inPlace == more)
    }

    @Test func `a reload that is no longer wanted leaves no haste`() async throws {
        var (controller, _) = try await controller(.notRunning, [.success(.loaded(worker, next, rejection: nil))])
        _ = try await apply(&controller, next)
        #expect(try await apply(&controller, other).wait != nil)
        #expect(try await apply(&controller, next).wait == nil)
        // Longer than changes may put a reload off.
        try await Task.sleep(for: ReloadThrottle.Timing().patience * 1.2)
        #expect(try await apply(&controller, other).wait != nil)
    }

    @Test func `what one HAProxy cannot do, the next one is asked again`() async throws {
        let both = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80"]).configuration
        let loaded = Result<LoadOutcome, LoadFailure>.success(.loaded(worker, both, rejection: nil))
        var (controller, _) = try await controller(
            .notRunning, [.success(.loaded(worker, next, rejection: nil)), loaded, loaded], looks: [.notRunning])
        let old = try StubServer(path: folder.path + "/haproxy-stats.sock") { connection in
            _ = connection.everything()
            connection.send("Unknown command. Please enter one of the following commands only :\n  help\n\n")
        }
        _ = try await apply(&controller, next)
        #expect(controller.current?.isDynamic == true)
        while let wait = try await apply(&controller, both).wait { try await Task.sleep(for: wait) }
        #expect(controller.current?.isDynamic == false)
        #expect(await controller.look())
        _ = try await apply(&controller, both)
        #expect(controller.current?.isDynamic == true)
        withExtendedLifetime(old) {}
    }

    @Test
    func `ports of what serves are its own, those of a dead one are waited for, those of one unseen may be its own`()
        async throws
    {
        let holder = try StubServer { $0.waitForEnd() }
        let bind = BindAddress(address: endpoint("127.0.0.1:1").address, port: port(holder.port))
        let settings = HAProxySettings(
            host: HostSettings(statsBind: bind), statsSocket: folder.path + "/s", statesFile: folder.path + "/f",
            hardStopAfter: .seconds(1), abilities: .all)
        let file = HAProxyConfiguration(.empty, settings)
        var (own, _) = try await controller(
            .notRunning, [.success(.loaded(worker, file, rejection: nil))], looks: [.notRunning])
        #expect(await own.obstacles(to: [bind], patience: .zero)[bind]?.hasPrefix("in use by") == true)
        _ = try await apply(&own, file)
        #expect(await own.obstacles(to: [bind], patience: .zero).isEmpty)
        #expect(await own.look())
        #expect(await own.obstacles(to: [bind], patience: .milliseconds(20)).keys.map(\.port) == [bind.port])
        // It is in its file, but held by another program than haproxy.
        var (external, _) = try await controller(
            .absent, external: true, [.success(.waiting(.seconds(2), file: file))])
        _ = try await apply(&external, file)
        #expect(await external.obstacles(to: [bind], patience: .seconds(60)).keys.map(\.port) == [bind.port])
        withExtendedLifetime(holder) {}
    }
}

@Suite("ExternalHAProxy", .timeLimit(.minutes(1)))
struct ExternalHAProxyTests {
    private let folder: ScratchFolder
    private let log = CapturedLines()

    init() throws { folder = try ScratchFolder() }

    /// The process id that the stub of a worker tells; 0 for one that says nothing that is an answer.
    private final class Worker: Sendable {
        let pid = Atomic<Int>(7)
        let hasChanged = Atomic(false)
    }

    private func stub(_ worker: Worker) throws -> StubServer {
        try StubServer(path: folder.path + "/haproxy-stats.sock") { connection in
            _ = connection.everything()
            let pid = worker.pid.load(ordering: .relaxed)
            connection.send(pid == 0 ? "Unknown command.\n\n" : "Name: HAProxy\nPid: \(pid)\n\n")
        }
    }

    private func attach() async throws -> ExternalHAProxy {
        let program = HAProxyProgram(path: "/nowhere", version: .oldest, abilities: .all)
        let directory = try #require(StateDirectory(folder.path))
        let settings = ExternalHAProxy.Settings(path: folder.path + "/theirs.cfg", reload: .command("false"))
        var access = HAProxyAccess(program: program, directory: directory, external: settings)
        (access.timing.watch, access.timing.poll) = (.milliseconds(10), .milliseconds(1))
        access.timing.takeover = .milliseconds(100)
        let logger = Logger(level: .debug, format: .logfmt, write: { [log] in log.add($0) })
        return try await ExternalHAProxy(access, reload: settings.reload, logger: logger)
    }

    @Test func `what is somebody else's is refused at once`() async throws {
        try AtomicFile(path: folder.path + "/theirs.cfg").replace(with: Array("global\n".utf8))
        await #expect(throws: ConfigFile.ForeignFile(path: folder.path + "/theirs.cfg")) { _ = try await attach() }
    }

    @Test func `its worker is seen to come, to change and to go, and silence changes nothing`() async throws {
        let worker = Worker()
        var external = try await attach()
        #expect(external.presence == .absent)
        #expect(await !external.look())
        var stub: StubServer? = try stub(worker)
        try await external.changed()
        #expect(await external.look())
        #expect(external.presence == .unknown(.unknownState))
        #expect(log.count(of: "took over the running HAProxy") == 1)
        #expect(await !external.look())
        worker.pid.store(0, ordering: .relaxed)
        #expect(await !external.look())
        worker.pid.store(8, ordering: .relaxed)
        try await external.changed()
        #expect(await external.look())
        #expect(log.count(of: "HAProxy was reloaded or restarted externally") == 1)
        _ = stub
        stub = nil
        AtomicFile(path: folder.path + "/haproxy-stats.sock").remove()
        try await external.changed()
        #expect(await external.look())
        #expect(external.presence == .absent)
        #expect(await !external.look())
        #expect(log.count(of: "external HAProxy is not running") == 1)
        stub = try self.stub(worker)
        #expect(await external.look())
        #expect(log.count(of: "external HAProxy is running") == 1)
        withExtendedLifetime(stub) {}
    }

    @Test func `while its worker is the same, or silent, nothing has changed`() async throws {
        let worker = Worker()
        let stub = try stub(worker)
        let external = try await attach()
        for pid in [7, 0] {
            worker.pid.store(pid, ordering: .relaxed)
            let before = stub.connections
            await withTaskGroup { group in
                group.addTask {
                    if (try? await external.changed()) != nil { worker.hasChanged.store(true, ordering: .relaxed) }
                }
                #expect(await eventually { stub.connections > before + 2 })
                group.cancelAll()
            }
            let isOver = worker.hasChanged.load(ordering: .relaxed)
            #expect(!isOver)
        }
    }

    @Test func `one that comes while its file waits is read, and not asked to reload`() async throws {
        let file = PlanFixture(["web@80: 1=10.0.0.5:80"]).configuration
        var external = try await attach()
        let stub = try stub(Worker())
        guard case .waiting(.zero, let inPlace) = try await external.load(LoadRequest(next: file, inPlace: file))
        else {
            Issue.record("it was asked to reload")
            return
        }
        #expect(inPlace == file && external.presence == .absent)
        withExtendedLifetime(stub) {}
    }

    @Test func `a file that is not in place yet is checked before it is, and asked for again a moment later`()
        async throws
    {
        let file = PlanFixture(["web@80: 1=10.0.0.5:80"]).configuration
        var external = try await attach()
        // There is no program that could check it.
        await #expect(throws: (any Error).self) {
            _ = try await external.load(LoadRequest(next: file, inPlace: PlanFixture([]).configuration))
        }
        #expect(log.all.isEmpty)
        for _ in 0..<2 {
            guard case .waiting(let wait, let inPlace) = try await external.load(LoadRequest(next: file, inPlace: file))
            else {
                Issue.record("it was loaded")
                return
            }
            #expect(wait > .zero && inPlace == file)
        }
        #expect(log.count(of: "external HAProxy is not running") == 1)
    }
}
