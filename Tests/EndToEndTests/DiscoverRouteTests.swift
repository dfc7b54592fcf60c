import FoundationEssentials
import Shared
import TestSupport
import Testing

@Suite(
    "docker-discover's routes", .timeLimit(.minutes(3)),
    .enabled(
        if: canDiscover && RealParts.canRun("openssl", "python3"), "haproxy, etcd, curl, openssl or python3 is missing")
)
struct DiscoverRouteTests {
    @Test func `a route leads to v1, then to v2, then to both by weight, each by one put and without a reload`()
        async throws
    {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["web-v1", "web-v2"])
            try await lab.route(["example": #"{"host":"example.com","to":"web-v1"}"#])
            #expect(await DiscoverLab.routes("example.com", at: port, "200 web-v1"))
            #expect(await DiscoverLab.ask("other.com", at: port).hasPrefix("404 "))
            try await lab.route(["second": #"{"host":"second.com","to":"web-v2"}"#])
            #expect(await DiscoverLab.routes("second.com", at: port, "200 web-v2"))
            #expect(await agent.applies("routes=2"))
            let reloads = agent.log.count(of: "by=\"reload")
            try await lab.route(["example": #"{"host":"example.com","to":"web-v2"}"#])
            #expect(await DiscoverLab.routes("example.com", at: port, "200 web-v2"))
            try await lab.route(["example": #"{"host":"example.com","to":{"web-v1":50,"web-v2":50}}"#])
            #expect(await DiscoverLab.routes("example.com", at: port, "200 web-v1"))
            #expect(await DiscoverLab.routes("example.com", at: port, "200 web-v2"))
            try await lab.etcd.ctl("del", "/backends-routes/example")
            #expect(await eventually { await DiscoverLab.ask("example.com", at: port).hasPrefix("404 ") })
            #expect(agent.log.count(of: "by=\"reload") == reloads)
            #expect(agent.log.count(of: "level=error") == 0)
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `three commands do the same, check before they write, and wait for every client host`() async throws {
        try await withDiscoverLab { lab in
            let (_, port, backends) = try await lab.startRoutes(["web-v1", "web-v2"])
            #expect(
                await eventually {
                    (try? await lab.etcd.ctl("get", "--prefix", "/backends-consumers/"))?.isEmpty == false
                })
            var outcome = try await lab.operate("route", "example", "host=example.com", "to=web-v1", "--wait")
            #expect(outcome.isSuccess && outcome.lines.contains("1 docker-discover confirmed it"), "\(outcome.lines)")
            #expect(await DiscoverLab.ask("example.com", at: port) == "200 web-v1")
            outcome = try await lab.operate("route", "example", "to=web-v2", "--wait")
            #expect(await DiscoverLab.ask("example.com", at: port) == "200 web-v2")
            outcome = try await lab.operate("route", "example", "to=web-v1:90,web-v2:10", "sticky=cookie", "--wait")
            #expect(outcome.isSuccess, "\(outcome.lines)")
            outcome = try await lab.operate("route", "example")
            #expect(
                outcome.lines == [
                    "/backends-routes/example", "  host=example.com", "  sticky=cookie", "  to=web-v1:90,web-v2:10",
                ])
            outcome = try await lab.operate("route", "example", "to=web-v3:x", "hots=a")
            #expect(!outcome.isSuccess && outcome.lines.joined().contains("did you mean host?"), "\(outcome.lines)")
            outcome = try await lab.operate(
                "route", "example", "--unset", "sticky", "when=header:x-canary=always -> web-v2")
            #expect(outcome.isSuccess, "\(outcome.lines)")
            #expect(
                await eventually {
                    await DiscoverLab.ask("example.com", at: port, ["-H", "X-Canary: always"]) == "200 web-v2"
                })
            outcome = try await lab.operate("route")
            #expect(outcome.lines.count == 2 && outcome.lines[1].contains("when='header:x-canary=always -> web-v2'"))
            outcome = try await lab.operate("route", "example", "--delete")
            #expect(outcome.isSuccess)
            #expect(await eventually { await DiscoverLab.ask("example.com", at: port).hasPrefix("404 ") })
            outcome = try await lab.operate("route", "example")
            #expect(!outcome.isSuccess)
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `an operator changes the weight of one endpoint while it runs`() async throws {
        try await withDiscoverLab { lab in
            let agent = try lab.start()
            let (old, canary) = (try DiscoverLab.backend("old"), try DiscoverLab.backend("canary"))
            let port = try FreePort.take()
            try await lab.put([
                "db/port": "\(port)", "db/a": "127.0.0.1:\(old.port)", "db/b": "127.0.0.1:\(canary.port)",
                "db/b/config": #"{"weight":0,"wieght":1,"mode":"http"}"#,
            ])
            #expect(await agent.applies("endpoints=2"))
            #expect(await agent.logs("did you mean weight?"))
            #expect(await agent.logs("mode: is of the service as a whole"))
            for _ in 0..<6 { #expect(await DiscoverLab.get(port) == "old") }
            let reloads = agent.log.count(of: "by=\"reload")
            try await lab.etcd.ctl("del", "/backends/db/b/config")
            #expect(await DiscoverLab.answers(port, "canary"))
            #expect(try await lab.operate("config", "db/b", "weight=50", "--wait").isSuccess)
            #expect(lab.configuration.contains("server b 127.0.0.1:\(canary.port) weight 50"))
            #expect(try await lab.operate("config", "db/a", "weight=0", "--wait").isSuccess)
            for _ in 0..<6 { #expect(await DiscoverLab.get(port) == "canary") }
            #expect(try await !lab.operate("config", "db/a", "mode=http").isSuccess)
            #expect(try await !lab.operate("config", "db", "weight=5000").isSuccess)
            #expect(try await lab.operate("config", "db", "balance=leastconn").isSuccess)
            #expect(await eventually { lab.configuration.contains("balance leastconn") })
            #expect(try await lab.operate("config", "db").lines == ["/backends/db/config", "  balance=leastconn"])
            #expect(try await lab.operate("config", "db", "--unset", "balance").isSuccess)
            #expect(await eventually { !lab.configuration.contains("balance leastconn") })
            #expect(agent.log.count(of: "by=\"reload") <= reloads + 2)
            withExtendedLifetime((old, canary)) {}
        }
    }

    @Test func `labels route, also a service without a port of its own`() async throws {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes([])
            let (web, api) = (
                try DiscoverLab.backend("web"),
                try StubServer { connection in
                    while let request = connection.request() {
                        let path = request.split(separator: " ")[1]
                        connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(path.utf8.count)\r\n\r\n\(path)")
                    }
                }
            )
            try await lab.put([
                "web/1/meta": #"{"port":"none","route":"shop.example.com, *.shop.example.com"}"#,
                "web/1": "127.0.0.1:\(web.port)",
                "api/1/meta": #"{"port":"none","route":"shop.example.com/api","route_strip":true}"#,
                "api/1": "127.0.0.1:\(api.port)",
            ])
            #expect(await DiscoverLab.routes("SHOP.example.com:80", at: port, "200 web"))
            #expect(await DiscoverLab.routes("a.b.shop.example.com.", "/apix", at: port, "200 web"))
            #expect(await DiscoverLab.routes("shop.example.com", "/api/x?y=1", at: port, "200 /x?y=1"))
            #expect(await DiscoverLab.routes("shop.example.com", "/api", at: port, "200 /"))
            #expect(lab.configuration.contains("backend web\n") && !lab.configuration.contains("listen web\n"))
            try await lab.route(["mine": #"{"host":"shop.example.com","closed":"Back <soon>"}"#])
            #expect(await eventually { await DiscoverLab.ask("shop.example.com", at: port).hasPrefix("503 ") })
            #expect(await DiscoverLab.ask("shop.example.com", at: port).contains("Back &lt;soon&gt;"))
            #expect(await agent.logs("route conflict", "service=web", "belongs to route mine"))
            try await lab.etcd.ctl("del", "/backends-routes/mine")
            #expect(await DiscoverLab.routes("shop.example.com", at: port, "200 web"))
            // Without its last endpoint it is still a route, until somebody else says something of the service.
            try await lab.etcd.ctl("del", "--prefix", "/backends/web/")
            #expect(await eventually { await DiscoverLab.ask("shop.example.com", at: port).hasPrefix("503 ") })
            try await lab.put(["web/2/meta": #"{"port":"none"}"#, "web/2": "127.0.0.1:\(web.port)"])
            #expect(await eventually { await DiscoverLab.ask("shop.example.com", at: port).hasPrefix("404 ") })
            withExtendedLifetime((web, api, backends)) {}
        }
    }

    @Test func `a service without endpoints answers 503, its first one needs no reload, and no route is 404`()
        async throws
    {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["web"])
            try await lab.route([
                "a": #"{"host":"a.com","to":"later"}"#, "b": #"{"host":"b.com","to":"web"}"#,
                "c": #"{"host":"c.com","to":"bad one"}"#,
            ])
            #expect(await DiscoverLab.routes("b.com", at: port, "200 web"))
            #expect(await eventually { await DiscoverLab.ask("a.com", at: port).hasPrefix("503 ") })
            #expect(await eventually { await DiscoverLab.ask("c.com", at: port).hasPrefix("503 ") })
            #expect(await agent.logs("route answers 503", "route=c"))
            #expect(await DiscoverLab.ask("d.com", at: port).contains("No route leads here"))
            let reloads = agent.log.count(of: "by=\"reload")
            let later = try DiscoverLab.backend("later")
            try await lab.put(["later/1/meta": #"{"port":"none"}"#, "later/1": "127.0.0.1:\(later.port)"])
            #expect(await DiscoverLab.routes("a.com", at: port, "200 later"))
            try await lab.etcd.ctl("del", "--prefix", "/backends/later/")
            #expect(await eventually { await DiscoverLab.ask("a.com", at: port).hasPrefix("503 ") })
            #expect(agent.log.count(of: "by=\"reload") == reloads)
            withExtendedLifetime((later, backends)) {}
        }
    }

    @Test func `a switch waits for an endpoint that is up, and open connections go on where they are`() async throws {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["v1", "other"])
            let dead = try FreePort.take()
            try await lab.put([
                "v2/1/meta": #"{"port":"none"}"#,
                "v2/config": #"{"check":"http:/","check_interval":"100ms","mode":"http"}"#,
                "v2/1": "127.0.0.1:\(dead)",
            ])
            try await lab.route(["x": #"{"host":"x","to":"v1"}"#, "y": #"{"host":"y","to":"other"}"#])
            #expect(await DiscoverLab.routes("x", at: port, "200 v1"))
            #expect(await DiscoverLab.routes("y", at: port, "200 other"))
            let open = try LongConnection(port: port)
            #expect(open.answers("v1"))
            try await lab.route(["z": #"{"host":"z","to":"v2"}"#])
            #expect(await eventually { await DiscoverLab.ask("z", at: port).hasPrefix("503 ") })
            try await lab.route(["x": #"{"host":"x","to":"v2"}"#])
            #expect(await agent.logs("route waits for its new target", "route=x"))
            #expect(await DiscoverLab.ask("x", at: port) == "200 v1")
            let status = try await lab.command("status").lines
            #expect(status.contains { $0.hasPrefix("x ") && $0.contains("waiting") }, "\(status)")
            #expect(try await lab.operate("route", "x", "path=/", "--wait", "--timeout", "500ms").ending == .exited(2))
            let up = try StubServer(port: dead) { connection in
                while connection.request() != nil { connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv2") }
            }
            #expect(await DiscoverLab.routes("x", at: port, "200 v2"))
            #expect(await agent.logs("problem resolved", "route=x"))
            try await lab.route(["y": #"{"host":"y","to":"nobody","force":true}"#])
            #expect(await eventually { await DiscoverLab.ask("y", at: port).hasPrefix("503 ") })
            withExtendedLifetime((backends, up, open)) {}
        }
    }

    @Test func `nothing hostile reaches a service that its route does not name`() async throws {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["public", "secret", "rest"])
            try await lab.route([
                "a": #"{"host":"shop.example.com","path":"/public","to":"public"}"#,
                "b": #"{"host":"shop.example.com","path":"/secret","match":"exact","to":"secret"}"#,
                "c": #"{"host":"*","to":"rest"}"#,
                "d": #"{"host":"a.com","path":"/x\ndel map /","to":"secret"}"#,
                "e": #"{"host":"a.com;show","to":"secret"}"#, "f f": #"{"host":"f","to":"secret"}"#,
                "g": #"{"host":"g","to":"secret\nlisten x"}"#, "h": String(repeating: "x", count: 100_000),
            ])
            #expect(await DiscoverLab.routes("shop.example.com", "/public/x", at: port, "200 public"))
            #expect(await DiscoverLab.routes("shop.example.com", "/secret", at: port, "200 secret"))
            #expect(await DiscoverLab.routes("q", at: port, "200 rest"))
            let hostile: [(String, String)] = [
                ("GET /secret HTTP/1.1\r\nHost: shop.example.com/public\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET /public/../secret HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET /public/%2e%2E/secret HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET /public/. HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET / HTTP/1.1\r\nHost: *\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET / HTTP/1.1\r\nHost: a|b\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", " 400 "),
                ("GET / HTTP/1.1\r\nHost: a.com\r\nHost: b.com\r\nConnection: close\r\n\r\n", " 400 "),
                (
                    "GET http://shop.example.com/secret HTTP/1.1\r\nHost: other.com\r\nConnection: close\r\n\r\n",
                    " 400 "
                ),
                ("GET /secret HTTP/1.0\r\n\r\n", "rest"),
                ("GET /%2fsecret HTTP/1.1\r\nHost: q\r\nConnection: close\r\n\r\n", "rest"),
                ("GET /secret/ HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", "rest"),
                ("GET /secret%2f HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", "rest"),
                ("GET //secret HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", "rest"),
                ("GET /%73ecret HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", "rest"),
                ("GET /Secret HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", "rest"),
                ("GET /public/x?a=/../b HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", "public"),
                ("OPTIONS * HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n", " 404 "),
            ]
            for (request, answer) in hostile {
                let told = await RawRequest.send(request, to: port)
                #expect(told.contains(answer), "\(request): \(told)")
                #expect(!told.hasSuffix("\nsecret"), "\(request): \(told)")
            }
            // HTTP/1.0 with the key's own mark, which is no part of a path.
            let marked = await RawRequest.send("GET /secret/? HTTP/1.0\r\nHost: shop.example.com\r\n\r\n", to: port)
            #expect(marked.hasSuffix("\nrest"), "\(marked)")
            for key in ["d", "e", "f f", "g", "h"] {
                #expect(await eventually { agent.log.contain("/backends-routes/\(key)") }, "\(key)")
            }
            #expect(!lab.configuration.contains("listen x") && !lab.configuration.contains("del map"))
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `a client's word about itself is replaced, unless its proxy is trusted`() async throws {
        for trusted in [false, true] {
            try await withDiscoverLab { lab in
                let (_, port, _) = try await lab.startRoutes(
                    [], trusted ? ["TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.1"] : [:])
                let echo = try StubServer { connection in
                    while let request = connection.request() {
                        let told = request.split(separator: "\r\n").filter { $0.lowercased().hasPrefix("x-forwarded") }
                            .map { $0.lowercased() }.sorted().joined(separator: " ")
                        connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(told.utf8.count)\r\n\r\n\(told)")
                    }
                }
                try await lab.put([
                    "web/1/meta": #"{"port":"none","route":"a.com"}"#, "web/1": "127.0.0.1:\(echo.port)",
                ])
                #expect(await eventually { await DiscoverLab.ask("a.com", at: port).hasPrefix("200 ") })
                let forged = [
                    "-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: https", "-H",
                    "X-Forwarded-Host: evil.com",
                ]
                let answer = await DiscoverLab.ask("a.com", at: port, forged)
                #expect(
                    answer
                        == (trusted
                            ? "200 x-forwarded-for: 127.0.0.1 x-forwarded-for: 6.6.6.6 x-forwarded-host: evil.com "
                                + "x-forwarded-proto: https"
                            : "200 x-forwarded-for: 127.0.0.1 x-forwarded-host: a.com x-forwarded-proto: http"))
                withExtendedLifetime(echo) {}
            }
        }
    }

    @Test func `why tells which route a request takes, and status, plan and the log name routes`() async throws {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["web", "api"])
            try await lab.put(["web/config": #"{"access_log":true}"#])
            try await lab.route([
                "shop": #"{"host":"shop.example.com","to":{"web":9,"api":1},"https":"redirect"}"#,
                "api": #"{"host":"shop.example.com","path":"/api","to":"api"}"#,
                "plain": #"{"host":"plain.example.com","to":"web"}"#,
            ])
            #expect(await DiscoverLab.routes("shop.example.com", "/api/x", at: port, "200 api"))
            #expect(
                await DiscoverLab.routes("plain.example.com", "/x y?q".replacing(" ", with: "%20"), at: port, "200 web")
            )
            // The service may have got its access log after that request.
            #expect(
                await eventually {
                    _ = await DiscoverLab.ask("plain.example.com", "/x%20y?q", at: port)
                    return agent.log.contain(
                        "msg=\"request\"", "service=web", "route=plain", "host=plain.example.com", "path=/x%20y")
                })
            #expect(await DiscoverLab.ask("shop.example.com", "/a", at: port).hasPrefix("308 "))
            var told = try await lab.command("why", "https://shop.example.com/api/x")
            #expect(
                told.isSuccess
                    && told.lines.first
                        == "shop.example.com/api/x takes route api, by its beginning shop.example.com/api/.",
                "\(told.lines)")
            #expect(told.lines.contains("Not route shop (shop.example.com): a host or a path that is nearer decides."))
            told = try await lab.command("why", "shop.example.com")
            #expect(told.lines.contains("Its shares are api 10.0 %, web 90.0 %."), "\(told.lines)")
            told = try await lab.command("why", "http://nobody.example.com/")
            #expect(told.ending == .exited(1) && told.lines.first?.contains("404") == true)
            let status = try await lab.command("status").lines
            #expect(
                status.contains { $0.hasPrefix("shop ") && $0.contains("api:1,web:9") && $0.hasSuffix("served") },
                "\(status)")
            #expect(status.contains { $0.hasPrefix("routes") && $0.contains("HTTP at 127.0.0.1:\(port)") })
            #expect(try await lab.command("status", "--json").lines.joined().contains("\"routing\""))
            #expect(await eventually { (try? await lab.command("plan"))?.isSuccess == true })
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `a restarted docker-discover goes on with the routes that HAProxy has`() async throws {
        try await withDiscoverLab { lab in
            let (agent, port, backends) = try await lab.startRoutes(["v1", "v2"])
            try await lab.route(["x": #"{"host":"x","to":"v1"}"#, "y": #"{"host":"y","to":{"v1":1,"v2":1}}"#])
            #expect(await DiscoverLab.routes("x", at: port, "200 v1"))
            #expect(await DiscoverLab.routes("y", at: port, "200 v2"))
            try await lab.route(["w": #"{"host":"w","to":"v1"}"#])
            #expect(await DiscoverLab.routes("w", at: port, "200 v1"))
            try await lab.route(["w": #"{"host":"w","to":"nobody"}"#])
            #expect(await agent.logs("route waits for its new target", "route=w"))
            #expect(await eventually { lab.catalog.contains("waitingRoutes") })
            let workers = lab.haproxies().workers
            agent.signal(9)
            _ = try? await agent.stop()
            try await lab.route(["x": #"{"host":"x","to":"v2"}"#])
            #expect(await DiscoverLab.ask("x", at: port) == "200 v1")
            try await lab.etcd.kill()
            let next = try lab.start(["HTTP_BIND": "127.0.0.1:\(port)"])
            #expect(await next.logs("took over the running HAProxy"))
            #expect(await DiscoverLab.ask("x", at: port) == "200 v1")
            try await lab.etcd.start()
            #expect(await DiscoverLab.routes("x", at: port, "200 v2"))
            #expect(next.log.count(of: "by=\"reload") == 0 && lab.haproxies().workers == workers)
            let map = DiscoverLab.text(lab.statePath + "/routes.map") ?? ""
            #expect(map.contains("x/ v2|"))
            #expect(await next.logs("route waits for its new target", "route=w"))
            #expect(await DiscoverLab.ask("w", at: port) == "200 v1")
            withExtendedLifetime(backends) {}
        }
    }

    @Test func `another process at the port is named, and everything else is served`() async throws {
        try await withDiscoverLab { lab in
            let holder = try DiscoverLab.backend("holder")
            let agent = try lab.start(["HTTP_BIND": "127.0.0.1:\(holder.port)"])
            let (port, web) = (try FreePort.take(), try DiscoverLab.backend("web"))
            try await lab.put(["web/port": "\(port)", "web/1": "127.0.0.1:\(web.port)"])
            try await lab.route(["a": #"{"host":"a","to":"web"}"#])
            #expect(await DiscoverLab.answers(port, "web"))
            #expect(await agent.logs("routes not served", "setting=HTTP_BIND", "in use"))
            withExtendedLifetime((web, holder)) {}
        }
    }
}
