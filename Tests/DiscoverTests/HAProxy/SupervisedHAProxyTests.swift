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

    /// An HAProxy that was started with the first of configurations whose stats pages are at free ports.
    private func withProcess(
        _ body: (inout SupervisedHAProxy, HAProxyMaster, HAProxyConfiguration) async throws -> Void
    ) async throws {
        var process = try await attach()
        let configuration = try configuration()
        _ = try await process.load(LoadRequest(next: configuration))
        let master = try #require(process.master)
        do {
            try await body(&process, master, configuration)
        } catch {
            master.send(.kill)
            throw error
        }
        master.send(.kill)
    }

    /// Attaches to what is there.
    private func attach(_ adjust: (inout HAProxyAccess.Timing) -> Void = { _ in }) async throws -> SupervisedHAProxy {
        let program = try await HAProxyProgram.probe(
            "haproxy", searchPath: "/usr/bin", scratch: AtomicFile(path: folder.path + "/probe"))
        var access = HAProxyAccess(program: program, directory: directory)
        adjust(&access.timing)
        let logger = Logger(level: .debug, format: .logfmt, write: { [log] in log.add($0) })
        let bind = BindAddress(port: port(try FreePort.take()))
        return try await SupervisedHAProxy(access, HAProxyOutput(logger), logger: logger, statsBind: bind)
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
            _ = try await process.load(LoadRequest(next: second))
            #expect(try await process.worker()?.mark == second.mark)
            #expect(master.isAlive && master.isChild)
            #expect(try await attach().master?.pid == master.pid)
        }
    }

    @Test func `a reload that cannot bind changes nothing, and the next one works`() async throws {
        try await withProcess { process, master, first in
            let holder = try StubServer { $0.waitForEnd() }
            let wrong = try configuration(stats: BindAddress(port: port(holder.port)))
            let error = await #expect(throws: LoadFailure.self) {
                _ = try await process.load(LoadRequest(next: wrong))
            }
            #expect(try #require(error).description.contains("Address already in use"))
            #expect(try FileContents(directory.configuration.path).text == first.text)
            #expect(try await process.worker()?.mark == first.mark)
            let second = try configuration()
            _ = try await process.load(LoadRequest(next: second))
            #expect(try await process.worker()?.mark == second.mark)
            withExtendedLifetime(holder) {}
        }
    }

    @Test func `a start that cannot bind is refused with HAProxy's words`() async throws {
        try await withProcess { process, master, first in
            #expect(await process.end(master, grace: .seconds(20)))
            #expect(await process.look())
            #expect(try await attach().master == nil)
            let holder = try StubServer { $0.waitForEnd() }
            let wrong = try configuration(stats: BindAddress(port: port(holder.port)))
            let error = await #expect(throws: LoadFailure.self) {
                _ = try await process.load(LoadRequest(next: wrong))
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
                _ = try await process.load(LoadRequest(next: wrong))
            }
            #expect(try #require(error).description.contains("unknown keyword 'nonsense'"))
            #expect(try FileContents(directory.configuration.path).text == first.text)
        }
    }

    @Test func `where nothing of several starts, the first rejection is told, from HAProxy's check`() async throws {
        let holder = try StubServer { $0.waitForEnd() }
        var process = try await attach()
        let text = try configuration().text + "nonsense\n"
        let wrong = try #require(HAProxyConfiguration(text: text))
        let taken = try configuration(stats: BindAddress(port: port(holder.port)))
        let error = await #expect(throws: HAProxyProgram.Rejection.self) {
            _ = try await process.load(LoadRequest(next: wrong, fallbacks: [taken]))
        }
        #expect(try #require(error).description.contains("unknown keyword 'nonsense'"))
        #expect(process.presence == .notRunning)
        withExtendedLifetime(holder) {}
    }

    @Test func `what stands in at a start is loaded, and the rejection goes with it`() async throws {
        var process = try await attach()
        let good = try configuration()
        let wrong = try #require(HAProxyConfiguration(text: good.text + "nonsense\n"))
        let outcome = try await process.load(LoadRequest(next: wrong, fallbacks: [good]))
        defer { process.master?.send(.kill) }
        guard case .loaded(let worker, let loaded, let rejection) = outcome else {
            Issue.record("nothing was loaded")
            return
        }
        #expect(loaded == good && worker.mark == good.mark)
        #expect("\(try #require(rejection))".contains("unknown keyword 'nonsense'"))
        #expect(try FileContents(directory.configuration.path).text == good.text)
    }

    @Test func `a start with the file that is there needs no room on the disk`() async throws {
        try await withProcess { process, master, first in
            #expect(await process.end(master, grace: .seconds(20)))
            #expect(await process.look())
            // Nothing can be written beside the file now.
            #expect(unsafe mkdir(directory.configuration.path + ".new", 0o700) == 0)
            _ = try await process.load(LoadRequest(next: first, accepted: first))
            let again = try #require(process.master)
            #expect(try await process.worker()?.mark == first.mark)
            #expect(await process.end(again, grace: .seconds(20)))
        }
    }

    @Test func `a stop in the middle of a reload does not take the grace period`() async throws {
        try await withProcess { process, master, _ in
            _ = try await LineSocket(path: directory.masterSocket).send("reload", deadline: .seconds(5))
            let begin = ContinuousClock.now
            #expect(await process.end(master, grace: .seconds(20)))
            #expect(begin.duration(to: .now) < .seconds(15))
        }
    }

    @Test func `a socket that somebody deleted is made anew by the next reload`() async throws {
        try await withProcess { process, master, _ in
            unsafe unlink(directory.masterSocket)
            let second = try configuration()
            _ = try await process.load(LoadRequest(next: second))
            #expect(try await process.worker()?.mark == second.mark)
        }
    }

    @Test func `an HAProxy whose socket somebody deleted is taken over`() async throws {
        try await withProcess { process, master, _ in
            unsafe unlink(directory.masterSocket)
            let found = try await attach()
            #expect(found.master?.pid == master.pid)
        }
    }

    @Test func `an HAProxy that an earlier run has just started is waited for`() async throws {
        try await withProcess { process, master, _ in
            #expect(await process.end(master, grace: .seconds(20)))
            let arguments =
                ["-c", "trap '' USR2; sleep 1; exec haproxy \"$@\"", "haproxy"]
                + SupervisedHAProxy.arguments(in: directory)
            let child = try Program("/bin/sh", arguments, environment: ["PATH": "/usr/sbin:/usr/bin:/bin"])
                .start { _ in }
            defer { child.signalGroup(SIGKILL) }
            // The system shows the arguments of a new process a moment after it exists.
            #expect(
                await eventually {
                    await SupervisedHAProxy.startedMaster(in: directory) != nil
                })
            let found = try await attach { $0.socket = .seconds(15) }
            #expect(found.master?.pid == child.pid)
        }
    }

    @Test func `an HAProxy that executes itself just now is found`() async throws {
        // A stand-in that does nothing else; the system shows no arguments while it does.
        let script = folder.path + "/again"
        try AtomicFile(path: script).replace(with: Array(#"exec /bin/sh "$0" "$@""#.utf8))
        let child = try Program("/bin/sh", [script, "of this test"]).start { _ in }
        defer { child.signalGroup(SIGKILL) }
        let words = [script, "of this test"]
        #expect(await eventually { await HAProxyMaster(withArguments: words, for: folder.path) != nil })
        for _ in 0..<100 {
            #expect(await HAProxyMaster(withArguments: words, for: folder.path)?.pid == child.pid)
        }
    }

    @Test func `one that does not answer is named, with what to do`() async throws {
        // A stand-in with the same arguments that listens nowhere.
        let script = folder.path + "/silent"
        try AtomicFile(path: script).replace(with: Array("sleep 600 & wait".utf8))
        let words = [script] + SupervisedHAProxy.arguments(in: directory)
        let child = try Program("/bin/sh", words).start { _ in }
        defer { child.signalGroup(SIGKILL) }
        #expect(await eventually { await SupervisedHAProxy.startedMaster(in: directory)?.pid == child.pid })
        let error = await #expect(throws: SupervisedHAProxy.SilentMaster.self) {
            _ = try await attach { ($0.load, $0.socket) = (.milliseconds(200), .seconds(600)) }
        }
        #expect(error?.pid == child.pid)
        #expect(error?.description.hasSuffix("end it: kill \(child.pid)") == true)
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

    @Test(arguments: ["sleep 600", "while :; do echo HAProxy; done", "exec tr '\\0' x </dev/zero"])
    func `what does not end when it is asked for its version is no HAProxy`(script: String) async throws {
        let path = folder.path + "/haproxy"
        try AtomicFile(path: path).replace(with: Array("#!/bin/sh\n\(script)\n".utf8))
        #expect(unsafe chmod(path, 0o755) == 0)
        // A program that another test starts at this moment may hold the file open for writing until it executes itself.
        #expect(
            await eventually {
                do {
                    _ = try await HAProxyProgram.probe(
                        path, searchPath: "", scratch: AtomicFile(path: folder.path + "/probe"),
                        limit: .milliseconds(500))
                    return false
                } catch {
                    return error as? HAProxyProgram.Failure == .silent(path: path, after: .milliseconds(500))
                }
            })
    }
}
