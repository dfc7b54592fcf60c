import FoundationEssentials
import Glibc
import Shared
import Synchronization

/// A real Docker Engine on a host of a laboratory, with data and socket of its own.
package final class Engine: Sendable {
    /// Its socket.
    package let socket: String

    private let laboratory: Laboratory
    private let host: Laboratory.Host
    private let flags: [String]
    private let log = CapturedLines()
    private let process = Mutex<RunningProgram?>(nil)

    /// Starts an engine and waits until it answers.
    package init(in laboratory: Laboratory, on host: Laboratory.Host, flags: [String] = []) async throws {
        self.laboratory = laboratory
        self.host = host
        self.flags = flags
        socket = "\(host.folder)/docker.sock"
        try await start()
    }

    /// What agents and clients are told.
    package var url: String { "unix://\(socket)" }

    /// Starts the engine, again after it was stopped or killed.
    package func start() async throws {
        let files = [
            "--data-root", "\(host.folder)/data", "--exec-root", "\(host.folder)/exec", "--pidfile",
            "\(host.folder)/pid", "-H", url,
        ]
        let running = try laboratory.start("dockerd", files + flags, on: host, onLine: log.add)
        process.withLock { $0 = running }
        let answers = await eventually(within: .seconds(40)) {
            if running.ending != nil { return true }
            return (try? await docker("version")) != nil
        }
        guard answers, running.ending == nil else {
            throw Laboratory.Failure(description: "dockerd does not answer: \(log.all.suffix(5))")
        }
    }

    /// Ends the engine with a signal, and waits until it is gone.
    package func end(_ signal: Int32) async throws {
        let running = process.withLock { $0 }
        running?.signal(signal)
        _ = try await running?.wait()
        // Its containerd ends with it, but an engine that starts while that one is not reaped yet waits for it in vain.
        let file = FileManager.default.contents(atPath: "\(host.folder)/exec/containerd/containerd.pid") ?? Data()
        let containerd = String(decoding: file, as: UTF8.self)
        _ = await eventually { containerd.isEmpty || !FileManager.default.fileExists(atPath: "/proc/\(containerd)") }
    }

    /// Runs `docker`, and gives what it printed.
    @discardableResult
    package func docker(_ arguments: String...) async throws -> [String] { try await docker(arguments) }

    /// Runs `docker`, and gives what it printed.
    @discardableResult
    package func docker(_ arguments: [String]) async throws -> [String] {
        let outcome = try await laboratory.program("docker", ["-H", url] + arguments, on: host).run(
            deadline: .seconds(60))
        guard outcome.isSuccess else {
            throw Laboratory.Failure(description: "docker \(arguments): \(outcome.lines.suffix(5))")
        }
        return outcome.lines
    }

    /// Makes the image `whoami` under these names; its containers answer on port 8000 with their ids.
    package func importWhoami(_ names: String...) async throws {
        let script = "\(Laboratory.projectFolder)/deploy/whoami.sh"
        let outcome = try await Program(script, ["-H", url] + names).run(deadline: .seconds(60))
        guard outcome.isSuccess else { throw Laboratory.Failure(description: "\(outcome.lines)") }
    }

    /// Starts a container in the background, and gives its short id.
    package func run(_ arguments: String...) async throws -> String { try await run(arguments) }

    /// Starts a container in the background, and gives its short id.
    package func run(_ arguments: [String]) async throws -> String {
        let words = ["-H", url, "run", "-d"] + arguments
        let outcome = try await laboratory.program("docker", words, on: host).run(deadline: .seconds(60))
        guard outcome.isSuccess, let id = outcome.lines.last, id.count == 64 else {
            throw Laboratory.Failure(description: "docker run \(arguments): \(outcome.lines)")
        }
        return String(id.prefix(12))
    }
}
