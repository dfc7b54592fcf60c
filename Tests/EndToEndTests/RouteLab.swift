import FoundationEssentials
import Shared
import TestSupport

/// A request with whatever a test wants in it, on a connection of its own.
struct RawRequest {
    /// Sends text as it is and gives all that is answered until the connection ends.
    static func send(_ text: String, to port: Int) async -> String {
        let program = Program(
            "python3",
            [
                "-c",
                """
                import socket, sys
                s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
                s.settimeout(5)
                s.sendall(sys.argv[2].encode("latin-1"))
                data = b""
                try:
                    while True:
                        part = s.recv(65536)
                        if not part: break
                        data += part
                except OSError: pass
                sys.stdout.write(data.decode("latin-1").replace("\\r", ""))
                """, "\(port)", text,
            ])
        return ((try? await program.run(deadline: .seconds(15)))?.lines ?? []).joined(separator: "\n")
    }
}

extension DiscoverLab {
    /// What a request to a route is answered: the status and the body, such as `200 one`.
    static func ask(
        _ host: String, _ path: String = "/", at port: Int, _ arguments: [String] = []
    ) async -> String {
        let program = Program(
            "curl",
            [
                "-s", "-g", "-k", "-m", "5", "--path-as-is", "-H", "Host: \(host)", "-w", "\n%{http_code}",
            ] + arguments + ["http://127.0.0.1:\(port)\(path)"])
        guard let lines = (try? await program.run(deadline: .seconds(10)))?.lines, let status = lines.last else {
            return ""
        }
        return "\(status) " + lines.dropLast().joined(separator: " ")
    }

    /// Whether a route answers that before long.
    static func routes(_ host: String, _ path: String = "/", at port: Int, _ answer: String) async -> Bool {
        await eventually { await ask(host, path, at: port) == answer }
    }

    /// Puts routes, each by itself.
    func route(_ pairs: KeyValuePairs<String, String>) async throws {
        for (name, value) in pairs { try await etcd.ctl("put", "--", "/backends-routes/" + name, value) }
    }

    /// Starts docker-discover with routes at a port, and services with an endpoint each that answers with its name.
    func startRoutes(
        _ services: [String], _ settings: [String: String] = [:]
    ) async throws -> (agent: Agent, port: Int, backends: [StubServer]) {
        let port = try FreePort.take()
        let agent = try start(settings.merging(["HTTP_BIND": "127.0.0.1:\(port)"]) { first, _ in first })
        let backends = try services.map { try DiscoverLab.backend($0) }
        let client = try client()
        for (name, backend) in zip(services, backends) {
            try await client.put(["\(name)/1/meta": #"{"port":"none"}"#, "\(name)/1": "127.0.0.1:\(backend.port)"])
        }
        return (agent, port, backends)
    }

    /// Runs a command of docker-discover that asks etcd.
    func operate(_ words: String...) async throws -> Program.Outcome {
        try await Program(
            "\(Laboratory.programFolder)/docker-discover", words,
            environment: ["STATE_DIR": statePath, "ETCD_HOST": "127.0.0.1:\(etcd.port)"]
        ).run(deadline: .seconds(60))
    }
}
