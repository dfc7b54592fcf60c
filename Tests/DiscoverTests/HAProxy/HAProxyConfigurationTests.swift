import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

extension HAProxySettings {
    /// What tests render with.
    static let sample = HAProxySettings(
        host: HostSettings(statsBind: BindAddress(port: port(1936))), statsSocket: "/run/d/haproxy-stats.sock",
        statesFile: "/run/d/haproxy-servers.state", hardStopAfter: .seconds(600),
        abilities: .all)
}

@Suite("HAProxyConfiguration")
struct HAProxyConfigurationTests {
    @Test(arguments: GoldenCase.all)
    func `the text is the golden one`(example: GoldenCase) throws {
        let text = example.configuration.text
        let path = "\(Self.folder)/\(example.name).cfg"
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] != nil {
            try AtomicFile(path: path).replace(with: Array(text.utf8))
        }
        #expect(try FileContents(path).text == text)
    }

    @Test(arguments: GoldenCase.all.filter { $0.host.routes != nil })
    func `the maps are the golden ones`(example: GoldenCase) throws {
        let maps = try #require(example.configuration.maps)
        let text = "# routes.map\n\(maps.recordsText)# shares.map\n\(maps.sharesText)"
        let path = "\(Self.folder)Maps/\(example.name).map"
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] != nil {
            try AtomicFile(path: path).replace(with: Array(text.utf8))
        }
        #expect(try FileContents(path).text == text)
    }

    @Test(
        .enabled(if: RealParts.canRun("haproxy"), "haproxy is not installed"),
        arguments: try FileManager.default.contentsOfDirectory(atPath: folder).sorted())
    func `HAProxy takes the golden files`(file: String) async throws {
        try await checkWithHAProxy("\(Self.folder)/\(file)")
    }

    @Test func `every option has a golden file`() {
        let values = GoldenCase.all.flatMap { $0.keys.map(\.value) }.joined()
        for field in ServiceOptions.fields { #expect(values.contains("\"\(field.name)\""), "\(field.name)") }
    }

    @Test(arguments: GoldenCase.all)
    func `a registry in any order gives the same bytes`(example: GoldenCase) {
        let texts = (0..<20).map { _ in example.configuration.text }
        #expect(Set(texts).count == 1)
    }

    @Test(.enabled(if: RealParts.canRun("haproxy"), "haproxy is not installed"))
    func `HAProxy takes services that are called like its own things`() async throws {
        let names = [
            "stats", "global", "GLOBAL", "MASTER", "defaults", "listen", "frontend", "backend", "peers", "from",
            "HTTPCLIENT", "0", "a.b-c_d", String(repeating: "x", count: 128),
        ]
        var fixture = RegistryFixture()
        for (number, name) in names.enumerated() {
            fixture.put("\(name)/\(name)", "10.0.0.1:\(20000 + number)")
            fixture.put("\(name)/check", "10.0.0.2:\(20000 + number)")
        }
        let folder = try ScratchFolder()
        let file = AtomicFile(path: folder.path + "/h.cfg")
        let configuration = HAProxyConfiguration(fixture.plan, .sample)
        #expect(configuration.binds.count == names.count + 1)
        try file.replace(with: Array(configuration.text.utf8))
        try await checkWithHAProxy(file.path)
    }

    @Test func `what a build does not know is not written`() {
        var settings = HAProxySettings.sample
        settings.abilities = .none
        let text = HAProxyConfiguration(.empty, settings).text
        #expect(!text.contains("idle-close") && !text.contains("prometheus"))
    }

    @Test func `a file tells its mark and its places again`() throws {
        let written = HAProxyConfiguration(RegistryFixture(["web/1": "10.0.0.5:80"]).plan, .sample)
        let read = try #require(HAProxyConfiguration(text: written.text))
        #expect(read == written)
        #expect(read.mark == written.mark && read.sections == written.sections)
        #expect(Set(read.binds.map(\.description)) == [":1936", ":80"])
        #expect(HAProxyConfiguration(text: "global\n    description mine\n") == nil)
        #expect(HAProxyConfiguration(text: "") == nil)
    }

    private static let common = "default-server \(ServerOptions().fixed)"

    @Test(
        arguments: [
            ([:], "server 1 10.0.0.5:80 weight 100 \(ServerOptions().fixed)"),
            (["web/2": "10.0.0.6:80"], "\(common), server 1 10.0.0.5:80 weight 100, server 2 10.0.0.6:80 weight 100"),
            (
                ["web/2": "10.0.0.6:80", "web/2/meta": #"{"backup":true,"weight":7}"#],
                "\(common), server 1 10.0.0.5:80 weight 100, server 2 10.0.0.6:80 weight 7 backup"
            ),
            (
                ["web/2": "10.0.0.6:80", "web/config": #"{"mode":"http","cookie":"c"}"#],
                "\(common), server 1 10.0.0.5:80 weight 100 cookie 1, server 2 10.0.0.6:80 weight 100 cookie 2"
            ),
            (
                ["web/2": "10.0.0.6:80", "web/config": #"{"check":"none"}"#],
                "server 1 10.0.0.5:80 weight 100, server 2 10.0.0.6:80 weight 100"
            ),
            (
                ["web/2": "10.0.0.6:80", "web/2/meta": #"{"check_port":81}"#],
                "server 1 10.0.0.5:80 weight 100 \(ServerOptions().fixed), server 2 10.0.0.6:80 weight 100 "
                    + ServerOptions().fixed.replacing("rise 2", with: "rise 2 port 81")
            ),
        ] as [(KeyValuePairs<String, String>, String)])
    func `a check that all servers have is said once, and read again for each`(
        keys: KeyValuePairs<String, String>, lines: String
    ) throws {
        var fixture = RegistryFixture(["web/1": "10.0.0.5:80"])
        for (key, value) in keys { fixture.put(key, value) }
        let written = HAProxyConfiguration(fixture.plan, .sample)
        let servers = written.text.split(separator: "\n").map { $0.drop { $0 == " " } }
            .filter { $0.hasPrefix("server ") || $0.hasPrefix("default-server ") }
        #expect(servers.joined(separator: ", ") == lines)
        let read = try #require(HAProxyConfiguration(text: written.text))
        #expect(read.sections == written.sections)
        // An earlier version said it for each.
        let common = String(servers[0].dropFirst("default-server ".count))
        let long = written.text.split(separator: "\n", omittingEmptySubsequences: false).compactMap { line in
            line.contains("default-server") ? nil : line.hasPrefix("    server 1 ") ? "\(line) \(common)" : "\(line)"
        }
        if servers[0].hasPrefix("default-server") {
            let first = try #require(
                HAProxyConfiguration(text: long.joined(separator: "\n"))?.sections[service("web")]?.first)
            #expect(first == written.sections[service("web")]?.first)
        }
        let section = try #require(read.section(of: service("web")))
        #expect(!section.head.contains("server") && section.servers == written.sections[service("web")])
    }

    @Test func `the HTTP client is left as it is wherever somebody may use it`() {
        func isOff(_ change: (inout HAProxySettings) -> Void) -> Bool {
            var settings = HAProxySettings.sample
            change(&settings)
            return HAProxyConfiguration(.empty, settings).text.contains("    httpclient.ssl.verify none\n")
        }
        #expect(isOff { _ in })
        #expect(!isOff { $0.hasOtherFiles = true })
        #expect(!isOff { $0.abilities.httpClientVerify = false })
        for place in ConfigSnippet.Location.allCases {
            #expect(!isOff { $0.snippets[place] = ConfigSnippet(path: "/a", lines: ["lua-load /a.lua"]) })
        }
    }

    @Test(
        arguments: [
            (nil, [], nil), (65_536, [], 24_576), (400, [], 150), (1, [], 1), (65_536, ["maxconn 2000"], 2000),
            (nil, ["# maxconn 9", "  maxconn\t30 # all", "nbthread 2"], 30), (400, ["maxconn", "maxconn 0"], 150),
        ] as [(Int?, [String], Int?)])
    func `a service takes half of the connections that HAProxy takes, and leaves some to the stats page`(
        files: Int?, added: [String], all: Int?
    ) {
        var settings = HAProxySettings.sample
        settings.host.openFiles = files.map { OpenFileBudget(limit: $0) }
        if !added.isEmpty { settings.snippets[.global] = ConfigSnippet(path: "/a", lines: added) }
        #expect(settings.shares(beside: 0)?.all == all)
        let lines = HAProxyConfiguration.init(.empty, settings).text.split(separator: "\n")
        let defaults = lines.drop { $0 != "defaults" }.prefix { !$0.hasPrefix("frontend") }
        #expect(defaults.filter { $0.contains("maxconn") } == all.map { ["    maxconn \(max($0 / 2, 1))"] } ?? [])
        // Twice in the global section HAProxy would not take it.
        let global = lines.prefix { $0 != "defaults" }
        let own = added.isEmpty || all == 150 ? all.map { "    maxconn \($0)" } : nil
        #expect(global.first { $0.hasPrefix("    maxconn") }.map(String.init) == own)
    }

    @Test(arguments: [300, 1024, 20_000, 1 << 20])
    func `the limit of open files is shared out among listeners, connections and the rest`(limit: Int) {
        let budget = OpenFileBudget(limit: limit)
        var before = Int.max
        for listeners in stride(from: 0, through: budget.maxListeners, by: max(limit / 100, 1)) {
            let connections = budget.connections(beside: listeners)
            #expect(listeners + 2 * connections <= limit * 3 / 4 + limit / 8)
            #expect(connections >= limit / 16 && connections <= before)
            before = connections
        }
        #expect(OpenFileBudget.needed(for: budget.maxListeners) <= limit)
        #expect(OpenFileBudget.needed(for: budget.maxListeners + 1) > limit)
    }

    @Test func `beyond the limit of open files the youngest services are left out, and the file says so`() throws {
        var settings = HAProxySettings.sample
        settings.host.openFiles = OpenFileBudget(limit: 16)
        var fixture = RegistryFixture()
        for number in (0..<13).reversed() { fixture.put("s\(number)/1", "10.0.0.5:\(8000 + number)") }
        let plan = fixture.plan(on: settings.host)
        #expect(Set(plan.listeners.map(\.service.text)) == Set((3...12).map { "s\($0)" }))
        #expect(
            plan.diagnostics
                == Set((0...2).map { .beyondOpenFiles(service("s\($0)"), limit: 16, needed: 21) }))
        #expect(
            HAProxyConfiguration(plan, settings).text.contains("string '3 services are not served: HAProxy may have 16")
        )
    }

    @Test func `the mark is that of all but the servers`() {
        func mark(_ keys: KeyValuePairs<String, String>) -> String {
            HAProxyConfiguration(RegistryFixture(keys).plan, .sample).mark
        }
        let marks = (1...50).map { mark(["web/1": "10.0.0.5:\($0)"]) }
        #expect(Set(marks).count == 50)
        let moved = (1...50).map { mark(["web/1": "10.0.0.5:\($0)", "web/2": "10.0.0.6:\($0)", "web/port": "80"]) }
        #expect(Set(moved) == [mark(["web/1": "10.0.0.5:80"])])
    }

    private static let folder = #filePath.split(separator: "/").dropLast(2).map { "/\($0)" }.joined() + "/Golden"

    private func checkWithHAProxy(_ path: String) async throws {
        let haproxy = try #require(RealParts.path(of: "haproxy"))
        // docker-discover sees to it that the file of states is there.
        let folder = try ScratchFolder()
        let states = AtomicFile(path: folder.path + "/states")
        try states.replace(with: Array(ServerState.fileHead.utf8))
        let text = try #require(try FileContents(path).text)
            .replacing(HAProxySettings.sample.statesFile, with: states.path)
            .replacing(HAProxySettings.sample.routeFiles.folder, with: folder.path)
        let files = RouteFiles(folder: folder.path)
        for map in [files.routes, files.shares] { try AtomicFile(path: map).replace(with: []) }
        if text.contains(files.certificateList) {
            let made = try await Certificates()
            let both = try [made.server.certificate, made.server.key].flatMap { try FileContents($0).bytes ?? [] }
            try AtomicFile(path: folder.path + "/a.pem").replace(with: both)
            try AtomicFile(path: files.certificateList).replace(with: Array("\(folder.path)/a.pem\n".utf8))
        }
        let file = AtomicFile(path: folder.path + "/haproxy.cfg")
        try file.replace(with: Array(text.utf8))
        let outcome = try await Program(haproxy, ["-c", "-f", file.path]).run(deadline: .seconds(20))
        #expect(outcome.isSuccess, "\(outcome.lines)")
        #expect(!outcome.lines.contains { $0.contains("WARNING") || $0.contains("ALERT") }, "\(outcome.lines)")
    }
}
