import Shared
import Testing

@testable import Discover

@Suite("ConfigChange")
struct ConfigChangeTests {
    struct Case: CustomTestStringConvertible {
        let name: String
        let from: [String]
        let to: [String]
        let commands: [String]?
        var reason: ReloadReason?

        var testDescription: String { name }

        init(_ name: String, _ from: [String], _ to: [String], _ commands: [String]) {
            (self.name, self.from, self.to, self.commands) = (name, from, to, commands)
        }

        init(_ name: String, _ from: [String], _ to: [String], reload: ReloadReason) {
            (self.name, self.from, self.to, commands, reason) = (name, from, to, nil, reload)
        }
    }

    static let words = ServerOptions().fixed
    static let web = "web@80: 1=10.0.0.5:80"
    static let cases = [
        Case("nothing differs", [web, "api: 1=10.0.0.5:81"], [web, "api: 1=10.0.0.5:81"], []),
        Case(
            "an endpoint comes", [web], ["web@80: 1=10.0.0.5:80 2=10.0.0.6:80"],
            ["add server web/2 10.0.0.6:80 weight 100 \(words)", "enable health web/2", "set server web/2 state ready"]),
        Case(
            "an endpoint goes", ["web@80: 1=10.0.0.5:80 2=10.0.0.6:80"], [web],
            ["set server web/2 weight 0", "set server web/2 state drain"]),
        Case(
            "one comes before another goes", [web], ["web@80: 2=[fd00::6]:80"],
            [
                "add server web/2 [fd00::6]:80 weight 100 \(words)", "enable health web/2",
                "set server web/2 state ready",
                "set server web/1 weight 0", "set server web/1 state drain",
            ]),
        Case("a weight changes", [web], ["web@80: 1=10.0.0.5:80*50"], ["set server web/1 weight 50"]),
        Case("a weight comes back", ["web@80: 1=10.0.0.5:80*0"], [web], ["set server web/1 weight 100"]),
        Case(
            "an endpoint moves", [web], ["web@80: 1=[::1]:8080"],
            ["set server web/1 addr ::1 port 8080", "set server web/1 health up"]),
        Case(
            "services are changed in the order of their names", [web, "api: 1=10.0.0.5:81"],
            ["web@80: 1=10.0.0.5:80*1", "api: 1=10.0.0.5:81*2"],
            ["set server api/1 weight 2", "set server web/1 weight 1"]),
        Case("a service comes", [web], [web, "api: 1=10.0.0.5:81"], reload: .listenersChanged),
        Case("a service goes", [web, "api: 1=10.0.0.5:81"], [web], reload: .listenersChanged),
        Case("the last service goes", [web], [], reload: .listenersChanged),
        Case("a service moves", [web], ["web@81: 1=10.0.0.5:80"], reload: .listenersChanged),
        Case("a service is renamed", [web], ["api@80: 1=10.0.0.5:80"], reload: .listenersChanged),
    ]

    @Test(arguments: cases)
    func `what differs decides`(example: Case) {
        let next = PlanFixture(example.to).configuration
        let change = ConfigChange(from: .confirmed(PlanFixture(example.from).running), to: next)
        #expect(change.next == next)
        #expect(change.load == example.reason.map { .reload($0) })
        #expect(change.commands.map(\.text) == example.commands ?? [])
        #expect(change.isEmpty == (example.commands == []))
    }

    @Test func `nothing runs, so it starts; what is unknown is loaded anew`() {
        let next = PlanFixture([Self.web]).configuration
        #expect(ConfigChange(from: .notRunning, to: next).load == .start)
        #expect(ConfigChange(from: .unknown(.unknownState), to: next).load == .reload(.unknownState))
        // Whoever starts it is not to be asked for a start.
        #expect(ConfigChange(from: .absent, to: next).load == .reload(.unknownState))
        for known in [KnownState.notRunning, .unknown(.unknownState)] {
            let change = ConfigChange(from: known, to: next)
            #expect(change.commands.isEmpty && change.sections.isEmpty && !change.isEmpty)
        }
        let failure = ReloadReason.runtimeFailed(.differs("server web/1 is missing"))
        #expect(ConfigChange(from: .unknown(failure), to: next).description == "reload: server web/1 is missing")
    }

