import Glibc
import Shared
import TestSupport
import Testing

@testable import Discover

@Suite(
    "HAProxyProcess", .timeLimit(.minutes(1)),
    .enabled(if: RealParts.canRun("haproxy"), "haproxy is not installed"))
struct SupervisedHAProxyTests {
    private let folder: ScratchFolder
    private let directory: StateDirectory
    private let log = CapturedLines()

    init() throws {
        folder = try ScratchFolder()
        directory = try #require(StateDirectory(folder.path))
    }

    /// A process of its own, and configurations with the stats page at free ports.
    private func withProcess(
        _ body: (SupervisedHAProxy, HAProxyMaster, HAProxyConfiguration) async throws -> Void
    ) async throws {
        let program = try await HAProxyProgram.probe(
            "haproxy", searchPath: "/usr/bin", scratch: AtomicFile(path: folder.path + "/probe"))
        let logger = Logger(level: .debug, format: .logfmt, write: { [log] in log.add($0) })
        let process = SupervisedHAProxy(program: program, directory: directory, output: HAProxyOutput(logger))
        let configuration = try configuration()
        let (master, _) = try await process.start(with: configuration, isProven: false)
        do {
            try await body(process, master, configuration)
        } catch {
            master.signal(SIGKILL)
            throw error
        }
        master.signal(SIGKILL)
    }

    private func configuration(stats: BindAddress? = nil) throws -> HAProxyConfiguration {
        let bind = try stats ?? BindAddress(port: port(FreePort.take()))
        let settings = HAProxySettings(
            host: HostSettings(statsBind: bind), statsSocket: directory.statsSocket,
            statesFile: directory.serverStates.path, hardStopAfter: .seconds(60),
            abilities: .all)
        return HAProxyConfiguration(.empty, settings)
    }

    @Test func `a worker tells which configuration it runs`() async throws {
        try await withProcess { process, master, first in
            #expect(try await process.worker()?.mark == first.mark)
            let second = try configuration()
            _ = try await process.reload(master, with: second)
            #expect(try await process.worker()?.mark == second.mark)
            #expect(master.isAlive && master.isChild)
            #expect(try await process.adopt()?.pid == master.pid)
        }
    }

    @Test func `a reload that cannot bind changes nothing, and the next one works`() async throws {
        try await withProcess { process, master, first in
            let holder = try StubServer { $0.waitForEnd() }
            let wrong = try configuration(stats: BindAddress(port: port(holder.port)))
            let error = await #expect(throws: SupervisedHAProxy.Failure.self) {
                _ = try await process.reload(master, with: wrong)
            }
            #expect(try #require(error).description.contains("Address already in use"))
            #expect(try FileContents(directory.configuration.path).text == first.text)
            #expect(try await process.worker()?.mark == first.mark)
            let second = try configuration()
            _ = try await process.reload(master, with: second)
            #expect(try await process.worker()?.mark == second.mark)
            withExtendedLifetime(holder) {}
        }
    }

    @Test func `a start that cannot bind is refused with HAProxy's words`() async throws {
        try await withProcess { process, master, first in
            #expect(await process.stop(master, grace: .seconds(20)))
            #expect(try await process.adopt() == nil)
            let holder = try StubServer { $0.waitForEnd() }
            let wrong = try configuration(stats: BindAddress(port: port(holder.port)))
            let error = await #expect(throws: SupervisedHAProxy.Failure.self) {
                _ = try await process.start(with: wrong, isProven: false)
            }
            #expect(try #require(error).description.contains("Address already in use"))
            #expect(try FileContents(directory.configuration.path).text == first.text)
            withExtendedLifetime(holder) {}
        }
    }

    @Test func `a file that is wrong is refused with HAProxy's words, and not installed`() async throws {
        try await withProcess { process, master, first in
            let text = first.text + "nonsense\n"
            let wrong = try #require(HAProxyConfiguration(text: text))
            let error = await #expect(throws: HAProxyProgram.Rejection.self) {
                _ = try await process.reload(master, with: wrong)
            }
            #expect(try #require(error).description.contains("unknown keyword 'nonsense'"))
            #expect(try FileContents(directory.configuration.path).text == first.text)
        }
    }

    @Test func `a start with the file that is there needs no room on the disk`() async throws {
        try await withProcess { process, master, first in
            #expect(await process.stop(master, grace: .seconds(20)))
            // Nothing can be written beside the file now.
            #expect(unsafe mkdir(directory.configuration.path + ".new", 0o700) == 0)
            let (again, _) = try await process.start(with: first, isProven: true)
            #expect(try await process.worker()?.mark == first.mark)
            #expect(await process.stop(again, grace: .seconds(20)))
        }
    }

    @Test func `a stop in the middle of a reload does not take the grace period`() async throws {
        try await withProcess { process, master, _ in
            _ = try await LineSocket(path: directory.masterSocket).send("reload", deadline: .seconds(5))
            let begin = ContinuousClock.now
            #expect(await process.stop(master, grace: .seconds(20)))
            #expect(begin.duration(to: .now) < .seconds(15))
        }
    }

    @Test func `a socket that somebody deleted is made anew by the next reload`() async throws {
        try await withProcess { process, master, _ in
            unsafe unlink(directory.masterSocket)
            let second = try configuration()
            _ = try await process.reload(master, with: second)
            #expect(try await process.worker()?.mark == second.mark)
        }
    }

    @Test func `an HAProxy whose socket somebody deleted is taken over`() async throws {
        try await withProcess { process, master, _ in
            unsafe unlink(directory.masterSocket)
            let found = try await process.adopt()
            #expect(found?.pid == master.pid)
        }
    }

    @Test func `an HAProxy that an earlier run has just started is waited for`() async throws {
        try await withProcess { process, master, _ in
            #expect(await process.stop(master, grace: .seconds(20)))
            let arguments = ["-c", "trap '' USR2; sleep 1; exec haproxy \"$@\"", "haproxy"] + process.arguments
            let child = try Program("/bin/sh", arguments, environment: ["PATH": "/usr/sbin:/usr/bin:/bin"])
                .start { _ in }
            defer { child.signalGroup(SIGKILL) }
            // The system shows the arguments of a new process a moment after it exists.
            #expect(await eventually { HAProxyMaster(withArguments: process.arguments) != nil })
            var patient = process
            patient.timing.socket = .seconds(15)
            let found = try await patient.adopt()
            #expect(found?.pid == child.pid)
        }
    }

    @Test func `an HAProxy that executes itself just now is found`() async throws {
        // A stand-in that does nothing else; the system shows no arguments while it does.
        let script = folder.path + "/again"
        try AtomicFile(path: script).replace(with: Array(#"exec /bin/sh "$0" "$@""#.utf8))
        let child = try Program("/bin/sh", [script, "of this test"]).start { _ in }
        defer { child.signalGroup(SIGKILL) }
        #expect(await eventually { HAProxyMaster(withArguments: [script, "of this test"]) != nil })
        for _ in 0..<100 {
            #expect(HAProxyMaster(withArguments: [script, "of this test"])?.pid == child.pid)
        }
    }

    @Test(
        arguments: [
            ("/nowhere/haproxy", "there is no program"), ("no-such-program", "there is no program"),
            ("/bin/true", "does not say its version"),
        ])
    func `what is no HAProxy is told`(name: String, expected: String) async throws {
        let error = await #expect(throws: HAProxyProgram.Failure.self) {
            _ = try await HAProxyProgram.probe(
                name, searchPath: "/usr/bin:/bin", scratch: AtomicFile(path: folder.path + "/probe"))
        }
        #expect(try #require(error).description.contains(expected))
    }
}
