import Testing

@testable import Shared

@Suite("Route")
struct RouteTests {
    private func route(_ json: String) throws -> Route { try #require(Route(json: Array(json.utf8))) }

    @Test func `everything can be said`() throws {
        let route = try route(
            #"""
            {"host":["Shop.Example.com","*.shop.example.com"],"path":"/api/","match":"prefix",
             "to":{"web-v1":90,"web-v2":10.5},"sticky":"cookie",
             "when":[{"header":{"X-Canary":"always on","x-b":"*"},"to":"web-v2"},{"method":["put","POST"],"to":"w"}],
             "strip":true,"add":"/base/","https":"redirect","closed":"Back at 14:00 für alle","force":"yes","confirm":true}
            """#)
        #expect(route.problems == [] && !route.isUnusable)
        #expect(route.hosts.map(\.text) == ["shop.example.com", "*.shop.example.com"])
        #expect(route.path.description == "/api" && route.match == .prefix)
        #expect(route.to?.description == "web-v1:90,web-v2:10.5")
        #expect(route.isSticky && route.strips && route.redirectsToHTTPS && route.isForced && route.asksConfirmation)
        #expect(
            route.when.map { "\($0.condition) -> \($0.to)" } == [
                "header:x-b=* header:x-canary=always on -> web-v2", "method:POST,PUT -> w",
            ])
        #expect(route.add?.description == "/base" && route.closed == "Back at 14:00 für alle")
        #expect(Set(route.services.map(\.text)) == ["web-v1", "web-v2", "w"])
    }

    @Test func `little is enough`() throws {
        let route = try route(#"{"host":"*","to":"web"}"#)
        #expect(route.problems == [] && route.path == .root && route.match == .prefix && route.to?.only?.text == "web")
        #expect(try self.route(#"{"host":"a","closed":"x"}"#).problems == [])
        #expect(try self.route(#"{"host":"a","when":[{"cookie":{"beta":"*"},"to":"b"}]}"#).problems == [])
    }

    @Test(
        arguments: [
            (#"{"to":"web"}"#, "host: missing"), (#"{"host":"a b","to":"web"}"#, "host: not"),
            (#"{"host":"a..b","to":"w"}"#, "host: not"), (#"{"host":"a/b","to":"w"}"#, "host: not"),
            (#"{"host":"*.","to":"w"}"#, "host: not"), (#"{"host":"a.*","to":"w"}"#, "host: not"),
            (#"{"host":"**","to":"w"}"#, "host: not"), (#"{"host":"a:80","to":"w"}"#, "host: not"),
            (#"{"host":"ä.de","to":"w"}"#, "host: not"), (#"{"host":[],"to":"w"}"#, "host: not"),
            (#"{"host":["a",1],"to":"w"}"#, "host: not"), (#"{"host":"a\nb","to":"w"}"#, "host: not"),
            (#"{"host":"a"}"#, "to: missing"), (#"{"host":"a","to":"a b"}"#, "to: not"),
            (#"{"host":"a","to":{"w":-1}}"#, "to: not"), (#"{"host":"a","to":{"w":0}}"#, "to: not"),
            (#"{"host":"a","to":{"w":1e3}}"#, "to: not"), (#"{"host":"a","to":{"w":"90"}}"#, "to: not"),
            (#"{"host":"a","to":{"w":1,"w":2}}"#, "to: not"), (#"{"host":"a","to":["w"]}"#, "to: not"),
            (#"{"host":"a","to":{"w":0.0001}}"#, "to: not"), (#"{"host":"a","to":{}}"#, "to: not"),
            (#"{"host":"a","path":"api","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a b","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a?b","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"//a","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a/../b","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/%2E%2e/b","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a;b","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a|b","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a%2","to":"w"}"#, "path: not"),
            (#"{"host":"a","path":"/a\n","to":"w"}"#, "path: not"),
            (#"{"host":"a","match":"regex","to":"w"}"#, "match: not"),
            (#"{"host":"a","when":{},"to":"w"}"#, "when: not"),
            (#"{"host":"a","when":[{"to":"w"}],"to":"w"}"#, "when: not"),
            (#"{"host":"a","when":[{"header":{"x":"y"}}],"to":"w"}"#, "when.to"),
            (#"{"host":"a","when":[{"header":{"x y":"y"},"to":"w"}],"to":"w"}"#, "when.header"),
            (#"{"host":"a","when":[{"header":{"x":"a'b"},"to":"w"}],"to":"w"}"#, "when.header"),
            (#"{"host":"a","when":[{"header":{"x":"}"},"to":"w"}],"to":"w"}"#, "when.header"),
            (#"{"host":"a","when":[{"method":"FOO","to":"w"}],"to":"w"}"#, "when.method"),
            (#"{"host":"a","when":[{"headers":{"x":"y"},"to":"w"}],"to":"w"}"#, "did you mean header?"),
        ])
    func `what decides of requests has to be right`(json: String, problem: String) throws {
        let route = try route(json)
        #expect(route.problems.contains { $0.contains(problem) }, "\(route.problems)")
        #expect(route.isUnusable || route.hosts.isEmpty)
    }

    @Test(arguments: [
        (#"{"host":"a","to":"w","sticky":"cookie"}"#, "sticky: goes with weights"),
        (#"{"host":"a","to":"w","sticky":"ip"}"#, "sticky: not cookie"),
        (#"{"host":"a","to":"w","strip":"maybe"}"#, "strip: not true or false"),
        (#"{"host":"a","to":"w","strip":true,"path":"/1/2/3/4/5"}"#, "strip: goes with"),
        (#"{"host":"a","to":"w","add":"base"}"#, "add: not"), (#"{"host":"a","to":"w","https":"no"}"#, "https: not"),
        (#"{"host":"a","to":"w","closed":""}"#, "closed: not"),
        (#"{"host":"a","to":"w","closed":"a\nb"}"#, "closed: not"),
        (#"{"host":"a","to":"w","hots":"b"}"#, "hots: there is no such field; did you mean host?"),
        (#"{"host":"a","to":"w","sticki":"b"}"#, "did you mean sticky?"),
    ])
    func `any other wrong field counts as absent and is named`(json: String, problem: String) throws {
        let route = try route(json)
        #expect(route.problems.count == 1 && route.problems[0].contains(problem), "\(route.problems)")
        #expect(!route.isUnusable && route.to?.only?.text == "w")
        #expect(!route.isSticky && !route.strips && route.add == nil && route.closed == nil)
    }

    @Test(arguments: ["", "[]", "1", "{", #"{"host":}"#, "\u{0}", "\"a\""])
    func `what is no object is none`(json: String) {
        #expect(Route(json: Array(json.utf8)) == nil)
    }

    @Test func `a share that has become the whole keeps its cookie without a complaint`() throws {
        let route = try route(#"{"host":"a","to":{"v1":0,"v2":100},"sticky":"cookie"}"#)
        #expect(route.problems == [] && !route.isSticky && route.to?.only?.text == "v2")
    }

    @Test(arguments: [
        ("shop.example.com", ["shop.example.com"]), ("a/api, *.b", ["a/api", "*.b"]), ("A.B/x/", ["a.b/x"]),
        ("*", ["*"]), ("a,a", ["a"]),
    ])
    func `labels name hosts and paths`(text: String, places: [String]) throws {
        #expect(try #require(RoutePlaces(text)).places.map(\.description) == places)
    }

    @Test(arguments: ["", ",", "a,", "/api", "a b/", "a//b", "a/../b", "http://a", "a:80", "a/b?c"])
    func `other labels are refused`(text: String) {
        #expect(RoutePlaces(text) == nil)
    }

    @Test
    func `the fields of a config that there are not are named, and those of a service do not go with an endpoint`()
        throws
    {
        let json = Array(#"{"wieght":5,"weight":7,"mode":"http","confirm":true}"#.utf8)
        let config = try #require(ServiceConfig(json: json))
        #expect(config.problems == [])
        #expect(UnknownFields.ofConfig(json) == ["wieght: there is no such field; did you mean weight?"])
        #expect(config.asksConfirmation && config.options.weight == 7 && config.options.mode == .http)
        let own = config.ofEndpoint
        #expect(own.options.weight == 7 && own.options.mode == nil)
        #expect(own.problems.contains { $0.hasPrefix("mode: is of the service as a whole") })
    }

    @Test func `a service may have no port, and say so in JSON`() throws {
        var meta = Meta()
        #expect(ServiceOptions.field("port")?.set("None", &meta.options) == true)
        let json = try meta.json()
        #expect(String(decoding: json, as: UTF8.self) == #"{"port":"none"}"#)
        #expect(Meta(json: json)?.options.hasNoPort == true)
        #expect(ServiceOptions.field("port")?.set("80", &meta.options) == true && meta.options.hasNoPort == nil)
    }

    @Test(arguments: ["10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0"])
    func `ranges of addresses are read and written`(text: String) {
        #expect(AddressRange(text)?.description == text)
    }

    @Test(arguments: ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/", "a/8", "::/129", "10.0.0.0/8/8"])
    func `other ranges are refused`(text: String) {
        #expect(AddressRange(text) == nil)
    }
}