    @Test func `other settings need a reload`() {
        var settings = HAProxySettings.sample
        settings.hardStopAfter = .seconds(60)
        let fixture = PlanFixture([Self.web])
        let next = HAProxyConfiguration(fixture.plan, settings)
        #expect(ConfigChange(from: .confirmed(fixture.running), to: next).load == .reload(.settingsChanged))
    }

    @Test func `an HAProxy that takes no cookies for new servers is reloaded for these alone`() {
        func update(cookies: Bool) -> ConfigChange {
            let adjust: (inout ServerOptions) -> Void = { $0.hasCookie = cookies }
            var running = PlanFixture([Self.web], adjust).running
            running.takesCookies = false
            let next = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80"], adjust).configuration
            return ConfigChange(from: .confirmed(running), to: next)
        }
        #expect(update(cookies: true).load == .reload(.staticServers))
        #expect(update(cookies: true).commands.isEmpty)
        #expect(update(cookies: false).description == "runtime: 3 commands")
        let answer = "'cookie' option is not accepted for dynamic server"
        let failure = RuntimeFailure.unexpected(answer: answer, to: "add server web/2 ...")
        #expect(failure.isForWantOfCookies && !failure.isForWantOfAbility)
    }

    @Test func `an HAProxy that cannot add servers is reloaded for that, and for nothing else`() {
        var running = PlanFixture([Self.web]).running
        running.isDynamic = false
        func update(_ section: String) -> ConfigChange {
            ConfigChange(from: .confirmed(running), to: PlanFixture([section]).configuration)
        }
        #expect(update("web@80: 1=10.0.0.5:80 2=10.0.0.6:80").load == .reload(.staticServers))
        #expect(update("web@80: 2=10.0.0.6:80").load == .reload(.staticServers))
        #expect(update("web@80: 1=10.0.0.5:80*7").description == "runtime: 1 command")
    }
}

@Suite("ConfigChange: servers")
struct ServerDiffTests {
    private static let two = "web@80: 1=10.0.0.5:80 2=10.0.0.6:80"

    private func commands(_ from: RunningConfig, _ to: HAProxyConfiguration) -> [String] {
        change(from, to).commands.map(\.text)
    }

    private func change(_ from: RunningConfig, _ to: HAProxyConfiguration) -> ConfigChange {
        ConfigChange(from: .confirmed(from), to: to)
    }

