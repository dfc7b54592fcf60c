import Shared
import Testing

@testable import Discover

/// Registries whose haproxy.cfg is kept beside the tests, in `Golden`: one for each group of options.
struct GoldenCase: Sendable, CustomTestStringConvertible {
    /// The file's name without `.cfg`.
    let name: String
    /// What is put into the registry, in this order.
    let keys: KeyValuePairs<String, String>
    /// The host that it is rendered for.
    var host = HAProxySettings.sample.host
    /// Who may see the stats page.
    var statsUsers: [StatsUser] = []
    /// What an operator adds.
    var snippets = ConfigSnippets()
    /// The certificates for routes.
    var certificates: Set<String> = []
    /// The host's own addresses.
    var ownAddresses: Set<IPAddress> = []

    var testDescription: String { name }

    /// The settings that it is rendered with.
    var settings: HAProxySettings {
        var settings = HAProxySettings.sample
        settings.host = host
        settings.statsUsers = statsUsers
        settings.snippets = snippets
        settings.certificates = Dictionary(uniqueKeysWithValues: certificates.map { ($0, "") })
        return settings
    }

    /// The file.
    var configuration: HAProxyConfiguration {
        var inputs = DesiredInputs(
            registry: RegistryFixture(keys).state, certificates: certificates, host: settings.host)
        inputs.ports.ownAddresses = ownAddresses
        return HAProxyConfiguration(DesiredState(inputs), settings)
    }

    static let all = [
        GoldenCase(name: "no-service", keys: [:]),
        GoldenCase(
            name: "services",
            keys: [
                "whoami/0123456789ab": "10.0.0.5:49153", "whoami/0123456789ab/meta": #"{"port":8000}"#,
                "whoami/ba9876543210": "10.0.0.6:49154", "whoami/ba9876543210/meta": #"{"port":8000}"#,
                "whoami-9000/0123456789ab": "10.0.0.5:49155",
                "whoami-9000/0123456789ab/meta": #"{"port":9000}"#,
                "db/by-hand": "[fd00::5]:5432",
            ]),
        addresses, additions, balance, checks, endpoints, http, limits, logs, near, far, stats, routes, plainRoutes,
        localhost,
    ]

