import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

/// An HAProxy as the system's haproxy.service runs it, which a test starts, stops and starts again.
final class SystemHAProxy: Sendable {
    /// The file that it reads.
    let file: String
    /// The socket of its master.
    let socket: String
    /// The command that has it read its file anew.
    let reloadCommand: String
    /// What it prints.
    let log = CapturedLines()
    private let pidFile: String
    private let form: ExistingForm

    init(_ form: ExistingForm, in folder: ScratchFolder) throws {
        self.form = form
        let place = folder.path + "/system"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        file = place + "/haproxy.cfg"
        socket = place + "/master.sock"
        pidFile = place + "/pid"
        reloadCommand = "kill -USR2 $(cat \(pidFile))"
    }

    /// How docker-discover is told of it.
    func settings() -> [String: String] {
        switch form {
        case .master, .container: ["HAPROXY_MASTER": socket, "HAPROXY_CONFIG": file]
        case .command: ["RELOAD_COMMAND": reloadCommand, "HAPROXY_CONFIG": file]
        }
    }

    /// Starts it, with the file that is there.
    func start() throws -> RunningProgram {
        let path = RealParts.path(of: RealParts.haproxy) ?? RealParts.haproxy
        let words = [path, "-Ws", "-f", file, "-S", socket, "-p", pidFile]
        let line = form == .container ? ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] + words : words
        let program = Program(
            line[0], Array(line.dropFirst()), environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"])
        return try program.start(onLine: log.add)
    }

    /// Runs a test with it once its file is there, and ends it however the test ends.
    func withStart(_ body: (RunningProgram) async throws -> Void) async throws {
        guard await eventually({ DiscoverLab.text(file) != nil }) else { throw LongConnection.Failure("no file") }
        let running = try start()
        defer { running.signalGroup(SIGKILL) }
        try await body(running)
    }

    /// Whether no reload is going on before long: in one the master forgets signals, and HAProxy comes back from it.
    ///
    /// docker-discover may take the worker that it finds for the one of the reload that it has just asked for. Commands are
    /// answered in their order, and none while the master executes itself anew.
    func isSettled() async -> Bool {
        await eventually {
            (try? await LineSocket(path: socket).send("show proc", deadline: .seconds(5)))?.contains("worker") == true
        }
    }

    /// Stops it as systemd does, which waits until each of its processes has ended.
    func stop(_ running: RunningProgram) async throws {
        // A master that is in the middle of a reload forgets the signal.
        while running.ending == nil {
            running.signalGroup(SIGTERM)
            _ = await eventually(within: .milliseconds(500)) { running.ending != nil }
        }
        // Those of a container end after whoever started it.
        #expect(await eventually { kill(-running.pid, 0) != 0 })
    }
}

/// In which way docker-discover is told of an HAProxy that it did not start.
enum ExistingForm: String, CaseIterable, Sendable {
    case master
    case command
    /// The master's socket, and process ids of its own, as in a container.
    case container

    /// Those that this machine can have; a test of its own says where that is not all.
    static var possible: [ExistingForm] {
        RealParts.canRun("unshare", asRoot: true) ? allCases : [.master, .command]
    }
}
