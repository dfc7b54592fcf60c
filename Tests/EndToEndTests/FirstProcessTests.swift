import FoundationEssentials
import Glibc
import Shared
import TestSupport
import Testing

/// docker-discover as process 1, as it is in a container.
@Suite(
    "docker-discover as process 1", .timeLimit(.minutes(2)),
    .enabled(
        if: canDiscover && RealParts.canRun("unshare", "nsenter", asRoot: true),
        "haproxy, etcd, curl, unshare, nsenter or root is missing"))
struct FirstProcessTests {
    /// A process as /proc shows it.
    private struct Child: Hashable {
        let pid: Int32
        let command: String
        let isZombie: Bool
    }

    /// The children of a process.
    private func children(of parent: Int32) -> [Child] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.compactMap { pid in
            guard let text = DiscoverLab.text("/proc/\(pid)/stat"), let open = text.firstIndex(of: "("),
                let close = text.lastIndex(of: ")")
            else { return nil }
            let fields = text[close...].dropFirst().split(separator: " ")
            guard fields.count > 1, Int32(fields[1]) == parent else { return nil }
            return Child(pid: pid, command: String(text[open..<close].dropFirst()), isZombie: fields[0] == "Z")
        }
    }

    /// Leaves processes to process 1 of a namespace; all but one end soon.
    private func leaveOrphans(to first: Int32) async throws {
        let script = "for i in 1 2 3 4 5; do sleep 0.0$i & sleep 0.$i & done; sleep 300 & exit 0"
        let outcome = try await Program("nsenter", ["-t", "\(first)", "-p", "-m", "sh", "-c", script])
            .run(deadline: .seconds(20))
        #expect(outcome.isSuccess)
    }

    @Test func `orphans are reaped, HAProxy is restarted, files are read again, and a stop ends all`() async throws {
        try await withDiscoverLab { lab in
            let one = try DiscoverLab.backend("one")
            let port = try FreePort.take()
            let users = lab.folder.path + "/users"
            try Data("me:x\n".utf8).write(to: URL(filePath: users))
            let outer = try lab.startAsFirst(["STATS_AUTH": users])
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(one.port)"])
            #expect(await DiscoverLab.answers(port, "one"))
            let first = try #require(children(of: outer.pid).first { $0.command.hasPrefix("docker-disc") }?.pid)

            try await leaveOrphans(to: first)
            // The shell's end, which leaves them to it, may come a moment after that of nsenter.
            var orphan: Int32?
            #expect(
                await eventually {
                    let sleeping = children(of: first).filter { $0.command == "sleep" }
                    orphan = sleeping.count == 1 ? sleeping[0].pid : nil
                    return orphan != nil
                })
            kill(try #require(orphan), SIGKILL)
            try await leaveOrphans(to: first)
            // Meanwhile programs are run whose exit statuses are waited for.
            for number in 0..<10 {
                try await lab.put([
                    "s\(number)/port": "\(try FreePort.take())", "s\(number)/1": "127.0.0.1:\(one.port)",
                ])
            }
            #expect(await eventually { children(of: first).filter { $0.command == "sleep" }.count == 1 })
            for child in children(of: first) where child.command == "sleep" { kill(child.pid, SIGKILL) }
            #expect(await eventually { !children(of: first).contains { $0.command == "sleep" } })
            #expect(await outer.applies("services=11"))
            #expect(await eventually { !children(of: first).contains(where: \.isZombie) })

            let master = try #require(children(of: first).first { $0.command != "sleep" }?.pid)
            kill(master, SIGKILL)
            #expect(await eventually { outer.log.count(of: "msg=\"HAProxy started\"") == 2 })
            #expect(await DiscoverLab.answers(port, "one"))
            #expect(await eventually { children(of: first).count == 1 && !children(of: first)[0].isZombie })

            try Data("you:y\n".utf8).write(to: URL(filePath: users))
            kill(first, SIGHUP)
            #expect(await outer.logs("loaded STATS_AUTH"))
            #expect(outer.log.count(of: "level=error") == 1)
            #expect(outer.log.contain("level=error", "HAProxy exited; restarting it"))
            kill(first, SIGTERM)
            #expect(try await outer.wait() == .exited(0))
            #expect(outer.log.contain("HAProxy stopped"))
            #expect(await DiscoverLab.falls(silent: port))
            withExtendedLifetime(one) {}
        }
    }
}