    private static let routes = GoldenCase(
        name: "routes",
        keys: [
            "web-v1/1": "10.0.0.5:8000", "web-v1/config": #"{"access_log":true,"check":"http:/health"}"#,
            "web-v2/1": "10.0.0.6:8000", "web-v2/1/meta": #"{"port":"none"}"#,
            "web-v2/1/config": #"{"weight":5}"#,
            "db/1": "10.0.0.7:5432", "db/config": #"{"mode":"tcp"}"#,
            "blog/1": "10.0.0.8:443",
            "blog/1/meta":
                #"{"route":"blog.example.com/2024, *.blog.example.com","route_strip":true,"route_https":true}"#,
            "-routes/shop": #"{"host":["shop.example.com","*.shop.example.com"],"to":{"web-v1":90,"web-v2":10}}"#,
            "-routes/stay": #"{"host":"stay.example.com","to":{"web-v1":1,"web-v2":1},"sticky":"cookie"}"#,
            "-routes/api": #"""
            {"host":"shop.example.com","path":"/api","to":"api","strip":true,"add":"/v1","https":"redirect",
             "when":[{"header":{"x-canary":"always on"},"cookie":{"beta":"*"},"to":"web-v2"},
                     {"method":["POST","PUT"],"to":"web-v1"}]}
            """#,
            "-routes/login": #"{"host":"shop.example.com","path":"/login","match":"exact","to":"web-v1"}"#,
            "-routes/closed": #"{"host":"*","closed":"Back <soon> & well"}"#,
            "-routes/late": #"{"host":"stay.example.com","to":"web-v1"}"#,
            "-routes/tcp": #"{"host":"db.example.com","to":"db"}"#,
            "-routes/wrong": #"{"host":"wrong.example.com","to":""}"#,
        ],
        host: HostSettings(
            statsBind: BindAddress(port: port(1936)),
            routes: RouteListeners(
                http: BindAddress(port: port(80)), https: BindAddress(port: port(443)),
                trusted: AddressRange.list("10.0.0.0/8,fd00::1") ?? [])),
        certificates: ["example.com"])

    private static let plainRoutes = GoldenCase(
        name: "routes-without-tls", keys: ["web/1": "10.0.0.5:8000"],
        host: HostSettings(
            statsBind: BindAddress(port: port(1936)),
            routes: RouteListeners(
                http: BindAddress(port: port(80)), https: BindAddress(address: IPAddress("::"), port: port(8443)))))

    private static let localhost = GoldenCase(
        name: "localhost",
        keys: [
            "a/1": "10.0.0.5:8000", "b/1": "10.0.0.5:8001",
            "b/config": #"{"listen_address":"127.0.0.1","mode":"http"}"#,
            "c/1": "10.0.0.5:8000", "-ports/a": #"{"port":8000}"#,
            "-ports/c": #"{"port":19002,"instead_of":8000}"#, "d/1": "10.0.0.5:8002",
            "-ports/d": #"{"port":19003,"instead_of":8002}"#,
        ], ownAddresses: [.loopback4, .loopback6])

    private static let addresses = GoldenCase(
        name: "addresses",
        keys: [
            "a/1": "10.0.0.5:1", "a/config": #"{"port":8000,"listen_address":"127.0.0.2"}"#,
            "b/1": "10.0.0.5:1", "b/config": #"{"port":8000,"listen_address":"::1"}"#,
            "c/1": "10.0.0.5:1", "c/config": #"{"port":8001,"listen_address":"::"}"#,
            "d/1": "10.0.0.5:1", "d/config": #"{"port":8002,"listen_address":"0.0.0.0"}"#,
            "e/1": "10.0.0.5:1", "e/1/meta": #"{"port":8003}"#,
        ],
        host: HostSettings(
            statsBind: BindAddress(address: IPAddress("::"), port: port(1936)), listenAddress: IPAddress("127.0.0.1")))

    private static let additions = GoldenCase(
        name: "additions", keys: ["web/1": "10.0.0.5:8000"],
        snippets: {
            var snippets = ConfigSnippets()
            snippets[.global] = ConfigSnippet(path: "/etc/sidekick/global.cfg", lines: ["tune.maxaccept 50"])
            snippets[.defaults] = ConfigSnippet(
                path: "/etc/sidekick/defaults.cfg", lines: ["    timeout client 5m", "", "    option dontlognull"])
            snippets[.extra] = ConfigSnippet(
                path: "/etc/sidekick/extra.cfg",
                lines: ["userlist people", "    user me insecure-password x", "listen mine", "    bind :8001"])
            return snippets
        }())

    private static let balance = GoldenCase(
        name: "balance",
        keys: [
            "a/1": "10.0.0.5:8001", "a/config": #"{"balance":"roundrobin"}"#,
            "b/1": "10.0.0.5:8002", "b/config": #"{"balance":"leastconn"}"#,
            "c/1": "10.0.0.5:8003", "c/config": #"{"balance":"source"}"#,
            "d/1": "10.0.0.5:8004", "d/config": #"{"balance":"uri","mode":"http"}"#,
            "e/1": "10.0.0.5:8005", "e/config": #"{"balance":"random"}"#,
            "f/1": "10.0.0.5:8006", "f/config": #"{"balance":"first"}"#,
        ])

    private static let checks = GoldenCase(
        name: "checks",
        keys: [
            "none/1": "10.0.0.5:8001", "none/config": #"{"check":"none"}"#,
            "plain/1": "10.0.0.5:8002", "plain/config": #"{"check":"http"}"#,
            "full/1": "10.0.0.5:8003",
            "full/config": #"""
            {"check":"http:/health?a=b&c=%20;(d)*","check_host":"web.example:81","check_method":"HEAD",
             "check_status":"200,204,300-399"}
            """#,
            "times/1": "10.0.0.5:8004",
            "times/config": #"""
            {"check_interval":"1m30s","check_fast_interval":"500ms","check_down_interval":"10s","check_timeout":"1500ms",
             "check_rise":3,"check_fall":4}
            """#,
            "quick/1": "10.0.0.5:8005", "quick/config": #"{"check_interval":"100ms"}"#,
            "port/1": "10.0.0.5:8006", "port/1/meta": #"{"check_port":49160}"#, "port/2": "10.0.0.6:8006",
        ])

    private static let endpoints = GoldenCase(
        name: "endpoints",
        keys: [
            "web/1": "10.0.0.5:8000", "web/1/meta": #"{"weight":50,"maxconn":20,"slow_start":"1m"}"#,
            "web/2": "10.0.0.6:8000", "web/2/meta": #"{"backup":true}"#,
            "web/3": "10.0.0.7:8000", "web/3/meta": #"{"proxy_protocol":"v1","weight":0}"#,
            "web/4": "10.0.0.8:8000", "web/4/meta": #"{"proxy_protocol":"v2","check_port":81}"#,
            "web/5": "10.0.0.9:8000", "web/5/meta": #"{"proxy_protocol":"none","weight":256,"slow_start":"0s"}"#,
            "all/1": "10.0.0.5:8001", "all/1/meta": #"{"weight":50,"maxconn":20}"#,
            "all/config": #"{"weight":10,"maxconn":5,"proxy_protocol":"v2","slow_start":"500ms"}"#,
        ])

    private static let http = GoldenCase(
        name: "http",
        keys: [
            "web/1": "10.0.0.5:8000", "web/config": #"{"mode":"http"}"#,
            "rich/1": "10.0.0.5:8001", "rich/2": "10.0.0.6:8001",
            "rich/config": #"""
            {"mode":"http","cookie":"SRV_1","retry_on":"conn-failure,empty-response,503","compression":"gzip",
             "forwarded_for":false}
            """#,
        ])

    private static let limits = GoldenCase(
        name: "limits",
        keys: [
            "web/1": "10.0.0.5:8000",
            "web/config": #"""
            {"timeout_connect":"300ms","timeout_client":"168h","timeout_server":"30s","timeout_queue":"10s","retries":0}
            """#,
        ])

    private static let logs = GoldenCase(
        name: "logs",
        keys: [
            "a/1": "10.0.0.5:8000", "a/config": #"{"access_log":true}"#,
            "b/1": "10.0.0.5:8001", "b/config": #"{"access_log":"yes","mode":"http"}"#,
        ])

    private static let zones: KeyValuePairs = [
        "web/1": "10.0.0.5:8000", "web/1/meta": #"{"zone":"eu-1a"}"#,
        "web/2": "10.0.0.6:8000", "web/2/meta": #"{"zone":"eu-1b"}"#,
        "web/3": "10.0.0.7:8000", "web/4": "10.0.0.8:8000", "web/4/meta": #"{"zone":"eu-1a","backup":true}"#,
        "spare/1": "10.0.0.5:8001", "spare/1/meta": #"{"zone":"eu-1a","backup":true}"#, "spare/2": "10.0.0.6:8001",
        "idle/1": "10.0.0.5:8002", "idle/1/meta": #"{"zone":"eu-1a","weight":0}"#, "idle/2": "10.0.0.6:8002",
        "all/1": "10.0.0.5:8003", "all/1/meta": #"{"zone":"us-1"}"#, "all/config": #"{"zone":"eu-1a"}"#,
    ]

    private static let stats = GoldenCase(
        name: "stats",
        keys: [
            "web/1": "10.0.0.5:8000", "web/config": #"{"mode":"http"}"#,
            "near/1": "10.0.0.5:8001", "near/config": #"{"mode":"http","listen_address":"::1"}"#,
        ],
        host: HostSettings(statsBind: BindAddress(port: port(1936)), name: "consumer-1.example"),
        statsUsers: (try? StatsUser.parse("me:secret\nthe other:it's \"$HOME\" \\#:\n", of: "users")) ?? [])

    private static let near = GoldenCase(
        name: "zone", keys: zones,
        host: HostSettings(statsBind: BindAddress(port: port(1936)), zone: Zone("eu-1a")))

    private static let far = GoldenCase(
        name: "zone-without-endpoints", keys: zones,
        host: HostSettings(statsBind: BindAddress(port: port(1936)), zone: Zone("mars")))
}
