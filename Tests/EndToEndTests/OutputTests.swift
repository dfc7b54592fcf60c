import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

private let canOutput =
    canDiscover
    && RealParts.canRun(
        "nginx", "jq", "unbound", "dig", "named-checkzone", "dnsmasq", "promtool", "prometheus", "python3")

/// A folder with an outputs file, for a docker-discover of a lab and the programs that read what it writes.
private struct OutputScene {
    let lab: DiscoverLab
    var folder: String { lab.folder.path }

    /// Where the project's examples are.
    static let examples = "\(Laboratory.projectFolder)/deploy/outputs"

    /// Writes a file.
    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
    }

    /// Writes the outputs file.
    func outputs(_ outputs: String...) throws {
        try write("outputs.json", "{\"outputs\": [\(outputs.joined(separator: ","))]}")
    }

    /// Starts docker-discover with it.
    @discardableResult
    func start(_ settings: [String: String] = [:]) throws -> Agent {
        try lab.start(["OUTPUTS_FILE": "\(folder)/outputs.json"].merging(settings) { $1 })
    }

    /// A meta with a listener port that nobody has, and more.
    static func meta(_ rest: String = "") throws -> String { "{\"port\":\(try FreePort.take())\(rest)}" }

    func read(_ name: String) -> String? { DiscoverLab.text("\(folder)/\(name)") }

    /// Runs a program until `body` is over.
    func running(_ words: [String], _ body: () async throws -> Void) async throws {
        let lines = CapturedLines()
        let program = try Program("/usr/bin/env", ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] + words).start(
            onLine: lines.add)
        do {
            try await body()
        } catch {
            print(lines.all.joined(separator: "\n"))
            program.signalGroup(SIGKILL)
            throw error
        }
        program.signalGroup(SIGTERM)
        if !(await eventually(within: .seconds(10)) { program.ending != nil }) { program.signalGroup(SIGKILL) }
    }

    /// The lines that a program prints.
    static func lines(_ words: String...) async throws -> [String] {
        try await Program("/usr/bin/env", ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] + words).run(deadline: .seconds(20))
            .lines
    }
}

@Suite(
    "Outputs", .timeLimit(.minutes(3)),
    .enabled(if: canOutput, "a program that reads outputs, or a part of docker-discover's, is missing"))
struct OutputTests {
    private func withScene(_ body: (OutputScene) async throws -> Void) async throws {
        try await withDiscoverLab { lab in try await body(OutputScene(lab: lab)) }
    }

    @Test(arguments: ["jq", "jinja"])
    func `nginx follows the registry, and keeps its last good file`(engine: String) async throws {
        try await withScene { scene in
            let port = try FreePort.take()
            let (one, two) = (try DiscoverLab.backend("one"), try DiscoverLab.backend("two"))
            let folder = scene.folder
            try FileManager.default.createDirectory(atPath: "\(folder)/conf.d", withIntermediateDirectories: false)
            try scene.write(
                "nginx.conf",
                """
                daemon off; pid \(folder)/nginx.pid; error_log stderr;
                events {}
                http { access_log off; include \(folder)/conf.d/*.conf; }
                """)
            let examples = OutputScene.examples
            let render =
                engine == "jq"
                ? #"["jq", "-r", "--arg", "listen", "\#(port)", "--arg", "domain", "test", "-f", "\#(examples)/nginx.jq"]"#
                : #"["python3", "\#(examples)/jinja.py", "\#(examples)/nginx.j2", "listen=\#(port)", "domain=test"]"#
            try scene.outputs(
                """
                {"file": "\(folder)/conf.d/sidekick.conf", "render": \(render),
                 "check": ["nginx", "-t", "-c", "\(folder)/nginx.conf"],
                 "reload": ["nginx", "-s", "reload", "-c", "\(folder)/nginx.conf"]}
                """)
            try await scene.running(["nginx", "-c", "\(folder)/nginx.conf"]) {
                #expect(await eventually { (scene.read("nginx.pid") ?? "") != "" })
                let meta = try OutputScene.meta()
                try await scene.lab.put(["web/1/meta": meta, "web/1": "127.0.0.1:\(one.port)"])
                let agent = try scene.start()
                let get = { await OutputScene.get(port, host: "web.test") }
                #expect(await eventually { await get() == "one" })
                try await scene.lab.put(["web/1": "127.0.0.1:\(two.port)"])
                #expect(await eventually { await get() == "two" })
                let good = scene.read("conf.d/sidekick.conf")
                let other = try OutputScene.meta()
                try await scene.lab.put(["other/1/meta": other, "other/1": "127.0.0.1:\(one.port)"])
                #expect(await eventually { scene.read("conf.d/sidekick.conf") != good })
                #expect(await get() == "two")
                let status = try await scene.lab.command("status")
                #expect(status.lines.contains { $0.contains("conf.d/sidekick.conf") && $0.contains("current") })
                _ = try await agent.stop()
            }
        }
    }

