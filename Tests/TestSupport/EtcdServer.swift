import FoundationEssentials
import Glibc
package import Shared
import Synchronization

/// A real etcd on free ports, with its data in a folder of its own.
///
/// It ends with the value.
package final class EtcdServer: Sendable {
    /// What a server could not do.
    package enum Failure: Error {
        /// It did not become healthy; these are its last lines.
        case notHealthy([String])
    }

    /// Its port for clients, on 127.0.0.1.
    package let port: Int

    private let peer: String
    private let folder: ScratchFolder
    private let arguments: [String]
    private let environment: [String: String]
    private let isSecure: Bool
    private let lines = CapturedLines()
    private let process = Mutex<RunningProgram?>(nil)

    /// Starts a server and waits until it is healthy.
    ///
    /// - Parameters:
    ///   - flags: further flags of etcd.
    ///   - isSecure: whether clients need TLS, for which `flags` name the files.
    package init(_ flags: [String] = [], isSecure: Bool = false) async throws {
        folder = try ScratchFolder()
        port = try FreePort.take()
        peer = "http://127.0.0.1:\(try FreePort.take())"
        let client = "\(isSecure ? "https" : "http")://127.0.0.1:\(port)"
        self.isSecure = isSecure
        environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"]
        arguments =
            [
                "--data-dir", "\(folder.path)/data", "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", "default=\(peer)", "--logger", "zap",
            ] + flags
        try await start()
    }

    deinit { process.withLock { $0 }?.endAtOnce() }

    /// How clients reach it.
    package var origin: HTTPOrigin { .tcp("http://127.0.0.1:\(port)") }

    /// Starts it again with the data that it had.
    package func start() async throws {
        let started = try Program("etcd", arguments, environment: environment).start { [lines] line in
            lines.add(line)
        }
        process.withLock { $0 = started }
        let isUp = await eventually {
            if started.ending != nil { return true }
            return (try? await isHealthy()) ?? false
        }
        guard isUp, started.ending == nil else { throw Failure.notHealthy(lines.all.suffix(5)) }
    }

    /// Whether it answers, and has a leader.
    private func isHealthy() async throws -> Bool {
        guard !isSecure else { return lines.contain("serving client traffic") }
        guard let http = HTTPClient() else { return false }
        let answer = try await http.send(HTTPRequest(.get, "/health"), to: origin, deadline: .seconds(2), cap: 1000)
        return String(decoding: answer.body, as: UTF8.self).contains("true")
    }

    /// Whether its log has a text.
    package func hasSaid(_ text: String) -> Bool { lines.contain(text) }

    /// Ends it as a crash does.
    package func kill() async throws {
        let running = process.withLock { $0 }
        running?.signalGroup(SIGKILL)
        _ = try await running?.wait()
    }

    /// Ends it as its operator does.
    package func stop() async throws {
        let running = process.withLock { $0 }
        running?.signalGroup(SIGTERM)
        _ = try await running?.wait()
    }

    /// Makes it hang (`SIGSTOP`) or go on.
    package func hang(_ hangs: Bool) {
        process.withLock { $0?.signalGroup(hangs ? SIGSTOP : SIGCONT) }
    }

    /// Throws its data away.
    ///
    /// It has to be down.
    package func wipe() throws {
        try FileManager.default.removeItem(atPath: "\(folder.path)/data")
    }

    /// Writes a snapshot, and gives its file.
    ///
    /// - Parameter login: the user and password, as etcdctl has them.
    package func saveSnapshot(_ login: String) async throws -> String {
        let file = folder.path + "/snapshot.db"
        try await ctl("--user", login, "snapshot", "save", file)
        return file
    }

    /// Goes back to a snapshot; it has to be down.
    package func restore(_ file: String) async throws {
        try wipe()
        try await ctl(
            "snapshot", "restore", file, "--data-dir", "\(folder.path)/data", "--name", "default",
            "--initial-cluster", "default=\(peer)", "--initial-advertise-peer-urls", peer)
    }

    /// Has it ask for logins: one user, `root`, with this password.
    package func enableLogin(_ password: String) async throws {
        try await ctl("user", "add", "root:\(password)")
        try await ctl("user", "grant-role", "root", "root")
        try await ctl("auth", "enable")
    }

    /// Has it behave as without room, or with room again.
    package func raiseNoSpace(_ isRaised: Bool) async throws {
        guard isRaised else {
            try await ctl("alarm", "disarm")
            return
        }
        guard let http = HTTPClient() else { return }
        let body = Array(#"{"action":"ACTIVATE","memberID":"1","alarm":"NOSPACE"}"#.utf8)
        let answer = try await http.send(
            HTTPRequest(.post(body), "/v3/maintenance/alarm"), to: origin, deadline: .seconds(10), cap: 10_000)
        guard answer.head.isSuccess else { throw Failure.notHealthy([String(decoding: answer.body, as: UTF8.self)]) }
    }

    /// Runs `etcdctl` against it, and gives what it printed.
    @discardableResult
    package func ctl(_ arguments: String...) async throws -> [String] { try await ctl(arguments) }

    /// Runs `etcdctl` against it, and gives what it printed.
    @discardableResult
    package func ctl(_ arguments: [String]) async throws -> [String] {
        let environment = [
            "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": "http://127.0.0.1:\(port)", "PATH": "/usr/bin:/bin", "HOME": "/",
        ]
        return try await Program("etcdctl", arguments, environment: environment).run(deadline: .seconds(20)).lines
    }

    /// Does several operations in one transaction; each is written as for `etcdctl txn`.
    package func transact(_ operations: [String]) async throws {
        let script = "printf '%s\\n' '' \"$@\" '' '' | exec etcdctl txn"
        let outcome = try await Program(
            "sh", ["-c", script, "sh"] + operations,
            environment: [
                "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": "http://127.0.0.1:\(port)", "PATH": "/usr/bin:/bin",
                "HOME": "/",
            ]
        ).run(deadline: .seconds(20))
        guard outcome.lines.first == "SUCCESS" else { throw Failure.notHealthy(outcome.lines) }
    }
}
