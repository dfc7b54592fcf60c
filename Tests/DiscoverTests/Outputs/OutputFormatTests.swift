import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

/// A catalog as tests write it down.
struct CatalogFixture {
    /// The services of a registry, as they are in service.
    static func catalog(
        _ pairs: KeyValuePairs<String, String>, down: [ServiceName: Set<InstanceID>] = [:],
        keys: [String: String] = [:]
    ) -> OutputCatalog {
        var builder = OutputCatalogBuilder()
        return catalog(pairs, down: down, keys: keys, &builder)
    }

    /// The same, with a builder that goes on.
    static func catalog(
        _ pairs: KeyValuePairs<String, String>, down: [ServiceName: Set<InstanceID>] = [:],
        keys: [String: String] = [:], _ builder: inout OutputCatalogBuilder
    ) -> OutputCatalog {
        let registry = RegistryFixture(pairs).state
        let desired = DesiredState(DesiredInputs(registry: registry, host: HAProxySettings.sample.host))
        return OutputCatalog(
            revision: registry.revision, host: "h1", zone: Zone("z1"),
            services: builder.services(of: desired, down: down), keys: keys)
    }

    /// Two services with all that endpoints may say.
    static let pairs: KeyValuePairs = [
        "web/0123456789ab": "10.0.0.11:49153",
        "web/0123456789ab/meta":
            #"{"port":8000,"container":"web-1","image":"team/web:1","host":"b1","tags":["v1","blue"],"zone":"z1"}"#,
        "web/ba9876543210": "[fd00::12]:49154",
        "web/ba9876543210/meta": #"{"port":8000,"weight":50,"tags":["v2"]}"#,
        "web/cccccccccccc": "10.0.0.13:1",
        "web/cccccccccccc/meta": #"{"port":8000,"weight":0}"#,
        "db/db-10.0.0.5-5432": "10.0.0.5:5432",
        "my_db/x": "10.0.0.6:3", "My-App/x": "10.0.0.7:1", "my-app/x": "10.0.0.8:2",
    ]
}

@Suite("The formats of outputs")
struct OutputFormatTests {
    private func text(_ format: OutputFormat, _ catalog: OutputCatalog, after: [UInt8]? = nil) throws -> (
        String, [String]
    ) {
        let text = try format.text(of: catalog, after: after)
        return (String(decoding: text.bytes, as: UTF8.self), text.problems)
    }