    @Test func `unbound never denies a service that has endpoints while others come and go`() async throws {
        try await withScene { scene in
            let (port, control) = (try FreePort.take(), "\(scene.folder)/unbound.ctl")
            let folder = scene.folder
            try scene.write(
                "unbound.conf",
                """
                server:
                  interface: 127.0.0.1@\(port)
                  do-daemonize: no
                  username: ""
                  chroot: ""
                  directory: "\(folder)"
                  pidfile: ""
                  use-syslog: no
                  do-not-query-localhost: no
                remote-control:
                  control-enable: yes
                  control-interface: \(control)
                auth-zone:
                  name: "sidekick."
                  zonefile: "\(folder)/sidekick.zone"
                  for-upstream: no
                """)
            try scene.outputs(
                """
                {"file": "\(folder)/sidekick.zone", "format": "zone", "check": ["named-checkzone", "sidekick.", "{}"],
                 "reload": ["unbound-control", "-c", "\(folder)/unbound.conf", "auth_zone_reload", "sidekick."]}
                """)
            let meta = try OutputScene.meta(#","check":"none""#)
            try await scene.lab.put(["web/stays/meta": #"{"tags":["v1"],"check":"none"}"#, "web/stays": "127.0.0.1:1"])
            try await scene.lab.put(["web/config": meta])
            try scene.start()
            #expect(await eventually { scene.read("sidekick.zone") != nil })
            try await scene.running(["unbound", "-c", "\(folder)/unbound.conf"]) {
                let dig = { @Sendable (words: [String]) in
                    try await Program("dig", ["@127.0.0.1", "-p", "\(port)", "+tries=1", "+time=2"] + words)
                        .run(deadline: .seconds(10)).lines
                }
                #expect(await eventually { (try? await dig(["+short", "web.sidekick"])) == ["127.0.0.1"] })
                let client = try scene.lab.client()
                async let changes: Void = {
                    for round in 0..<200 {
                        try await client.put(["web/\(round)": "127.0.1.\(round + 1):80"])
                        if round >= 20 { try await client.delete("web/\(round - 20)") }
                    }
                }()
                let isOver = CapturedLines()
                async let asking = {
                    var asked = 0
                    while isOver.all.isEmpty {
                        let lines = try await dig(["web.sidekick"])
                        asked += 1
                        #expect(lines.contains { $0.contains("status: NOERROR") }, "\(lines)")
                        #expect(lines.contains { $0.contains("127.0.0.1") && $0.contains("IN\tA") }, "\(lines)")
                    }
                    return asked
                }()
                try await changes
                isOver.add("over")
                #expect(try await asking > 0)
                let names = { try await dig(["+short", "web.sidekick"]).count }
                #expect(await eventually { (try? await names()) == 21 })
                #expect(try await dig(["+short", "SRV", "_web._v1.sidekick"]) == ["0 100 1 stays.web.sidekick."])
                #expect(try await dig(["nobody.sidekick"]).contains { $0.contains("NXDOMAIN") })
            }
        }
    }

    @Test func `Prometheus scrapes the endpoints that the registry names`() async throws {
        try await withScene { scene in
            let port = try FreePort.take()
            let target = try DiscoverLab.backend("up_metric 1")
            let folder = scene.folder
            try scene.write(
                "prometheus.yml",
                """
                scrape_configs:
                  - job_name: sidekick
                    scrape_interval: 1s
                    file_sd_configs: [{files: ["\(folder)/targets.json"]}]
                    relabel_configs:
                      - {source_labels: [__meta_sidekick_service], target_label: service}
                """)
            try scene.outputs(#"{"file": "\#(folder)/targets.json", "format": "prometheus"}"#)
            let meta = try OutputScene.meta(#","container":"c1""#)
            try await scene.lab.put(["web/1/meta": meta, "web/1": "127.0.0.1:\(target.port)"])
            try scene.start()
            #expect(await eventually { scene.read("targets.json")?.contains("127.0.0.1:\(target.port)") == true })
            let found = try await OutputScene.lines(
                "promtool", "check", "service-discovery", "--timeout=3s", "\(folder)/prometheus.yml", "sidekick")
            #expect(found.contains { $0.contains(#""__meta_sidekick_container": "c1""#) }, "\(found)")
            let arguments = [
                "--config.file=\(folder)/prometheus.yml", "--storage.tsdb.path=\(folder)/tsdb",
                "--web.listen-address=127.0.0.1:\(port)",
            ]
            try await scene.running(["prometheus"] + arguments) {
                let query = "/api/v1/query?query=up_metric%7Bservice=%22web%22%7D"
                #expect(
                    await eventually(within: .seconds(40)) {
                        await DiscoverLab.get(port, query)?.contains("127.0.0.1:\(target.port)") == true
                    })
            }
        }
    }

    @Test func `dnsmasq answers from hosts`() async throws {
        try await withScene { scene in
            let port = try FreePort.take()
            let folder = scene.folder
            let pid = "\(folder)/dnsmasq.pid"
            try scene.outputs(
                """
                {"file": "\(folder)/hosts", "format": "hosts", "domain": "sidekick",
                 "reload": ["sh", "-c", "kill -HUP $(cat \(pid))"]}
                """)
            try scene.write("hosts", "")
            let words = [
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
                "--addn-hosts=\(folder)/hosts", "--port=\(port)", "--listen-address=127.0.0.1", "--bind-interfaces",
                "--pid-file=\(pid)",
            ]
            try await scene.running(words) {
                #expect(await eventually { scene.read("dnsmasq.pid") != nil })
                try await scene.lab.put(["web/1": "10.0.0.1:80"])
                try scene.start(["HAPROXY": "none"])
                let ask = {
                    try await OutputScene.lines("dig", "@127.0.0.1", "-p", "\(port)", "+short", "web.sidekick")
                }
                #expect(await eventually { (try? await ask()) == ["10.0.0.1"] })
                try await scene.lab.put(["web/1": "10.0.0.2:80"])
                #expect(await eventually { (try? await ask()) == ["10.0.0.2"] })
            }
        }
    }

    @Test func `plain keys become a file, here a backend of another HAProxy`() async throws {
        try await withScene { scene in
            let folder = scene.folder
            try scene.write(
                "head.cfg",
                """
                defaults
                  timeout connect 1s
                  timeout client 1s
                  timeout server 1s
                frontend jenkins
                  bind 127.0.0.1:\(try FreePort.take())
                  mode http
                  default_backend jenkins_backend

                """)
            try scene.outputs(
                """
                {"file": "\(folder)/jenkins.cfg", "keys": ["/infrastructure/"],
                 "render": ["jq", "-r", "-f", "\(OutputScene.examples)/jenkins.jq"],
                 "check": ["\(RealParts.haproxy)", "-c", "-f", "\(folder)/head.cfg", "-f", "{}"]}
                """)
            try await scene.lab.etcd.ctl("put", "/infrastructure/jenkins/j1/ip", "10.0.0.31")
            let agent = try scene.start()
            #expect(await eventually { scene.read("jenkins.cfg")?.contains("server j1 10.0.0.31:8080") == true })
            try await scene.lab.etcd.ctl("put", "/infrastructure/jenkins/j2/ip", "10.0.0.32")
            #expect(await eventually { scene.read("jenkins.cfg")?.contains("server j2 10.0.0.32:8080") == true })
            // HAProxy does not take this, so the last good file stays.
            try await scene.lab.etcd.ctl("put", "/infrastructure/jenkins/j3/ip", "no address at all")
            #expect(await agent.logs("output failed; keeping the last good file", "check: "))
            #expect(scene.read("jenkins.cfg")?.contains("j3") == false)
            let why = try await scene.lab.command("why", "\(folder)/jenkins.cfg")
            #expect(why.ending == .exited(1) && why.lines.first?.contains("is failing") == true, "\(why.lines)")
            try await scene.lab.etcd.ctl("del", "/infrastructure/jenkins/j3/ip")
            #expect(await agent.logs("output recovered"))
            #expect(try await scene.lab.command("why", "\(folder)/jenkins.cfg").isSuccess)
        }
    }

    @Test func `an endpoint that checks find down leaves the outputs, and comes back`() async throws {
        try await withScene { scene in
            let folder = scene.folder
            let (one, port) = (try DiscoverLab.backend("one"), try FreePort.take())
            try scene.outputs(#"{"file": "\#(folder)/hosts", "format": "hosts"}"#)
            let meta = #"{"port":\#(try FreePort.take()),"check_interval":"200ms","check_fast_interval":"100ms"}"#
            try await scene.lab.put([
                "web/1/meta": meta, "web/1": "127.0.0.1:\(one.port)", "web/2/meta": meta, "web/2": "127.0.0.2:\(port)",
            ])
            try scene.start()
            #expect(await eventually { scene.read("hosts") == "127.0.0.1 web\n" })
            try await scene.running(["python3", "-m", "http.server", "\(port)", "--bind", "127.0.0.2"]) {
                #expect(await eventually { scene.read("hosts") == "127.0.0.1 web\n127.0.0.2 web\n" })
            }
            #expect(await eventually { scene.read("hosts") == "127.0.0.1 web\n" })
        }
    }

    @Test func `an output that hangs delays neither HAProxy nor another output`() async throws {
        try await withScene { scene in
            let folder = scene.folder
            let (backend, listener) = (try DiscoverLab.backend("one"), try FreePort.take())
            try scene.outputs(
                #"{"file": "\#(folder)/a", "render": ["sleep", "60"], "timeout": "60s"}"#,
                #"{"file": "\#(folder)/b", "format": "hosts", "reload": ["sleep", "60"], "timeout": "60s"}"#,
                #"{"file": "\#(folder)/c", "format": "hosts"}"#)
            let agent = try scene.start()
            let meta = try OutputScene.meta(#","check":"none""#)
            for round in 1...3 {
                try await scene.lab.put([
                    "web/1/meta": "{\"port\":\(listener)}", "web/1": "127.0.0.1:\(backend.port)",
                    "other/1/meta": meta, "other/1": "10.0.0.\(round):80",
                ])
                #expect(await eventually { scene.read("c")?.contains("10.0.0.\(round) other") == true })
                #expect(await DiscoverLab.answers(listener, "one"))
            }
            #expect(try await agent.stop() == .exited(0))
            #expect(scene.read("a") == nil)
        }
    }

    @Test func `nothing is written before etcd has answered, and SIGHUP reads the outputs file again`() async throws {
        try await withScene { scene in
            let folder = scene.folder
            try scene.outputs(#"{"file": "\#(folder)/hosts", "format": "hosts"}"#)
            try scene.write("hosts", "10.9.9.9 kept\n")
            try await scene.lab.put(["web/1": "10.0.0.1:80"])
            scene.lab.etcd.hang(true)
            let agent = try scene.start(["HAPROXY": "none"])
            #expect(await agent.logs("etcd unreachable"))
            #expect(scene.read("hosts") == "10.9.9.9 kept\n")
            scene.lab.etcd.hang(false)
            #expect(await eventually { scene.read("hosts") == "10.0.0.1 web\n" })
            try scene.write("outputs.json", "{\"outputs\": [{\"file\": \"x\"}]}")
            agent.signal(SIGHUP)
            #expect(await agent.logs("outputs file rejected; keeping the previous one", "outputs[0].file"))
            try await scene.lab.put(["web/1": "10.0.0.2:80"])
            #expect(await eventually { scene.read("hosts") == "10.0.0.2 web\n" })
            try scene.outputs(#"{"file": "\#(folder)/other", "format": "hosts"}"#)
            agent.signal(SIGHUP)
            #expect(await eventually { scene.read("other") == "10.0.0.2 web\n" })
            let status = try await scene.lab.command("status")
            #expect(status.lines.contains { $0.hasPrefix("HAProxy") && $0.contains("none; only outputs are written") })
            let why = try await scene.lab.command("why", "web")
            #expect(why.isSuccess && why.lines.first == "web is in the outputs; no HAProxy runs here.", "\(why.lines)")
            #expect(scene.lab.haproxies().master == nil)
        }
    }
}

extension OutputScene {
    /// What a virtual host answers.
    fileprivate static func get(_ port: Int, host: String) async -> String? {
        let lines = try? await lines("curl", "-s", "-f", "-m", "5", "-H", "Host: \(host)", "http://127.0.0.1:\(port)/")
        return lines?.joined(separator: "\n")
    }
}
