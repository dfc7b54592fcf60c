import Glibc
package import Shared

/// One of the two agents as a process, with its log.
package final class Agent: Sendable {
    /// Its log.
    package let log = CapturedLines()
    private let running: RunningProgram
    private let folder: ScratchFolder?

    /// Starts an agent on a host of a laboratory.
    package init(
        _ name: String, _ arguments: [String] = [], in laboratory: Laboratory, on host: Laboratory.Host,
        _ environment: [String: String]
    ) throws {
        running = try laboratory.start(
            "\(Laboratory.programFolder)/\(name)", arguments, on: host, environment, onLine: log.add)
        folder = nil
    }

    /// Starts an agent on this machine.
    package convenience init(_ name: String, _ arguments: [String] = [], _ environment: [String: String]) throws {
        try self.init(program: "\(Laboratory.programFolder)/\(name)", arguments, environment)
    }

    /// Starts a program that becomes or starts an agent on this machine.
    package init(program: String, _ arguments: [String], _ environment: [String: String]) throws {
        let folder = try ScratchFolder()
        let variables = [
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "CONTROL_SOCKET": "\(folder.path)/control.sock",
        ].merging(environment) { $1 }
        self.folder = folder
        running = try Program(program, arguments, environment: variables)
            .start(onLine: log.add)
    }

    deinit {
        running.signal(SIGKILL)
        running.awaitEnd()
    }

    /// Its process.
    package var pid: Int32 { running.pid }

    /// How it ended; nil while it runs.
    package var ending: Program.Ending? { running.ending }

    /// Sends a signal to it alone, not to what it has started.
    package func signal(_ number: Int32) { running.signal(number) }

    /// Asks it to stop, and waits until it has.
    @discardableResult
    package func stop() async throws -> Program.Ending {
        running.signal(SIGTERM)
        return try await running.wait()
    }

    /// Kills it, and waits until it is gone.
    package func kill() async throws {
        running.signal(SIGKILL)
        _ = try await running.wait()
    }

    /// Waits until it ends.
    package func wait() async throws -> Program.Ending { try await running.wait() }

    /// Waits for a line of its log that has all of `parts` in it; prints the end of the log where there is none.
    package func logs(_ parts: String...) async -> Bool {
        if await eventually({ log.all.contains { line in parts.allSatisfy { line.contains($0) } } }) { return true }
        print("not logged: \(parts)", log.all.suffix(30).joined(separator: "\n    "), separator: "\n    ")
        return false
    }
}
