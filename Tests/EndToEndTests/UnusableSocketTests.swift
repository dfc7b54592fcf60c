import Glibc
import Shared
import TestSupport
import Testing

/// docker-register at a socket that it cannot use: it ends at once and says what to do.
@Suite("Unusable socket", .timeLimit(.minutes(1)))
struct UnusableSocketTests {
    private static let arguments = ["--host-ip", "10.0.0.1", "--etcd", "127.0.0.1:1"]

    private func log(of program: String, _ arguments: [String]) async throws -> (ending: Program.Ending, text: String) {
        let outcome = try await Program(program, arguments, environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"])
            .run(deadline: .seconds(30))
        return (outcome.ending, outcome.lines.joined(separator: "\n"))
    }

    private var register: String { "\(Laboratory.programFolder)/docker-register" }

    @Test func `a socket that is not there`() async throws {
        let folder = try ScratchFolder()
        let socket = "unix://\(folder.path)/none.sock"
        let (ending, text) = try await log(of: register, Self.arguments + ["--docker", socket])
        #expect(ending == .exited(1))
        #expect(text.contains(socket) && text.contains("No such file or directory"))
        #expect(text.contains("is Docker installed and running?"))
    }

    @Test func `a socket that nobody listens on`() async throws {
        let folder = try ScratchFolder()
        do { _ = try StubServer(path: "\(folder.path)/dead.sock") { _ in } }
        let (ending, text) = try await log(
            of: register, Self.arguments + ["--docker", "unix://\(folder.path)/dead.sock"])
        #expect(ending == .exited(1))
        #expect(text.contains("Connection refused") && text.contains("is Docker running?"))
    }

    @Test(.enabled(if: RealParts.canRun("setpriv", asRoot: true), "needs setpriv and root"))
    func `a socket that belongs to somebody else`() async throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/docker.sock"
        let server = try StubServer(path: path) { $0.waitForEnd() }
        // Without the capabilities that let root pass everywhere, it may do no more than others.
        #expect(unsafe chown(path, 65_534, 65_534) == 0 && chmod(path, 0o600) == 0)
        let powers = ["--bounding-set", "-dac_override,-dac_read_search"]
        let (ending, text) = try await log(
            of: "setpriv", powers + [register] + Self.arguments + ["--docker", "unix://\(path)"])
        #expect(ending == .exited(1))
        #expect(text.contains("unix://\(path)") && text.contains("Permission denied"))
        #expect(text.contains("run docker-register as root, or as a member of the group"))
        #expect(server.connections == 0)
    }
}
