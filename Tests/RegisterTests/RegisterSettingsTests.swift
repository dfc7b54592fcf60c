// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Register

@Suite("Register configuration")
struct RegisterSettingsTests {
    private func read(_ arguments: [String] = [], _ environment: [String: String]) throws -> RegisterSettings {
        let invocation = RegisterSettings.options.parse(arguments: arguments, environment: environment)
        guard case .run(var reading) = invocation else { throw UsageError(problems: ["not a run"]) }
        let configuration = RegisterSettings(&reading, home: "/root")
        _ = LogSettings.logger(from: &reading, environment: environment)
        try reading.finish()
        return try #require(configuration)
    }

    private func problems(_ environment: [String: String]) -> [String] {
        do {
            _ = try read([], environment)
            return []
        } catch {
            return (error as? UsageError)?.problems ?? ["\(error)"]
        }
    }

    @Test func `two settings are enough`() throws {
        let configuration = try read([], ["HOST_IP": "10.0.0.1", "ETCD_HOST": "etcd1"])
        #expect(configuration.hostAddress == .fixed(IPAddress("10.0.0.1")!))
        #expect(configuration.etcd.members.names == ["http://etcd1:2379"])
        #expect(configuration.docker == .unix("/var/run/docker.sock"))
        #expect(configuration.keyspace.prefix == "/backends/")
        #expect(configuration.ttl == .seconds(15))
        #expect(configuration.deadline == .seconds(5))
    }

    @Test func `etcdctl's variables count where ours say nothing, and the configuration tells which did`() throws {
        let theirs = [
            "HOST_IP": "10.0.0.1", "ETCDCTL_ENDPOINTS": "a:1", "ETCDCTL_DISCOVERY_SRV": "b.test",
            "ETCDCTL_USER": "ops:pass:word",
        ]
        let etcd = try read([], theirs).etcd
        #expect(etcd.members.names == ["http://a:1"])
        #expect(etcd.credentials == Etcd.Credentials(user: "ops", password: "pass:word"))
        #expect(etcd.sources == ["ETCDCTL_ENDPOINTS", "ETCDCTL_USER"])
        let both = try read(
            ["--etcd", "srv:c.test."], theirs.merging(["ETCD_USER": "root", "ETCDCTL_PASSWORD": "x"]) { $1 })
        #expect(both.etcd.members.names == ["srv:c.test"])
        #expect(both.etcd.credentials == Etcd.Credentials(user: "root", password: "x"))
        #expect(both.etcd.sources == ["--etcd", "ETCD_USER", "ETCDCTL_PASSWORD"])
        #expect(
            try read([], ["HOST_IP": "10.0.0.1", "ETCDCTL_DISCOVERY_SRV": "b.test"]).etcd.members.names == [
                "srv:b.test"
            ])
        let secret = RegisterSettings.options.settings.flatMap(\.secretVariables)
        #expect(Set(secret) == ["ETCD_PASSWORD", "ETCDCTL_PASSWORD", "ETCDCTL_USER"])
    }

    @Test func `a flag wins over its variable, and an empty variable counts as unset`() throws {
        let environment = ["HOST_IP": "10.0.0.1", "ETCD_HOST": "a", "TTL": "", "DOCKER_HOST": "tcp://d:2375"]
        let configuration = try read(["--host-ip", "fd00::1", "--ttl=30"], environment)
        #expect(configuration.hostAddress == .fixed(IPAddress("fd00::1")!))
        #expect(configuration.ttl == .seconds(30))
        #expect(configuration.docker == .tcp("http://d:2375"))
    }

    @Test(arguments: [
        ("a", ["http://a:2379"]), ("a:1,b:2", ["http://a:1", "http://b:2"]), ("https://a", ["https://a:2379"]),
        ("http://a:1/, b", ["http://a:1", "http://b:2379"]), ("[fd00::1]:1", ["http://[fd00::1]:1"]),
        ("fd00::1", ["http://[fd00::1]:2379"]), ("[fd00::1]", ["http://[fd00::1]:2379"]),
    ])
    func `etcd's members are written in any of the usual ways`(text: String, bases: [String]) throws {
        let configuration = try read([], ["HOST_IP": "10.0.0.1", "ETCD_HOST": text])
        #expect(configuration.etcd.members.names == bases)
    }

    @Test(arguments: [
        "127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "10.0.0", "10.0.0.1:80", "10.0.0.1\n",
        "::ffff:127.0.0.1", "fe80::1", "fe80::1%eth0", "no interface", "a-name-of-16-chr", "eth0/1", "2nd",
    ])
    func `an address that others cannot reach is refused, by name`(address: String) {
        let problems = problems(["HOST_IP": address, "ETCD_HOST": "a"])
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix("HOST_IP: ") == true)
    }

    @Test func `a host without an engine needs a services file`() throws {
        let folder = try ScratchFolder()
        let path = "\(folder.path)/services.json"
        try Data(#"{"services": [{"name": "db", "port": 1}]}"#.utf8).write(to: URL(filePath: path))
        let environment = ["HOST_IP": "10.0.0.1", "ETCD_HOST": "a", "DOCKER_HOST": "none"]
        let configuration = try read(["--services", path], environment)
        #expect(configuration.docker == nil)
        #expect(configuration.services?.file.services.first?.name.text == "db")
        #expect(problems(environment).map { $0.prefix(17) } == ["DOCKER_HOST: none"])
    }

    @Test func `all mistakes are told at once`() {
        let problems = problems([
            "ETCD_HOST": "http://:1", "DOCKER_HOST": "ssh://x", "TTL": "1ms", "ETCD_PREFIX": "backends",
            "LOG_LEVEL": "loud", "ETCD_CERT": "/nonexistent", "ETCD_PASSWORD": "secret", "RESYNC_INTERVAL": "x",
        ])
        let names = [
            "HOST_IP", "ETCD_HOST", "DOCKER_HOST", "TTL", "ETCD_PREFIX", "LOG_LEVEL", "ETCD_CERT", "ETCD_KEY",
            "ETCD_USER",
            "RESYNC_INTERVAL",
        ]
        for name in names {
            #expect(problems.contains { $0.hasPrefix(name) }, "nothing is said of \(name)")
        }
        #expect(problems.allSatisfy { !$0.contains("secret") })
    }

    @Test(arguments: ["", ",", "a:0", "a:x", "ftp://a", "a b", "a/x", "http://a:1:2", "[::1", "user@a"])
    func `a wrong ETCD_HOST is named`(text: String) {
        #expect(problems(["HOST_IP": "10.0.0.1", "ETCD_HOST": text]).first?.hasPrefix("ETCD_HOST") == true)
    }

    @Test(arguments: ["relative", "/" + String(repeating: "x", count: 107)])
    func `a control socket that cannot be is named`(path: String) throws {
        let environment = ["HOST_IP": "10.0.0.1", "ETCD_HOST": "a"]
        #expect(try read([], environment).controlSocket == "/run/docker-register/control.sock")
        #expect(
            problems(environment.merging(["CONTROL_SOCKET": path]) { $1 }).first?.hasPrefix("CONTROL_SOCKET") == true)
    }
}
