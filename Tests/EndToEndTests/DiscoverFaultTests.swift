import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

@Suite(
    "docker-discover's faults", .timeLimit(.minutes(2)), .enabled(if: canDiscover, "haproxy, etcd or curl is missing"))
struct DiscoverFaultTests {
    /// A lab with docker-discover and one service, which answers `one`.
    private func withService(
        _ settings: [String: String] = [:], _ body: (DiscoverLab, Agent, Int) async throws -> Void
    ) async throws {
        try await withDiscoverLab { lab in
            let one = try DiscoverLab.backend("one")
            let port = try FreePort.take()
            let agent = try lab.start(settings)
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await agent.applies("services=1"))
            try await body(lab, agent, port)
            withExtendedLifetime(one) {}
        }
    }

    private func write(_ text: String, to path: String, permissions: Int = 0o600) throws {
        try Data(text.utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: permissions], ofItemAtPath: path)
    }

    /// Makes a program that runs some lines of shell and then HAProxy, and gives its path.
    private func wrapper(in folder: ScratchFolder, _ lines: String) async throws -> String {
        let path = folder.path + "/haproxy"
        let script = "#!/bin/sh\n\(lines)\nexec \(RealParts.path(of: "haproxy") ?? "haproxy") \"$@\"\n"
        try write(script, to: path, permissions: 0o755)
        // A program that another test starts at this moment may hold the file open for writing until it runs itself.
        #expect(await eventually { (try? await Program(path, ["-v"]).run(deadline: .seconds(10)))?.isSuccess ?? false })
        return path
    }

    @Test func `a service whose connections pile up leaves room for the others`() async throws {
        try await withDiscoverLab { lab in
            let stuck = try StubServer { $0.waitForEnd() }
            let one = try DiscoverLab.backend("one")
            let (port, stuckPort) = (try FreePort.take(), try FreePort.take())
            let agent = try lab.start(openFiles: 300)
            try await lab.put([
                "web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)",
                "stuck/port": "\(stuckPort)", "stuck/1": "127.0.0.1:\(stuck.port)",
            ])
            #expect(await agent.applies("services=2"))
            #expect(await DiscoverLab.answers(port, "one"))
            // More than HAProxy takes with so few files; those that it does not take wait in the system.
            let connections = try (0..<90).map { _ in try LongConnection(port: stuckPort) }
            #expect(await eventually { await connectionCount(of: "stuck", lab) == "51" })
            #expect(await connectionCount(of: "stuck", lab) == "51", "\(agent.log.all.suffix(20))")
            #expect(await DiscoverLab.get(port) == "one")
            withExtendedLifetime((connections, one, stuck)) {}
        }
    }

    @Test func `idle connections of several services leave room for another one and for the stats page`() async throws {
        try await withDiscoverLab { lab in
            let idle = try StubServer { $0.waitForEnd() }
            let one = try DiscoverLab.backend("one")
            let ports = try (0..<4).map { _ in try FreePort.take() }
            let agent = try lab.start(openFiles: 300)
            for (number, port) in ports.enumerated() {
                try await lab.put([
                    "s\(number)/port": "\(port)", "s\(number)/1": "127.0.0.1:\(number == 3 ? one.port : idle.port)",
                ])
            }
            #expect(await agent.applies("services=4"))
            // Those that are beyond a share are closed at once.
            let connections = ports.dropLast().flatMap { port in
                (0..<80).compactMap { _ in try? LongConnection(port: port) }
            }
            for _ in 0..<3 {
                #expect(await DiscoverLab.get(ports[3]) == "one")
                #expect(await DiscoverLab.status(lab.statsPort, "/healthz") == "200")
            }
            withExtendedLifetime((connections, one, idle)) {}
        }
    }

    @Test func `services beyond the limit of open files are left out, and all others served, over restarts too`()
        async throws
    {
        try await withDiscoverLab { lab in
            let one = try DiscoverLab.backend("one")
            // Each with an address of its own, so that one port does for all.
            let port = try FreePort.take()
            let client = try lab.client()
            for number in 0..<170 {
                try await client.put([
                    ("s\(number)/config", #"{"listen_address":"127.0.1.\#(number + 1)","port":\#(port)}"#),
                    ("s\(number)/1", "127.0.0.1:\(one.port)"),
                ])
            }
            var agent = try lab.start(openFiles: 256)
            for _ in 0..<2 {
                #expect(await agent.applies("services=160"))
                #expect(await DiscoverLab.answers(port, "one", at: "127.0.1.1"))
                #expect(await DiscoverLab.answers(port, "one", at: "127.0.1.160"))
                #expect(await DiscoverLab.get(port, at: "127.0.1.161") == nil)
                #expect(await agent.logs("service not served", "256 files open", "a limit of 272"))
                let page = await DiscoverLab.get(lab.statsPort, "/healthz")
                #expect(page?.contains("10 services are not served: HAProxy may have 256 files open") == true)
                let status = try await lab.command("status")
                #expect(status.lines.contains { $0.contains("256 files open") }, "\(status.lines.suffix(12))")
                #expect(try await agent.stop() == .exited(0))
                agent = try lab.start(openFiles: 256)
            }
            // One that goes makes room for the next.
            #expect(await agent.applies("services=160"))
            try await client.delete("s0/1")
            #expect(await DiscoverLab.answers(port, "one", at: "127.0.1.161"))
        }
    }

    @Test func `a start that fails with what is wanted is one with the file before`() async throws {
        let folder = try ScratchFolder()
        let haproxy = try await wrapper(
            in: folder,
            """
            if [ "$1" = -W ] && grep -q '^listen two' "$5"; then
                echo '[ALERT]    (1) : cannot have so much' >&2
                exit 1
            fi
            """)
        try await withService(["HAPROXY": haproxy]) { lab, agent, port in
            #expect(try await agent.stop() == .exited(0))
            #expect(await DiscoverLab.falls(silent: port))
            try await lab.put(["two/port": "\(try FreePort.take())", "two/1": "127.0.0.1:1"])
            let next = try lab.start(["HAPROXY": haproxy])
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await next.logs("rejected the new configuration", "cannot have so much"))
            #expect(lab.configuration.contains("listen web"))
        }
    }

    /// How many connections a listener has, as the stats page says.
    private func connectionCount(of service: String, _ lab: DiscoverLab) async -> String? {
        let page = await DiscoverLab.get(lab.statsPort, "/;csv")
        let line = page?.split(separator: "\n").first { $0.hasPrefix("\(service),FRONTEND,") }
        return line?.split(separator: ",", omittingEmptySubsequences: false)[4].description
    }

    @Test(arguments: ["master", "worker"])
    func `an HAProxy that is killed serves again at once`(victim: String) async throws {
        try await withService { lab, agent, port in
            let before = lab.haproxies()
            let pid = try #require(victim == "master" ? before.master : before.workers.first)
            kill(pid, SIGKILL)
            #expect(await eventually { lab.haproxies().master.map { $0 != before.master } == true })
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(agent.log.contain("HAProxy exited; restarting it"))
            #expect(lab.haproxies().workers.count == 1)
        }
    }

    @Test func `a killed master takes its old workers along`() async throws {
        try await withService { lab, agent, port in
            let connection = try LongConnection(port: port)
            #expect(connection.answers("one"))
            try await lab.put(["two/port": "\(try FreePort.take())", "two/1": "127.0.0.1:1"])
            #expect(await agent.applies("services=2"))
            #expect(lab.haproxies().workers.count == 2)
            #expect(connection.answers("one"))
            kill(try #require(lab.haproxies().master), SIGKILL)
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await eventually { lab.haproxies().workers.count == 1 })
        }
    }

    @Test func `HAProxy survives docker-discover, and the next one takes it over`() async throws {
        try await withService { lab, agent, port in
            let before = lab.haproxies()
            let load = LoadGenerator(port: port, clients: 2)
            try await agent.kill()
            #expect(await DiscoverLab.get(port) == "one")
            let next = try lab.start()
            #expect(await eventually { next.log.contain("took over the running HAProxy") })
            let two = try DiscoverLab.backend("two")
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            #expect(await DiscoverLab.answers(port, "two"))
            #expect(await load.stop() == [])
            #expect(lab.haproxies().master == before.master)
            #expect(next.log.count(of: "by=\"reload") == 0)
            #expect(await next.logs("by=\"runtime: 3 commands\""))
            let master = try #require(before.master)
            kill(master, SIGKILL)
            #expect(await eventually { lab.haproxies().master.map { $0 != master } == true })
            #expect(await DiscoverLab.answers(port, "one"))
            let last = try #require(lab.haproxies().master)
            #expect(try await next.stop() == .exited(0))
            #expect(await eventually { kill(last, 0) != 0 || lab.haproxies().master == nil })
        }
    }

    @Test func `an HAProxy that is taken over stays as it is until etcd answers, as the copy may be older`()
        async throws
    {
        try await withService { lab, agent, port in
            let copy = lab.statePath + "/catalog.json"
            #expect(await eventually { FileManager.default.fileExists(atPath: copy) })
            let old = try String(contentsOfFile: copy, encoding: .utf8)
            let two = try DiscoverLab.backend("two")
            try await lab.put(["web/1": "127.0.0.1:\(two.port)"])
            #expect(await DiscoverLab.answers(port, "two"))
            try await agent.kill()
            try await lab.etcd.kill()
            try write(old, to: copy)
            let master = try #require(lab.haproxies().master)
            let next = try lab.start()
            #expect(await next.logs("took over the running HAProxy"))
            #expect(await next.logs("etcd unreachable"))
            #expect(await DiscoverLab.get(port) == "two")
            #expect(!next.log.contain("msg=\"applied\""))
            // Where HAProxy ends, the copy is better than nothing.
            kill(master, SIGKILL)
            #expect(await DiscoverLab.answers(port, "one"))
            try await lab.etcd.start()
            #expect(await DiscoverLab.answers(port, "two"))
        }
    }

    @Test func `the last known catalog is served without etcd, and a damaged one is named`() async throws {
        try await withService { lab, agent, port in
            #expect(try await agent.stop() == .exited(0))
            #expect(await DiscoverLab.falls(silent: port))
            try await lab.etcd.kill()
            let second = try lab.start()
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await second.logs("etcd unreachable since startup; serving the saved state"))
            #expect(try await second.stop() == .exited(0))
            try write("{", to: lab.statePath + "/catalog.json")
            let third = try lab.start()
            #expect(await eventually { await DiscoverLab.get(lab.statsPort) != nil })
            #expect(third.log.contain("ignoring the saved registry cache", "catalog.json"))
            #expect(await DiscoverLab.get(port) == nil)
            try await lab.etcd.start()
            #expect(await DiscoverLab.answers(port, "one"))
        }
    }

    @Test func `etcd's end changes nothing, and all is right after its return`() async throws {
        try await withService { lab, agent, port in
            let load = LoadGenerator(port: port, clients: 2)
            try await lab.etcd.kill()
            #expect(await eventually { agent.log.contain("etcd unreachable") })
            try await lab.etcd.start()
            try await lab.etcd.ctl("put", "/backends/late/1", "127.0.0.1:9")
            try await lab.etcd.ctl("put", "/backends/late/port", "\(try FreePort.take())")
            #expect(await agent.applies("services=2"))
            #expect(await load.stop() == [])
            #expect(agent.log.count(of: "etcd unreachable") == 1)
        }
    }

    @Test func `a store that was emptied while it was away is read anew`() async throws {
        try await withService { lab, agent, port in
            for number in 0..<20 { try await lab.etcd.ctl("put", "/elsewhere", "\(number)") }
            try await lab.etcd.kill()
            try lab.etcd.wipe()
            try await lab.etcd.start()
            let (other, two) = (try FreePort.take(), try DiscoverLab.backend("two"))
            try await lab.put(["two/port": "\(other)", "two/1": "127.0.0.1:\(two.port)"])
            #expect(await DiscoverLab.answers(other, "two"))
            // Nobody deleted the entry, and it answers.
            #expect(await agent.logs("keeping lost endpoints that", "service=web"))
            #expect(await DiscoverLab.get(port) == "one")
            #expect(try await lab.command("release").isSuccess)
            #expect(await DiscoverLab.falls(silent: port))
        }
    }

    @Test func `a service that HAProxy refuses is left out alone, and tried again when it changes`() async throws {
        let folder = try ScratchFolder()
        let switchFile = folder.path + "/broken"
        let haproxy = try await wrapper(
            in: folder,
            """
            if [ "$1" = -c ] && [ -e \(switchFile) ] && grep -q '^listen two' "$3"; then
                echo '[ALERT]    (1) : config : out of luck' >&2
                exit 1
            fi
            """)
        try await withService(["HAPROXY": haproxy]) { lab, agent, port in
            try write("", to: switchFile)
            let before = lab.configuration
            let (two, three) = (try FreePort.take(), try FreePort.take())
            try await lab.put(["two/port": "\(two)", "two/1": "127.0.0.1:\(port)"])
            #expect(await agent.logs("level=error", "service not served", "service=two", "out of luck"))
            #expect(lab.configuration == before)
            try await lab.put(["three/port": "\(three)", "three/1": "127.0.0.1:\(port)"])
            #expect(await DiscoverLab.answers(three, "one"))
            #expect(await DiscoverLab.get(port) == "one")
            try FileManager.default.removeItem(atPath: switchFile)
            try await lab.put(["two/2": "127.0.0.1:\(port)"])
            #expect(await DiscoverLab.answers(two, "one"))
            #expect(await agent.logs("problem resolved", "service=two"))
            #expect(agent.log.count(of: "level=error") == 1)
        }
    }

    @Test func `of a service whose new options HAProxy refuses the old ones stay, over a restart too`() async throws {
        let folder = try ScratchFolder()
        let haproxy = try await wrapper(
            in: folder,
            """
            if [ "$1" = -c ] && line=$(grep -n 'cookie BAD ' "$3"); then
                echo "[ALERT]    (1) : config : parsing [$3:${line%%:*}] : 'cookie' : no such taste." >&2
                exit 1
            fi
            """)
        try await withService(["HAPROXY": haproxy]) { lab, agent, port in
            let bad = #"{"mode":"http","cookie":"BAD"}"#
            try await lab.put(["web/config": bad])
            #expect(
                await agent.logs("level=error", "serving its last accepted form", "service=web", "no such taste")
            )
            #expect(await agent.logs("cookie BAD insert indirect nocache", "(from cookie)"))
            // Its endpoints come and go all the same, and so does everything else.
            let two = try DiscoverLab.backend("two")
            let other = try FreePort.take()
            try await lab.put(["web/2": "127.0.0.1:\(two.port)"])
            try await lab.put(["other/port": "\(other)", "other/1": "127.0.0.1:\(port)"])
            #expect(await DiscoverLab.answers(port, "two"))
            #expect(await DiscoverLab.answers(other, "one"))
            #expect(!lab.configuration.contains("BAD"))
            try await agent.kill()
            let next = try lab.start(["HAPROXY": haproxy])
            #expect(await next.logs("serving its last accepted form", "service=web"))
            #expect(await DiscoverLab.answers(port, "two"))
            try await lab.put(["web/config": #"{"mode":"http","cookie":"GOOD"}"#])
            #expect(await next.logs("problem resolved", "service=web"))
            #expect(await eventually { lab.configuration.contains("cookie GOOD ") })
            #expect(await DiscoverLab.answers(port, "two"))
        }
    }

    @Test func `a port that another process holds makes only its service wait`() async throws {
        try await withService { lab, agent, port in
            var holder: StubServer? = try DiscoverLab.backend("other")
            let taken = try #require(holder?.port)
            try await lab.put(["two/port": "\(taken)", "two/1": "127.0.0.1:\(port)"])
            let three = try FreePort.take()
            try await lab.put(["three/port": "\(three)", "three/1": "127.0.0.1:\(port)"])
            #expect(await DiscoverLab.answers(three, "one"))
            #expect(
                await eventually {
                    agent.log.contain("level=error", "service=two", "port \(taken) is in use by process")
                })
            #expect(await DiscoverLab.get(taken) == "other")
            holder = nil
            #expect(await DiscoverLab.answers(taken, "one"))
            #expect(agent.log.count(of: "in use by") == 2)
            // The port was tried before, not by a reload that fails.
            #expect(!agent.log.contain("rejected the new configuration"))
        }
    }

    @Test func `a start beside a port that another process holds is one without its service`() async throws {
        try await withDiscoverLab { lab in
            let (one, holder) = (try DiscoverLab.backend("one"), try DiscoverLab.backend("other"))
            let port = try FreePort.take()
            try await lab.put([
                "web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)", "two/port": "\(holder.port)",
                "two/1": "127.0.0.1:\(one.port)",
            ])
            let agent = try lab.start()
            #expect(await agent.applies("services=1"))
            #expect(agent.log.contain("level=error", "service=two", "port \(holder.port) is in use by process"))
            #expect(await DiscoverLab.get(port) == "one")
            #expect(!agent.log.contain("rejected the new configuration"))
            #expect(agent.log.count(of: "msg=\"HAProxy started\"") == 1)
        }
    }

    @Test func `a short wait does not last as long as a longer one that began before`() async throws {
        let folder = try ScratchFolder()
        let switchFile = folder.path + "/broken"
        let haproxy = try await wrapper(in: folder, "if [ \"$1\" = -c ] && [ -e \(switchFile) ]; then exit 1; fi")
        try await withService(["HAPROXY": haproxy]) { lab, agent, port in
            // Refused again and again, until the waits are long.
            try write("", to: switchFile)
            try await lab.put(["two/port": "\(try FreePort.take())", "two/1": "127.0.0.1:\(port)"])
            let tries = {
                agent.log.count(of: "rejected the new config") + agent.log.count(of: "still rejects the config")
            }
            #expect(await eventually(within: .seconds(30)) { tries() >= 6 })
            try FileManager.default.removeItem(atPath: switchFile)
            var holder: StubServer? = try DiscoverLab.backend("other")
            let taken = try #require(holder?.port)
            try await lab.put(["three/port": "\(taken)", "three/1": "127.0.0.1:\(port)"])
            #expect(await agent.applies("services=2"))
            holder = nil
            let begin = ContinuousClock.now
            #expect(await DiscoverLab.answers(taken, "one"))
            // The long wait has some ten seconds left.
            #expect(begin.duration(to: .now) < .seconds(6))
        }
    }

    @Test func `a start that cannot be is refused with the reason`() async throws {
        try await withService { lab, _, _ in
            let twin = try lab.start()
            #expect(try await twin.wait() == .exited(1))
            #expect(twin.log.contain("another docker-discover", lab.statePath))
            let other = try lab.start(["STATE_DIR": lab.folder.path + "/other"])
            #expect(try await other.wait() == .exited(1))
            #expect(other.log.contain("STATS_BIND", "\(lab.statsPort)", "in use by process", "haproxy"))
            let missing = try lab.start(["STATE_DIR": lab.folder.path + "/m", "HAPROXY": "/nowhere/haproxy"])
            #expect(try await missing.wait() == .exited(1))
            #expect(missing.log.contain("/nowhere/haproxy"))
            let wrong = try lab.start(["ETCD_HOST": "", "STATS_BIND": "x"])
            #expect(try await wrong.wait() == .exited(64))
            #expect(wrong.log.contain("ETCD_HOST") && wrong.log.contain("STATS_BIND"))
        }
    }

    @Test(arguments: [true, false])
    func `a stop lets open connections end, for the grace period`(isPatient: Bool) async throws {
        try await withDiscoverLab { lab in
            let requests = CapturedLines()
            let slow = try StubServer { connection in
                guard let request = connection.request() else { return }
                requests.add(request)
                usleep(isPatient ? 1_000_000 : 5_000_000)
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
            }
            let port = try FreePort.take()
            let agent = try lab.start(["STOP_GRACE": isPatient ? "10s" : "300ms"])
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(slow.port)"])
            #expect(await agent.applies("services=1"))
            async let answer = DiscoverLab.get(port)
            #expect(await eventually { !requests.all.isEmpty })
            #expect(try await agent.stop() == .exited(0))
            #expect(await answer == (isPatient ? "slow" : nil))
            #expect(agent.log.contain("stopped with connections open") == !isPatient)
            #expect(lab.haproxies().master == nil)
        }
    }

    @Test func `a second signal ends a stop that still waits, with the signal's own status`() async throws {
        try await withDiscoverLab { lab in
            let requests = CapturedLines()
            let stuck = try StubServer { connection in
                if let request = connection.request() { requests.add(request) }
                connection.waitForEnd()
            }
            let port = try FreePort.take()
            let agent = try lab.start(["STOP_GRACE": "1h"])
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(stuck.port)"])
            #expect(await agent.applies("services=1"))
            async let answer = DiscoverLab.get(port)
            #expect(await eventually { !requests.all.isEmpty })
            agent.signal(SIGTERM)
            #expect(await agent.logs("stopping"))
            agent.signal(SIGINT)
            #expect(try await agent.wait() == .exited(128 + SIGINT))
            lab.end()
            #expect(await answer == nil)
        }
    }
}