    @Test func `a new server that has to pass an HTTP check is declared down before it is ready`() {
        let next = PlanFixture([Self.two]) { $0.check?.isHTTP = true }
        let running = PlanFixture(["web@80: 1=10.0.0.5:80"]) { $0.check?.isHTTP = true }.running
        #expect(
            commands(running, next.configuration).dropFirst() == [
                "enable health web/2", "set server web/2 state drain", "set server web/2 health down",
                "set server web/2 state ready",
            ])
    }

    @Test func `a server without checks is neither checked nor declared up`() {
        let running = PlanFixture(["web@80: 1=10.0.0.5:80"]) { $0.check = nil }.running
        let next = PlanFixture(["web@80: 1=10.0.0.7:80 2=10.0.0.6:80"]) { $0.check = nil }.configuration
        #expect(
            commands(running, next) == [
                "set server web/1 addr 10.0.0.7 port 80", "add server web/2 10.0.0.6:80 weight 100",
                "set server web/2 state ready",
            ])
    }

    @Test func `a limit of connections comes, changes and goes`() {
        let none = PlanFixture([Self.two])
        let some = PlanFixture([Self.two]) { $0.maxConnections = 7 }
        #expect(
            commands(none.running, some.configuration) == ["set maxconn server web/1 7", "set maxconn server web/2 7"])
        #expect(commands(some.running, none.configuration).first == "set maxconn server web/1 0")
    }

    @Test func `other keywords need a new server where another one stands in, and a reload where none does`() {
        let both = PlanFixture([Self.two])
        let all = PlanFixture([Self.two]) { $0.isBackup = true }
        #expect(change(both.running, all.configuration).load == .reload(.keywordsChanged))
        // Nothing of it is done before the reload.
        let more = PlanFixture([Self.two + " 3=10.0.0.7:80"]) { $0.isBackup = true }
        #expect(change(both.running, more.configuration).load == .reload(.keywordsChanged))
        #expect(commands(both.running, more.configuration) == [])
        let mixed = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80*50"]) {
            if $0.weight == 50 { $0.isBackup = true }
        }
        #expect(
            commands(both.running, mixed.configuration) == [
                "set server web/2 weight 0", "set server web/2 state maint", "del server web/2",
                "add server web/2 10.0.0.6:80 weight 50 backup \(ConfigChangeTests.words)", "enable health web/2",
                "set server web/2 state ready",
            ])
    }

    @Test func `a server that takes no connections does not stand in for another one`() {
        let before = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80*0"])
        let after = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.6:80*0"]) { if $0.weight > 0 { $0.isBackup = true } }
        let change = change(before.running, after.configuration)
        #expect(change.load == .reload(.keywordsChanged))
        #expect(change.commands.isEmpty)
    }

    @Test func `a server that comes back while it is leaving is made ready, wherever it is now`() {
        let one = PlanFixture(["web@80: 1=10.0.0.5:80"])
        let both = PlanFixture([Self.two])
        let left = both.running.after(change(both.running, one.configuration), until: .now)
        #expect(left.leaving.keys.map(\.description) == ["web/2"])
        #expect(left.serverCount == 1)
        #expect(commands(left, one.configuration).isEmpty)
        let back = ["set server web/2 weight 100", "set server web/2 state ready"]
        #expect(commands(left, both.configuration) == back)
        let moved = PlanFixture(["web@80: 1=10.0.0.5:80 2=10.0.0.9:80"]).configuration
        #expect(
            commands(left, moved)
                == ["set server web/2 addr 10.0.0.9 port 80", "set server web/2 health up"] + back)
        let again = left.after(change(left, both.configuration), until: .now)
        #expect(again.leaving.isEmpty && again.sections == both.running.sections)
    }

    @Test func `a section that needs a reload holds up no other one`() {
        let running = PlanFixture(["api: 1=10.0.0.5:81", "web@80: 1=10.0.0.5:80"]).running
        let next = PlanFixture(["api: 1=10.0.0.5:81", "web@80: 1=10.0.0.5:80*9"]) {
            if $0.weight == 100 { $0.isBackup = true }
        }
        let change = change(running, next.configuration)
        #expect(change.load == .reload(.keywordsChanged))
        #expect(change.commands.map(\.text) == ["set server web/1 weight 9"])
        #expect(change.sections.keys.map(\.text) == ["web"])
        let left = self.change(running.after(change, until: .now), next.configuration)
        #expect(left.commands.isEmpty && left.load == .reload(.keywordsChanged))
    }

    @Test func `the reason for a reload is the first one`() {
        var running = PlanFixture(["api: 1=10.0.0.5:81", "web@80: 1=10.0.0.5:80"]).running
        running.isDynamic = false
        let next = PlanFixture(["api: 1=10.0.0.5:81", "web@80: 1=10.0.0.5:80 2=10.0.0.6:80"]) {
            if $0.weight == 100 { $0.isBackup = true }
        }
        #expect(change(running, next.configuration).load == .reload(.keywordsChanged))
        let moved = PlanFixture(["web@82: 1=10.0.0.5:80 2=10.0.0.6:80"]).configuration
        #expect(change(running, moved).load == .reload(.listenersChanged))
    }

    @Test func `after commands failed all is loaded anew, and only that is left to do`() {
        let running = PlanFixture([Self.two]).running
        let next = PlanFixture(["web@80: 1=10.0.0.5:80"]).configuration
        let failed = change(running, next).reloading(because: .differs("server web/2 is not drained"))
        #expect(failed.load == .reload(.runtimeFailed(.differs("server web/2 is not drained"))))
        #expect(failed.next == next && failed.withoutLoad.isEmpty && failed.sections.isEmpty)
    }

    @Test func `what needs no reload is done although something else does`() {
        let running = PlanFixture(["web@80: 1=10.0.0.5:80", "api: 1=10.0.0.5:81"]).running
        let next = PlanFixture(["web@80: 1=10.0.0.5:80*9", "db: 1=10.0.0.5:82"]).configuration
        let change = change(running, next)
        #expect(change.commands.map(\.text) == ["set server web/1 weight 9"])
        #expect(change.load == .reload(.listenersChanged))
        #expect(change.description == "reload: services changed")
        #expect(change.withoutLoad.description == "runtime: 1 command" && !change.withoutLoad.isEmpty)
        let after = running.after(change, until: .now)
        #expect(after.sections.keys.sorted().map(\.text) == ["api", "web"])
        // What is left is the reload, for the same reason.
        let left = self.change(after, next)
        #expect(left.commands.isEmpty && left.load == change.load)
    }
}