    @Test func `json is the catalog, sorted, a line for each service`() throws {
        let catalog = CatalogFixture.catalog(CatalogFixture.pairs, keys: ["/i/b": "2", "/i/a": "1"])
        let (text, _) = try text(.json, catalog)
        let lines = text.split(separator: "\n").map(String.init)
        #expect(
            lines[0]
                == #"{"host":"h1","keys":{"/i/a":"1","/i/b":"2"},"revision":\#(catalog.revision),"routes":[],"services":["#
        )
        #expect(
            lines[2]
                == #"{"endpoints":[{"address":"10.0.0.5","backup":false,"id":"db-10.0.0.5-5432","port":5432,"tags":[],"weight":100}],"mode":"tcp","name":"db","port":5432,"tags":[]},"#
        )
        #expect(
            lines.contains {
                $0.hasPrefix(
                    #"{"endpoints":[{"address":"10.0.0.11","backup":false,"container":"web-1","host":"b1","id":"0123456789ab","image":"team/web:1","port":49153,"tags":["v1","blue"],"weight":100,"zone":"z1"},"#
                )
            })
        #expect(lines.last == #"],"zone":"z1"}"#)
        // It is JSON.
        _ = try JSONDecoder().decode(Anything.self, from: Data(text.utf8))
    }

    private struct Anything: Decodable { var revision: Int }

    @Test func `UDP services are in the formats that can have them, without a port on this host`() throws {
        let catalog = CatalogFixture.catalog([
            "dns/a": "10.0.0.1:5300", "dns-53-udp/a": "10.0.0.1:5301",
            "dns-53-udp/a/meta": #"{"port":53,"protocol":"udp"}"#,
        ])
        #expect(catalog.services.map(\.name.text) == ["dns", "dns-53-udp"])
        let json = try text(.json, catalog).0
        #expect(json.contains(#""mode":"udp","name":"dns-53-udp","port":null,"#))
        #expect(try text(.env, catalog).0.hasSuffix("\nDNS_53_UDP_ENDPOINTS=10.0.0.1:5301\n"))
        #expect(try text(.hosts(domain: nil), catalog).0 == "10.0.0.1 dns\n10.0.0.1 dns-53-udp\n")
        #expect(try !text(.prometheus, catalog).0.contains("5301"))
        let zone = try text(OutputFormat(.zone), catalog).0
        #expect(zone.contains("\n_dns-53-udp._udp SRV 0 100 5301 a.dns-53-udp\n"))
        #expect(zone.contains("\n_dns._tcp SRV 0 100 5300 a.dns\n") && !zone.contains("_dns-53-udp._tcp"))
    }

    @Test func `without an HAProxy nothing leads back to it`() {
        var host = HAProxySettings.sample.host
        let registry = RegistryFixture(["web/a": "127.0.0.1:8000"]).state
        #expect(DesiredState(DesiredInputs(registry: registry, host: host)).listeners.first?.servers == [])
        host.hasHAProxy = false
        let desired = DesiredState(DesiredInputs(registry: registry, host: host))
        var builder = OutputCatalogBuilder()
        #expect(builder.services(of: desired, down: [:]).first?.endpoints.map(\.hostAndPort) == ["127.0.0.1:8000"])
    }

    @Test func `json has the routes that get requests here`() throws {
        let registry = RegistryFixture([
            "web/a": "10.0.0.1:80", "web/a/meta": #"{"route":"web.example.com"}"#,
            "-routes/shop": #"{"host":["a.example.com","b.example.com"],"path":"/x","to":{"web":90,"new":10.5}}"#,
            "-routes/wrong": #"{"host":"c.example.com"}"#,
            "-routes/taken": #"{"host":"b.example.com","path":"/x","to":"web"}"#,
        ])
        var host = HAProxySettings.sample.host
        host.routes = RouteListeners(http: BindAddress(port: port(80)))
        let desired = DesiredState(DesiredInputs(registry: registry.state, host: host))
        var builder = OutputCatalogBuilder()
        let catalog = OutputCatalog(
            services: builder.services(of: desired, down: [:]), routes: builder.routes(of: desired))
        let json = try text(.json, catalog).0
        let shop =
            #"{"hosts":["a.example.com","b.example.com"],"label":false,"match":"prefix","name":"shop","path":"/x","#
            + #""strip":false,"to":{"new":10.5,"web":90},"when":[]}"#
        #expect(json.contains(#""routes":[\#(shop),{"hosts":["web.example.com"],"label":true,"#))
        #expect(!json.contains("taken") && !json.contains("wrong"))
    }

    @Test func `hosts has a line for each address, without endpoints that get no connections`() throws {
        let (text, problems) = try text(
            .hosts(domain: DomainName("example.com")), CatalogFixture.catalog(CatalogFixture.pairs))
        #expect(
            text == """
                10.0.0.7 my-app my-app.example.com
                10.0.0.5 db db.example.com
                10.0.0.11 web web.example.com
                fd00::12 web web.example.com

                """)
        #expect(problems.count == 2)
        #expect(problems.contains { $0.hasPrefix("my_db is left out: a host name has letters") })
        #expect(problems.contains("my-app is left out: its host name is that of My-App"))
    }

    @Test func `env has the port on this host and the endpoints, and of two that fall together the first`() throws {
        let (text, problems) = try text(
            .env,
            CatalogFixture.catalog([
                "web/a": "10.0.0.1:80", "web/b": "10.0.0.2:80", "9p/a": "[fd00::1]:564",
                "a-b/a": "10.0.0.3:81", "a.b/a": "10.0.0.4:82",
            ]))
        #expect(
            text == """
                _9P_PORT=564
                _9P_ENDPOINTS=[fd00::1]:564
                A_B_PORT=81
                A_B_ENDPOINTS=10.0.0.3:81
                WEB_PORT=80
                WEB_ENDPOINTS=10.0.0.1:80,10.0.0.2:80

                """)
        #expect(problems == ["a.b is left out: A_B_PORT is already the variable of a-b"])
    }

    @Test func `prometheus has a group for each endpoint, also of weight 0`() throws {
        let (text, _) = try text(.prometheus, CatalogFixture.catalog(CatalogFixture.pairs))
        #expect(text.hasPrefix("[\n{") && text.hasSuffix("}\n]\n"))
        #expect(
            text.contains(
                #"{"labels":{"__meta_sidekick_container":"web-1","__meta_sidekick_host":"b1","__meta_sidekick_id":"0123456789ab","__meta_sidekick_image":"team/web:1","__meta_sidekick_service":"web","__meta_sidekick_tags":",v1,blue,","__meta_sidekick_zone":"z1"},"targets":["10.0.0.11:49153"]}"#
            ))
        #expect(text.contains(#""targets":["[fd00::12]:49154"]"#) && text.contains(#""targets":["10.0.0.13:1"]"#))
    }

    @Test func `a zone has addresses and services by name, tag, and endpoint`() throws {
        let (text, problems) = try text(OutputFormat(.zone), CatalogFixture.catalog(CatalogFixture.pairs))
        let lines = text.split(separator: "\n").map(String.init)
        #expect(lines[0] == "$ORIGIN sidekick." && lines[1] == "$TTL 5")
        #expect(lines[2].hasPrefix("@ SOA localhost. hostmaster.localhost. ") && lines[3] == "@ NS localhost.")
        let wanted = [
            "web A 10.0.0.11", "web AAAA fd00::12", "v1.web A 10.0.0.11", "v2.web AAAA fd00::12",
            "0123456789ab.web A 10.0.0.11", "web SRV 0 100 49153 0123456789ab.web",
            "_web._tcp SRV 0 50 49154 ba9876543210.web", "v2.web SRV 0 50 49154 ba9876543210.web",
            "_web._v1 SRV 0 100 49153 0123456789ab.web", "db-10-0-0-5-5432.db A 10.0.0.5",
            "db SRV 0 100 5432 db-10-0-0-5-5432.db",
        ]
        for line in wanted { #expect(lines.contains(line), "\(line) in \(text)") }
        #expect(!text.contains("10.0.0.13") && !text.contains("my_db") && !text.contains("10.0.0.8"))
        #expect(problems.count == 2)
    }

    @Test func `a zone's serial grows where something changed, and only there`() throws {
        let zone = OutputFormat(.zone)
        let first = try zone.text(of: CatalogFixture.catalog(["web/a": "10.0.0.1:80"]), after: nil).bytes
        let same = try zone.text(of: CatalogFixture.catalog(["web/a": "10.0.0.1:80"]), after: first).bytes
        #expect(same == first)
        let second = try zone.text(of: CatalogFixture.catalog(["web/a": "10.0.0.2:80"]), after: first).bytes
        let third = try zone.text(of: CatalogFixture.catalog(["web/a": "10.0.0.3:80"]), after: second).bytes
        let serials = try [first, second, third].map { bytes in
            let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n")[2]
            return try #require(UInt32(line.split(separator: " ")[4]))
        }
        #expect(serials[0] < serials[1] && serials[1] < serials[2])
    }

    @Test func `backups are answered with only where there is nothing else`() throws {
        let backup = #"{"backup":true}"#
        let both = CatalogFixture.catalog([
            "web/a": "10.0.0.1:80", "web/b": "10.0.0.2:80", "web/b/meta": backup,
        ])
        #expect(try text(.hosts(domain: nil), both).0 == "10.0.0.1 web\n")
        let one = CatalogFixture.catalog(["web/b": "10.0.0.2:80", "web/b/meta": backup])
        #expect(try text(.hosts(domain: nil), one).0 == "10.0.0.2 web\n")
    }

    @Test func `what is down is not in the catalog, and what did not change is not put together again`() throws {
        var builder = OutputCatalogBuilder()
        let pairs: KeyValuePairs = ["web/a": "10.0.0.1:80", "web/b": "10.0.0.2:80"]
        let before = CatalogFixture.catalog(pairs, &builder)
        let web = try #require(ServiceName("web"))
        let down = CatalogFixture.catalog(pairs, down: [web: [try #require(InstanceID("a"))]], &builder)
        #expect(before.services[0].endpoints.map(\.id) == ["a", "b"])
        #expect(down.services[0].endpoints.map(\.id) == ["b"])
        #expect(!before.saysTheSame(as: down))
        var later = before
        later.revision += 1
        #expect(before.saysTheSame(as: later))
    }
}
