import Shared
import Testing

@testable import Discover

@Suite("ResolvedService")
struct ResolvedServiceTests {
    private func resolve(_ keys: KeyValuePairs<String, String>, zone: String? = nil) throws -> ResolvedService {
        let service = try #require(RegistryFixture(keys).catalog.services.first)
        return try #require(ResolvedService(service, zone: zone.flatMap { Zone($0) }))
    }

    @Test func `nothing said means the defaults that are documented`() throws {
        let resolution = try resolve(["web/1": "10.0.0.5:80"])
        #expect(resolution.options == ListenerOptions())
        #expect(resolution.servers.map(\.keywords) == [ServerOptions()])
        #expect(resolution.address == nil)
        #expect(resolution.problems.isEmpty)
        var said = ServiceOptions()
        for field in ServiceOptions.fields where field.defaultText != "none" { _ = field.set(field.defaultText, &said) }
        #expect(said.weight == 100 && said.checkRise == 2 && said.clientTimeout == .seconds(3600))
        #expect(ListenerOptions(said) == ListenerOptions())
    }

    @Test func `the newest instance that says something decides for the service, each field for itself`() throws {
        let resolution = try resolve([
            "web/1": "10.0.0.5:80", "web/1/meta": #"{"mode":"http","balance":"first","retries":1}"#,
            "web/3": "10.0.0.6:80", "web/3/meta": #"{"balance":"random","retries":1}"#,
            "web/2": "10.0.0.7:80", "web/2/meta": #"{"timeout_client":"5s"}"#,
        ])
        #expect(resolution.options.mode == .http)
        #expect(resolution.options[ServiceOptions.balance] == .random)
        #expect(resolution.options[ServiceOptions.retries] == 1)
        #expect(resolution.options[ServiceOptions.clientTimeout] == .seconds(5))
        #expect(
            resolution.problems == [
                .valuesDiffer(service("web"), field: "mode", values: ["tcp (by default)", "http"], chosen: "http"),
                .valuesDiffer(
                    service("web"), field: "balance", values: ["roundrobin (by default)", "first", "random"],
                    chosen: "random"),
                .valuesDiffer(service("web"), field: "retries", values: ["10 (by default)", "1"], chosen: "1"),
                .valuesDiffer(
                    service("web"), field: "timeout_client", values: ["1h (by default)", "5s"], chosen: "5s"),
            ])
    }

    @Test func `a newcomer that changes what others have by default is told, with what they had`() throws {
        let resolution = try resolve([
            "web/1": "10.0.0.5:5432", "web/2": "10.0.0.6:5432", "web/2/meta": #"{"port":25,"check":"http:/x"}"#,
        ])
        #expect(
            resolution.problems.map(\.explanation).sorted() == [
                "instances differ in check: tcp (by default), http:/x; http:/x is used",
                "instances differ in port: 25, 5432; 25 is used",
            ])
        // One that says what is the default changes nothing.
        let same = try resolve(["web/1": "10.0.0.5:80", "web/2": "10.0.0.6:80", "web/2/meta": #"{"mode":"tcp"}"#])
        #expect(same.problems.isEmpty)
    }

    @Test func `an operator decides, and nobody disagrees then`() throws {
        let resolution = try resolve([
            "web/1": "10.0.0.5:80", "web/1/meta": #"{"balance":"first","weight":5}"#,
            "web/2": "10.0.0.6:80", "web/2/meta": #"{"balance":"random","maxconn":7}"#,
            "web/config": #"{"balance":"leastconn","weight":9}"#,
        ])
        #expect(resolution.options[ServiceOptions.balance] == .leastconn)
        #expect(resolution.servers.map(\.keywords.weight) == [9, 9])
        #expect(resolution.servers.map(\.keywords.maxConnections) == [nil, 7])
        #expect(resolution.problems.isEmpty)
    }

    @Test(arguments: [1, 2])
    func `an operator decides, also where all instances say the same`(instances: Int) throws {
        var registry = RegistryFixture(["web/config": #"{"balance":"leastconn"}"#])
        for number in 1...instances {
            registry.put("web/\(number)", "10.0.0.\(number):80")
            registry.put("web/\(number)/meta", #"{"balance":"first","retries":1}"#)
        }
        let service = try #require(registry.catalog.services.first)
        let resolution = try #require(ResolvedService(service, zone: nil))
        #expect(resolution.servers.count == instances)
        #expect(resolution.options[ServiceOptions.balance] == .leastconn)
        #expect(resolution.options[ServiceOptions.retries] == 1)
        #expect(resolution.problems.isEmpty)
    }

    static let misfits: [(said: String, fields: [String])] = [
        (#"{"balance":"uri"}"#, ["balance"]),
        (
            #"{"cookie":"c","compression":"gzip","retry_on":"503","forwarded_for":true}"#,
            [
                "compression", "cookie", "forwarded_for", "retry_on",
            ]
        ),
        (#"{"compression":"none","retry_on":"conn-failure","forwarded_for":false}"#, []),
        (
            #"{"mode":"http","cookie":"c","compression":"gzip","retry_on":"503","forwarded_for":true,"balance":"uri"}"#,
            []
        ),
        (
            #"{"check_host":"a","check_method":"GET","check_status":"200"}"#,
            [
                "check_host", "check_method", "check_status",
            ]
        ),
        (#"{"check":"http","check_host":"a","check_method":"GET","check_status":"200"}"#, []),
        (
            #"{"check":"none","check_interval":"1s","check_rise":1,"check_fall":1,"check_timeout":"1s","check_port":1}"#,
            [
                "check_fall", "check_interval", "check_port", "check_rise", "check_timeout",
            ]
        ),
    ]

    @Test(arguments: misfits)
    func `what does not fit together counts as not said, and is told`(said: String, fields: [String]) throws {
        for key in ["web/1/meta", "web/config"] {
            let keys: KeyValuePairs = ["web/1": "10.0.0.5:80", key: said]
            let resolution = try resolve(keys)
            let told = resolution.problems.compactMap { problem -> String? in
                if case .optionMisfits(_, let field, _) = problem { field } else { nil }
            }
            #expect(told.sorted() == fields)
            #expect(resolution.problems.count == fields.count)
            if fields.contains("balance") { #expect(resolution.options[ServiceOptions.balance] == .roundrobin) }
        }
    }

    @Test func `a port for checks means nothing where instances that differ are not checked`() throws {
        let resolution = try resolve([
            "web/1": "10.0.0.5:80", "web/1/meta": #"{"check":"none","check_port":5}"#, "web/2": "10.0.0.6:80",
        ])
        #expect(
            resolution.problems.map(\.explanation).sorted() == [
                "check_port: there is no check; it counts as not said",
                "instances differ in check: tcp (by default), none; none is used",
            ])
        #expect(resolution.servers.allSatisfy { $0.keywords.check == nil })
    }

    static let zones: [(zone: String?, backups: [String])] = [
        (nil, ["4"]), ("eu", ["2", "3", "4"]), ("us", ["1", "3", "4", "5"]), ("mars", ["4"]),
    ]

    @Test(arguments: zones)
    func `endpoints of the zone come first, and all are equal where it has none`(zone: String?, backups: [String])
        throws
    {
        let resolution = try resolve(
            [
                "web/1": "10.0.0.1:80", "web/1/meta": #"{"zone":"eu"}"#,
                "web/2": "10.0.0.2:80", "web/2/meta": #"{"zone":"us"}"#, "web/3": "10.0.0.3:80",
                "web/4": "10.0.0.4:80", "web/4/meta": #"{"zone":"mars","backup":true}"#,
                "web/5": "10.0.0.5:80", "web/5/meta": #"{"zone":"eu"}"#,
            ], zone: zone)
        #expect(resolution.servers.filter(\.keywords.isBackup).map(\.id.text) == backups)
    }
}
