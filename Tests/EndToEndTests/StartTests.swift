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

    @Test func `a socket that is not there ends the start with status 1 and says what to do`() async throws {
        let agent = try Agent(
            "docker-register", [], Self.right.merging(["DOCKER_HOST": "unix:///nonexistent/docker.sock"]) { $1 })
        #expect(try await agent.wait() == .exited(1))
        #expect(agent.log.contain("unix:///nonexistent/docker.sock", "No such file", "DOCKER_HOST"))
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
