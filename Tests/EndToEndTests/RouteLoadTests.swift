import FoundationEssentials
import Shared
import TestSupport
import Testing

@Suite(
    "Routes under load", .serialized, .timeLimit(.minutes(4)),
    .enabled(
        if: canDiscover && RealParts.canRun("openssl", "python3"), "haproxy, etcd, curl, openssl or python3 is missing")
)
struct RouteLoadTests {
    @Test func `a hundred switches and a hundred other weights cost no request and no reload`() async throws {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["v1", "v2"], ["LOG_LEVEL": "info"])
            try await lab.route(["x": #"{"host":"x","to":"v1"}"#])
            #expect(await DiscoverLab.routes("x", at: port, "200 v1"))
            let client = try lab.client()
            let reloads = agent.log.count(of: "by=\"reload")
            let fresh = LoadGenerator(port: port, clients: 10, requests: 1, rate: 300)
            let long = LoadGenerator(port: port, clients: 10, requests: .max, rate: 200)
            for step in 0..<100 {
                let revision = try await client.route("x", #"{"host":"x","to":"v\#(2 - step % 2)"}"#)
                #expect(await agent.applies(revision: revision))
            }
            #expect(await DiscoverLab.routes("x", at: port, "200 v1"))
            for step in 1...100 {
                let weights = #"{"host":"x","to":{"v1":\#(step),"v2":\#(101 - step)},"sticky":"cookie"}"#
                #expect(await agent.applies(revision: try await client.route("x", weights)))
            }
            let failures = await (fresh.stop(), long.stop())
            #expect(failures.0 == [] && failures.1 == [])
            #expect(fresh.count > 200 && long.count > 200)
            #expect(agent.log.count(of: "by=\"reload") == reloads)
            #expect(agent.log.count(of: "level=error") == 0)
            let map = DiscoverLab.text(lab.statePath + "/shares.map") ?? ""
            #expect(map.split(separator: "\n").count <= 54)
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `a canary of ten in a hundred gets that many of 20 000 requests, and a sticky client stays`()
        async throws
    {
        try await withDiscoverLab { lab in
            let (_, port, backends) = try await lab.startRoutes(["v1", "v2"], ["LOG_LEVEL": "info"])
            try await lab.route([
                "x": #"{"host":"x","to":{"v1":90,"v2":10}}"#,
                "s": #"{"host":"sticky","to":{"v1":50,"v2":50},"sticky":"cookie"}"#,
            ])
            #expect(await DiscoverLab.routes("x", at: port, "200 v2"))
            let connection = try LongConnection(port: port)
            var canary = 0
            for _ in 0..<20_000 where try connection.exchange().hasSuffix("v2") { canary += 1 }
            #expect((1800...2200).contains(canary), "\(canary)")
            // A client that takes cookies stays where its number is, also while the canary grows.
            var stayed: [(cookie: String, answer: String)] = []
            for _ in 0..<20 {
                let answer = await DiscoverLab.ask("sticky", at: port, ["-D", "-"])
                let cookie = answer.lowercased().split(separator: " ").first { $0.hasPrefix("sidekick=1") }.map(
                    String.init)
                let number = try #require(cookie, "\(answer)").filter { $0 != ";" }
                stayed.append((number, String(answer.suffix(2))))
            }
            #expect(Set(stayed.map(\.answer)) == ["v1", "v2"])
            for _ in 0..<3 {
                for client in stayed {
                    let answer = await DiscoverLab.ask("sticky", at: port, ["-H", "Cookie: a=b; \(client.cookie)"])
                    #expect(answer == "200 \(client.answer)")
                }
            }
            try await lab.route(["s": #"{"host":"sticky","to":{"v1":20,"v2":80},"sticky":"cookie"}"#])
            #expect(await DiscoverLab.routes("sticky", at: port, "200 v2"))
            for client in stayed where client.answer == "v2" {
                #expect(await DiscoverLab.ask("sticky", at: port, ["-H", "Cookie: \(client.cookie)"]) == "200 v2")
            }
            withExtendedLifetime(backends) {}
        }
    }

    /// Clients that make one TLS connection after another, and count what fails, and which certificates they see.
    private static let handshakes = """
        import socket, ssl, sys, threading, time, hashlib
        port, end = int(sys.argv[1]), time.time() + float(sys.argv[2])
        seen, failures, count = set(), [], [0]
        context = ssl._create_unverified_context()
        def work():
            while time.time() < end:
                try:
                    with socket.create_connection(("127.0.0.1", port), 5) as s:
                        with context.wrap_socket(s, server_hostname="a.com") as t:
                            t.sendall(b"GET / HTTP/1.1\\r\\nHost: a.com\\r\\nConnection: close\\r\\n\\r\\n")
                            seen.add(hashlib.sha256(t.getpeercert(True)).hexdigest())
                            data = b""
                            while True:
                                part = t.recv(4096)
                                if not part: break
                                data += part
                            if b"200 OK" not in data: failures.append(data.decode("latin-1")[:80])
                            count[0] += 1
                except Exception as e: failures.append(repr(e))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(count[0], len(seen), len(failures), failures[:3])
        """

    /// Makes a certificate with its key as one file.
    private func certificate(_ name: String, at path: String) async throws {
        let folder = try ScratchFolder()
        let (key, file) = ("\(folder.path)/k", "\(folder.path)/c")
        let outcome = try await Program(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                "-keyout", key, "-out", file, "-subj", "/CN=\(name)", "-addext", "subjectAltName=DNS:\(name)",
            ]
        ).run(deadline: .seconds(20))
        #expect(outcome.isSuccess, "\(outcome.lines)")
        let bytes = try [file, key].flatMap { try FileContents($0).bytes ?? [] }
        try AtomicFile(path: path).replace(with: bytes)
    }

    /// The name in the certificate that a client gets; empty where it gets none.
    private func subject(_ name: String, at port: Int) async -> String {
        let line =
            "openssl s_client -connect 127.0.0.1:\(port) -servername \(name) </dev/null 2>/dev/null | openssl x509 -noout -subject"
        let outcome = try? await Program("sh", ["-c", line]).run(deadline: .seconds(10))
        return outcome?.lines.last?.split(separator: "=").last?.filter { $0 != " " } ?? ""
    }

    @Test func `certificates come, are renewed and go while clients connect, and a broken one changes nothing`()
        async throws
    {
        try await withDiscoverLab { lab in
            let folder = "\(lab.folder.path)/certificates"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let tls = try FreePort.take()
            let (agent, port, backends) = try await lab.startRoutes(
                ["web"], ["HTTPS_BIND": "127.0.0.1:\(tls)", "CERTIFICATES": folder])
            try await lab.route(["a": #"{"host":["a.com","b.com"],"to":"web"}"#])
            #expect(await DiscoverLab.routes("a.com", at: port, "200 web"))
            #expect(await agent.logs("routes not served", "no usable certificate"))
            try await certificate("a.com", at: "\(folder)/a.pem")
            #expect(await eventually { await subject("a.com", at: tls) == "a.com" })
            #expect(await agent.logs("problem resolved", "setting=CERTIFICATES"))
            // The first certificate is what HTTPS needs to listen at all.
            #expect(await agent.logs("applied", "by=\"reload"))
            let (reloads, workers) = (agent.log.count(of: "by=\"reload"), lab.haproxies().workers)
            async let clients = Program("python3", ["-c", Self.handshakes, "\(tls)", "8"]).run(deadline: .seconds(40))
            for round in 0..<5 {
                let applied = agent.log.count(of: "msg=\"applied\"")
                try await certificate("a.com", at: "\(folder)/a.pem")
                #expect(await eventually { agent.log.count(of: "msg=\"applied\"") > applied }, "\(round)")
            }
            let told = try await clients.lines.last ?? ""
            let numbers = told.split(separator: " ").prefix(3).compactMap { Int($0) }
            #expect(numbers.count == 3 && numbers[0] > 50 && numbers[1] >= 4 && numbers[2] == 0, "\(told)")
            try await certificate("b.com", at: "\(folder)/b.pem")
            #expect(await eventually { await subject("b.com", at: tls) == "b.com" })
            try AtomicFile(path: "\(folder)/b.pem").replace(with: Array("nonsense\n".utf8))
            #expect(await agent.logs("certificate not used", "file=b"))
            #expect(await subject("b.com", at: tls) == "b.com")
            let status = try await lab.command("status").lines
            #expect(status.contains { $0.hasPrefix("next certificate to expire") && $0.contains("at 20") }, "\(status)")
            #expect(status.contains { $0.contains("b: ") }, "\(status)")
            try FileManager.default.removeItem(atPath: "\(folder)/b.pem")
            #expect(await eventually { await subject("b.com", at: tls) == "a.com" })
            #expect(
                agent.log.count(of: "by=\"reload") == reloads && lab.haproxies().workers == workers,
                "\(agent.log.all.filter { $0.contains("applied") })")
            let curl = Program(
                "curl",
                [
                    "-s", "-k", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--resolve",
                    "a.com:\(tls):127.0.0.1", "https://a.com:\(tls)/",
                ])
            #expect(try await curl.run(deadline: .seconds(10)).lines.last == "2 200")
            // What a restart takes is the same.
            try await lab.put(["other/port": "\(try FreePort.take())", "other/1": "127.0.0.1:1"])
            #expect(await eventually { lab.configuration.contains("listen other") })
            #expect(await subject("a.com", at: tls) == "a.com")
            withExtendedLifetime(backends) {}
        }
    }
}
