import Shared
import Testing

@testable import Discover

@Suite("DiscoverSettings")
struct DiscoverSettingsTests {
    private func read(_ environment: [String: String]) throws -> DiscoverSettings? {
        let options = DiscoverSettings.options
        guard case .run(var reading) = options.parse(arguments: [], environment: environment) else { return nil }
        let configuration = DiscoverSettings(&reading)
        try reading.finish()
        return configuration
    }

    @Test func `etcd's address is enough`() throws {
        let configuration = try #require(try read(["ETCD_HOST": "10.0.0.1"]))
        #expect(configuration.mode == .watch)
        #expect(configuration.haproxy == "haproxy")
        #expect(configuration.directory.path == "/var/lib/docker-discover")
        #expect(configuration.host.statsBind.description == ":1936")
        #expect(configuration.stopGrace == .seconds(10))
        #expect(configuration.hardStopAfter == .seconds(600))
        #expect(configuration.drainTimeout == .seconds(600))
    }

    @Test func `everything can be said`() throws {
        let configuration = try #require(
            try read([
                "ETCD_HOST": "10.0.0.1", "DISCOVER_MODE": "poll", "POLL_INTERVAL": "2s", "HAPROXY": "/opt/haproxy",
                "STATE_DIR": "/tmp/d/", "STATS_BIND": "127.0.0.1:9000", "STOP_GRACE": "0s", "HARD_STOP_AFTER": "1h",
                "DRAIN_TIMEOUT": "0s",
            ]))
        #expect(configuration.mode == .poll(every: .seconds(2)))
        #expect(configuration.haproxy == "/opt/haproxy")
        #expect(configuration.directory.path == "/tmp/d")
        #expect(configuration.host.statsBind.description == "127.0.0.1:9000")
        #expect(configuration.stopGrace == .zero)
        #expect(configuration.hardStopAfter == .seconds(3600))
        #expect(configuration.drainTimeout == .zero)
    }

    @Test func `all mistakes are told at once, each by its name`() throws {
        let wrong = [
            "DISCOVER_MODE": "guess", "POLL_INTERVAL": "0s", "STATE_DIR": "here", "STATS_BIND": "x",
            "STOP_GRACE": "soon", "HARD_STOP_AFTER": "0s", "DRAIN_TIMEOUT": "-1s",
        ]
        let error = #expect(throws: UsageError.self) { _ = try read(wrong) }
        let problems = try #require(error).problems
        for name in ["ETCD_HOST"] + wrong.keys {
            #expect(problems.contains { $0.hasPrefix(name) }, "\(name) in \(problems)")
        }
    }

    @Test func `another's HAProxy is told by its master's socket or by a command`() throws {
        let master = try read(["ETCD_HOST": "10.0.0.1", "HAPROXY_MASTER": "/run/haproxy-master.sock"])
        #expect(
            master?.external
                == ExternalHAProxy.Settings(
                    path: "/etc/haproxy/haproxy.cfg", reload: .master(socket: "/run/haproxy-master.sock")))
        let command = try read([
            "ETCD_HOST": "10.0.0.1", "RELOAD_COMMAND": "systemctl reload haproxy", "HAPROXY_CONFIG": "/srv/h.cfg",
        ])
        #expect(
            command?.external
                == ExternalHAProxy.Settings(path: "/srv/h.cfg", reload: .command("systemctl reload haproxy")))
        #expect(try read(["ETCD_HOST": "10.0.0.1"])?.external == nil)
    }

    @Test(
        arguments: [
            (["HAPROXY_MASTER": "/m", "RELOAD_COMMAND": "true"], ["HAPROXY_MASTER", "RELOAD_COMMAND"]),
            (["HAPROXY_CONFIG": "/etc/h.cfg"], ["HAPROXY_CONFIG", "HAPROXY_MASTER", "RELOAD_COMMAND"]),
            (["HAPROXY_MASTER": "here"], ["HAPROXY_MASTER", "absolute path"]),
            (["STATS_AUTH": "/nowhere/users"], ["STATS_AUTH", "there is no file /nowhere/users"]),
        ])
    func `settings that contradict each other are told with both names`(settings: [String: String], words: [String])
        throws
    {
        let error = #expect(throws: UsageError.self) {
            _ = try read(["ETCD_HOST": "10.0.0.1"].merging(settings) { $1 })
        }
        let problems = try #require(error).problems
        #expect(problems.count == 1)
        for word in words { #expect(problems.first?.contains(word) == true, "\(word) in \(problems)") }
    }
}
