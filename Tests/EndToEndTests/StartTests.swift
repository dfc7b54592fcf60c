import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite("Starting and stopping docker-register", .timeLimit(.minutes(1)))
struct StartTests {
    private static let right = ["HOST_IP": "10.0.0.1", "ETCD_HOST": "127.0.0.1:1"]

    @Test func `wrong settings end it with status 64, and all of them are told`() async throws {
        let agent = try Agent("docker-register", ["--nonsense"], ["TTL": "soon"])
        #expect(try await agent.wait() == .exited(64))
        for name in ["--nonsense", "TTL", "HOST_IP", "ETCD_HOST"] { #expect(agent.log.contain(name)) }
    }

    @Test(arguments: ["docker-register", "docker-discover"])
    func `help and version are answers on standard output`(program: String) async throws {
        let help = try Agent(program, ["--help"], [:])
        #expect(try await help.wait() == .exited(0))
        #expect(help.log.contain("ETCD_HOST"))
        let version = try Agent(program, ["--version"], [:])
        #expect(try await version.wait() == .exited(0))
        #expect(version.log.all == ["\(program) \(Version.current)"])
    }

    @Test(arguments: [("always", "time="), ("never", "level=")])
    func `lines have a time where LOG_TIME says so`(when: String, begin: String) async throws {
        let folder = try ScratchFolder()
        try Data(#"{"services": []}"#.utf8).write(to: URL(filePath: "\(folder.path)/services.json"))
        let more = ["DOCKER_HOST": "none", "SERVICES_FILE": "\(folder.path)/services.json", "LOG_TIME": when]
        let agent = try Agent("docker-register", [], Self.right.merging(more) { $1 })
        #expect(await agent.logs("docker-register started"))
        #expect(agent.log.all.allSatisfy { $0.hasPrefix(begin) })
    }

    @Test func `a socket that is not there ends the start with status 1 and says what to do`() async throws {
        let agent = try Agent(
            "docker-register", [], Self.right.merging(["DOCKER_HOST": "unix:///nonexistent/docker.sock"]) { $1 })
        #expect(try await agent.wait() == .exited(1))
        #expect(agent.log.contain("unix:///nonexistent/docker.sock", "No such file", "DOCKER_HOST"))
    }

    @Test(arguments: ["docker-register", "docker-discover"])
    func `closed standard streams are not taken by anything else`(program: String) async throws {
        let folder = try ScratchFolder()
        let engine = try StubServer(path: "\(folder.path)/docker.sock") { $0.waitForEnd() }
        defer { withExtendedLifetime(engine) {} }
        let settings = [
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOST_IP": "10.0.0.1", "ETCD_HOST": "127.0.0.1:1", "TTL": "3600",
            "DOCKER_HOST": "unix://\(folder.path)/docker.sock", "STATE_DIR": folder.path,
            "STATS_BIND": "127.0.0.1:\(try FreePort.take())", "CONTROL_SOCKET": "\(folder.path)/control.sock",
        ]
        let script = "exec \(Laboratory.programFolder)/\(program) <&- >&- 2>&-"
        let running = try Program("sh", ["-c", script], environment: settings).start { _ in }
        defer { running.signal(SIGKILL) }
        for descriptor in 0...2 {
            #expect(await eventually { Self.target(of: descriptor, of: running.pid) == "/dev/null" })
        }
    }

    /// What a descriptor of a process is.
    private static func target(of descriptor: Int, of pid: Int32) -> String? {
        var bytes = [CChar](repeating: 0, count: 200)
        let count = unsafe readlink("/proc/\(pid)/fd/\(descriptor)", &bytes, bytes.count - 1)
        return count > 0 ? String(decoding: bytes.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    @Test func `a stop is obeyed at once while every stream is blocked`() async throws {
        let folder = try ScratchFolder()
        let engine = try StubServer(path: "\(folder.path)/docker.sock") { client in
            while let request = client.request() {
                let body =
                    request.contains("/info") ? #"{"ID":"E","Name":"h"}"# : request.contains("/_ping") ? "OK" : nil
                guard let body else { return client.waitForEnd() }
                client.send("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            }
        }
        let etcd = try StubServer { $0.waitForEnd() }
        let agent = try Agent(
            "docker-register", [],
            [
                "HOST_IP": "10.0.0.1", "ETCD_HOST": "127.0.0.1:\(etcd.port)",
                "DOCKER_HOST": "unix://\(folder.path)/docker.sock", "TTL": "3600",
            ])
        #expect(await eventually { engine.connections >= 1 && etcd.connections >= 1 })
        #expect(try await agent.stop() == .exited(0))
    }
}
