import Glibc
import Shared
import TestSupport
import Testing

@testable import Discover

extension ConfigSnippets {
    /// Additions that a test writes down.
    init(_ texts: [ConfigSnippet.Location: String]) throws {
        self.init()
        for (place, text) in texts {
            self[place] = try ConfigSnippet(Array(text.utf8), of: "/etc/\(place).cfg", for: place)
        }
    }
}

@Suite("ConfigSnippets")
struct ConfigSnippetTests {
    @Test(arguments: [
        ("", []), ("\n", [""]), ("a", ["a"]), ("a\n", ["a"]), ("a\r\nb\r\n", ["a", "b"]),
        ("a\n\n\tb", ["a", "", "\tb"]),
        ("# caf\u{e9}\n", ["# caf\u{e9}"]),
    ])
    func `lines are taken as they are, however they end`(text: String, lines: [String]) throws {
        #expect(try ConfigSnippet(Array(text.utf8), of: "/f", for: .defaults).lines == lines)
    }

    @Test(
        arguments: [
            ("a\nb\0c", .global, "/f, line 2: it is not text"), ("a\rb", .defaults, "/f, line 1: it is not text"),
            ("tune.bufsize 1\ndescription x", .global, "/f, line 2: 'description' is docker-discover's"),
            ("#\nfrontend x", .global, "/f, line 2: 'frontend' begins a section, which belongs into EXTRA_FILE"),
            ("  listen x", .defaults, "/f, line 1: 'listen' begins a section, which belongs into EXTRA_FILE"),
            ("\n# x\n mode http\nlisten x", .extra, "/f, line 3: 'mode' is in no section"),
            ("listen x\n\nglobal", .extra, "/f, line 3: 'global' is for GLOBAL_FILE"),
            (
                "frontend _x\nuse_backend _y if TRUE\n", .extra,
                "/f, line 2: '_y' is no section of this file, and no service can have that name"
            ),
            (
                "backend _x\nbackend x\nuse-server a if { nbsrv(_x) eq 0 } { avg_queue(a:b,1) gt 0 }\n", .extra,
                "/f, line 3: 'a:b' is no section of this file, and no service can have that name"
            ),
        ] as [(String, ConfigSnippet.Location, String)])
    func `what is no text, or does not belong there, is told with its line`(
        text: String, place: ConfigSnippet.Location, expected: String
    ) {
        let failure = #expect(throws: ConfigSnippet.Failure.self) {
            try ConfigSnippet(Array(text.utf8), of: "/f", for: place)
        }
        #expect(failure?.description == expected)
    }

    @Test(arguments: [
        ("CapInh:\t0\nCapEff:\t0000000000000400\n", "# x\n chroot /srv # y", true),
        ("CapEff:\t0000000000040400\nCapBnd:\t0", "chroot /srv", false),
        ("CapEff:\t0000000000000000", "#chroot /srv\nnbthread 2", false),
        ("CapEff:\t000001ffffffffff", "chroot /srv", false),
    ])
    func `a chroot for which HAProxy has not the right is refused`(status: String, text: String, isRefused: Bool) throws
    {
        let rights = try #require(ProcessCapabilities(status: status))
        var snippets = ConfigSnippets()
        #expect(snippets.missingCapability(of: rights) == nil)
        snippets[.global] = try ConfigSnippet(Array(text.utf8), of: "/f", for: .global)
        let expected = "/f, line 2: HAProxy lacks CAP_SYS_CHROOT, needed by 'chroot'"
        #expect(snippets.missingCapability(of: rights) == (isRefused ? expected : nil))
    }

    @Test func `rights that cannot be read are not known`() {
        #expect(ProcessCapabilities(status: "Name:\tx\nCapEff:\n") == nil)
        #expect(ProcessCapabilities(status: "") == nil)
        #expect(ProcessCapabilities.own != nil)
    }

    @Test func `bytes that are not UTF-8 are no text`() {
        #expect(throws: ConfigSnippet.Failure.wrong(path: "/f", line: 2, why: "it is not text")) {
            try ConfigSnippet([0x61, 0x0a, 0xff], of: "/f", for: .extra)
        }
    }

    @Test func `files that are missing, too large or no files are told`() throws {
        let folder = try ScratchFolder()
        try AtomicFile(path: folder.path + "/large").replace(
            with: [UInt8](repeating: 0x61, count: ConfigSnippet.largest + 1))
        let cases = [("/missing", "there is no file"), ("/large", "cannot read"), ("", "cannot read")]
        for (name, expected) in cases {
            let failure = #expect(throws: ConfigSnippet.Failure.self) {
                try ConfigSnippet(folder.path + name, for: .global)
            }
            #expect(failure?.description.contains(expected) == true, "\(String(describing: failure))")
        }
        #expect(throws: ConfigSnippet.Failure.system(FileError("read", "/dev/zero", code: EFBIG))) {
            try ConfigSnippet("/dev/zero", for: .global)
        }
    }

    @Test func `an addition tells its proxies and where it listens`() throws {
        let snippets = try ConfigSnippets([
            .extra: """
            frontend web # with a comment
                bind *:8080,[::1]:8081 ssl
                bind /run/x.sock
            backend api
            listen\tdb
                bind :5432
            userlist u
            """
        ])
        #expect(snippets.proxies == ["web", "api", "db"])
        #expect(Set(snippets.binds.map(\.description)) == [":8080", "[::1]:8081", ":5432"])
    }

    @Test func `a snippet tells the services that it leads to, and in which mode`() throws {
        let snippets = try ConfigSnippets([
            .defaults: "timeout client 5m\ndefault_backend fallback\n",
            .extra: """
            frontend a
                mode http
                use_backend web if { path / } { nbsrv(api) gt 0 } { srv_queue(db/1) gt 0 } # use_backend none
                use_backend %[path,map(/etc/map)]
                use_backend "$NAME"
                default_backend own
            frontend b
                default_backend mysql
            backend own
            defaults
                mode http
            frontend c
                default_backend later
                http-request set-header X %[queue(api),add(connslots(api))]
            frontend d
                mode tcp
                default_backend web
            """,
        ])
        let expected: [String: ServiceMode] = [
            "fallback": .tcp, "web": .http, "api": .http, "mysql": .tcp, "later": .http,
        ]
        #expect(snippets.services == Dictionary(uniqueKeysWithValues: expected.map { (service($0), $1) }))
    }

    @Test func `a service that a snippet leads to has a section also without an endpoint`() throws {
        var settings = HAProxySettings.sample
        settings.snippets = try ConfigSnippets([
            .extra: "frontend x\n    mode http\n    bind :8080\n    use_backend web\n    default_backend api\n"
        ])
        var plan = RegistryFixture(["web/1": "10.0.0.5:80", "api/1": "10.0.0.5:8080"]).plan(on: settings.host)
        // One has an endpoint, and no port to listen on.
        #expect(plan.emptySections.map(\.service) == [service("api")])
        #expect(plan.diagnostics == [.portOfAddition(service("api"), port(8080))])
        #expect(HAProxyConfiguration(plan, settings).text.contains("\n\nbackend api\n    mode http\n"))
        plan = RegistryFixture(["db/1": "10.0.0.5:81"]).plan(on: settings.host)
        #expect(plan.emptySections.map(\.service.text) == ["api", "web"])
        #expect(plan.diagnostics == [.namedWithoutEndpoint(service("api")), .namedWithoutEndpoint(service("web"))])
        let text = HAProxyConfiguration(plan, settings).text
        #expect(HAProxyConfiguration(text: text)?.sections.keys.map(\.text).sorted() == ["api", "db", "web"])
        let mark = HAProxyConfiguration(plan.with([]), settings).mark
        #expect(mark == HAProxyConfiguration(.empty(on: settings.host), settings).mark)
        #expect(mark != HAProxyConfiguration(.empty, settings).mark)
    }

    @Test func `services make way for what an operator adds`() throws {
        var settings = HAProxySettings.sample
        settings.snippets = try ConfigSnippets([.extra: "listen web\n    bind 127.0.0.1:8080\n"])
        let keys: KeyValuePairs = ["web/1": "10.0.0.5:80", "api/1": "10.0.0.5:8080", "db/1": "10.0.0.5:81"]
        let plan = RegistryFixture(keys).plan(on: settings.host)
        #expect(plan.listeners.map(\.service.text) == ["db"])
        #expect(plan.diagnostics == [.nameOfAddition(service("web")), .portOfAddition(service("api"), port(8080))])
    }

    @Test func `HAProxy's words name the lines of the files that they are in`() throws {
        var settings = HAProxySettings.sample
        settings.snippets = try ConfigSnippets([
            .global: "tune.bufsize 32768\nnonsense", .defaults: "option nonsense\n", .extra: "listen x\n\nnonsense\n",
        ])
        let configuration = HAProxyConfiguration(.empty, settings)
        let lines = configuration.text.split(separator: "\n", omittingEmptySubsequences: false)
        let told = lines.indices.filter { lines[$0].contains("nonsense") }.map { index in
            configuration.explain(
                "parsing [/s/haproxy.cfg.new:\(index + 1)] : unknown [x] 'nonsense'", settings.snippets)
        }
        #expect(
            told == [
                "parsing [/etc/global.cfg:2] : unknown [x] 'nonsense'",
                "parsing [/etc/defaults.cfg:1] : unknown [x] 'nonsense'",
                "parsing [/etc/extra.cfg:3] : unknown [x] 'nonsense'",
            ])
        #expect(configuration.explain("[/s/haproxy.cfg:2] [", settings.snippets) == "[/s/haproxy.cfg:2] [")
    }
}
