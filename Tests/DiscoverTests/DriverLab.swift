import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

/// A driver with a real HAProxy in a folder of its own.
final class DriverLab {
    let access: HAProxyAccess
    var driver: HAProxyController
    let log = CapturedLines()
    private let folder: ScratchFolder
    private let settings: HAProxySettings
    private let timing: HAProxyController.Timing

    init(answer: Duration, drain: Duration, routes: RouteListeners? = nil) async throws {
        folder = try ScratchFolder()
        let directory = try #require(StateDirectory(folder.path))
        let program = try await HAProxyProgram.probe(
            RealParts.haproxy, searchPath: "/usr/bin", scratch: AtomicFile(path: folder.path + "/probe"))
        var access = HAProxyAccess(program: program, directory: directory)
        access.timing.answer = answer
        self.access = access
        settings = HAProxySettings(
            host: HostSettings(statsBind: BindAddress(port: port(try FreePort.take())), routes: routes),
            statsSocket: directory.statsSocket,
            statesFile: directory.serverStates.path, hardStopAfter: .seconds(60), abilities: program.abilities)
        var timing = HAProxyController.Timing()
        timing.drains.longestPause = .milliseconds(50)
        timing.drains.limit = drain
        self.timing = timing
        driver = try await Self.attach(access, settings, log, timing)
    }

    private static func attach(
        _ access: HAProxyAccess, _ settings: HAProxySettings, _ log: CapturedLines, _ timing: HAProxyController.Timing
    ) async throws -> HAProxyController {
        let logger = Logger(level: .debug, format: .logfmt, write: { log.add($0) })
        let process = try await SupervisedHAProxy(
            access, HAProxyOutput(logger), logger: logger, statsBind: settings.statsBind)
        return await HAProxyController(process, logger: logger, timing: timing)
    }

    /// The master that runs.
    var master: HAProxyMaster? { (driver.instance as? SupervisedHAProxy)?.master }

    /// What its newest worker says of itself.
    func worker() async throws -> HAProxyWorker? { try await (driver.instance as? SupervisedHAProxy)?.worker() }

    /// haproxy.cfg.
    var file: String { (try? FileContents(access.file.path).text) ?? "" }

    /// What decides of a plan for a registry.
    func inputs(_ registry: RegistryState) -> DesiredInputs { DesiredInputs(registry: registry, host: settings.host) }

    /// A plan's configuration.
    func configuration(_ plan: DesiredState) -> HAProxyConfiguration { HAProxyConfiguration(plan, settings) }

    /// A plan's configuration, as ``PlanFixture`` writes it.
    func configuration(_ sections: [String], _ adjust: (inout ServerOptions) -> Void = { _ in })
        -> HAProxyConfiguration
    {
        HAProxyConfiguration(PlanFixture(sections, adjust).plan, settings)
    }

    /// Brings HAProxy to a configuration, and tells how.
    @discardableResult
    func apply(_ next: HAProxyConfiguration) async throws -> [ConfigChange] {
        var updates: [ConfigChange] = []
        while true {
            let change = ConfigChange(from: driver.known, to: next)
            let progress = try await driver.apply(change, bare: configuration([]))
            if !progress.done.isEmpty { updates.append(progress.done) }
            guard let wait = progress.wait else {
                try driver.writeFile(next)
                return updates
            }
            try await Task.sleep(for: wait)
        }
    }

    /// Brings HAProxy to a plan, and tells how.
    @discardableResult
    func apply(_ sections: [String], _ adjust: (inout ServerOptions) -> Void = { _ in }) async throws -> [ConfigChange]
    {
        try await apply(configuration(sections, adjust))
    }

    /// Whether the servers that are leaving are gone before long.
    func drains() async -> Bool {
        await eventually {
            guard let pause = await driver.finishDrains() else { return true }
            try? await Task.sleep(for: pause)
            return false
        }
    }

    /// A driver that knows nothing, as after a restart, which takes the HAProxy over.
    func restartDriver() async throws {
        driver = try await Self.attach(access, settings, log, timing)
    }

    /// What HAProxy tells of its servers.
    func states() async throws -> [String: ServerState] {
        let states = try await access.runtime.report().states
        return Dictionary(states.map { ("\($0.section)/\($0.server)", $0) }) { first, _ in first }
    }

    /// Sends a command as an operator would.
    @discardableResult
    func tell(_ command: String) async throws -> String {
        try await LineSocket(path: access.directory.statsSocket).send(command, deadline: .seconds(5))
    }

    /// Ends HAProxy in whatever state it is.
    func end() {
        // Its workers end when they lose it.
        master?.send(.kill)
    }
}

/// Gives a test its lab, and ends the lab however the test ends.
func withDriverLab(
    answer: Duration = .seconds(5), drain: Duration = .seconds(600), routes: RouteListeners? = nil,
    _ body: (DriverLab) async throws -> Void
) async throws {
    let lab = try await DriverLab(answer: answer, drain: drain, routes: routes)
    defer { lab.end() }
    try await body(lab)
}
