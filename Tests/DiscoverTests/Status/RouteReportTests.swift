import Shared
import Testing

@testable import Discover

@Suite("Routes in status and why")
struct RouteReportTests {
    private var fixture: SnapshotFixture {
        var fixture = SnapshotFixture([
            "web/1": "10.0.0.5:8000", "api/1": "10.0.0.6:8001", "db/1": "10.0.0.7:5432",
            "db/config": #"{"mode":"tcp"}"#,
            "a.b/1": "10.0.0.8:8002", "-routes/shop": #"{"host":"shop.com","to":{"web":9,"api":1},"sticky":"cookie"}"#,
            "-routes/api": #"{"host":"shop.com","path":"/api","to":"api","strip":true,"add":"/v1","https":"redirect"}"#,
            "-routes/late": #"{"host":"shop.com","path":"/api/","to":"web"}"#,
            "-routes/none": #"{"host":"none.com","to":"later"}"#,
            "-routes/closed": #"{"host":"closed.com","closed":"x"}"#,
            "-routes/tcp": #"{"host":"db.com","to":"db"}"#, "-routes/bad": #"{"host":"bad.com","to":"x y"}"#,
            "-routes/when": #"{"host":"when.com","when":[{"method":"POST","to":"api"}]}"#,
        ])
        fixture.snapshot.inputs?.host = .routing
        fixture.snapshot.settings.host = .routing
        fixture.runs(["web/1": { $0.status = "DOWN" }])
        return fixture
    }

    @Test func `each route has its state`() throws {
        let routes = try #require(fixture.report.routing).routes
        let states = Dictionary(uniqueKeysWithValues: routes.map { ($0.name, $0.state) })
        #expect(
            states == [
                "shop": .served, "api": .served, "late": .shadowed, "none": .unavailable, "closed": .closed,
                "tcp": .unusable, "bad": .unusable, "when": .served,
            ])
        #expect(routes.first { $0.name == "shop" }?.reasons == ["no endpoint of web gets connections"])
        #expect(routes.first { $0.name == "late" }?.reasons.first?.contains("belongs to route api") == true)
        let text = fixture.report.text
        #expect(text.contains("\nroutes           HTTP at :80\n") && text.contains("api:1,web:9"))
    }

    private func why(_ text: String) -> WhyReport {
        WhyReport(text, in: fixture.report, routes: fixture.snapshot.desired?.routes)
    }

    @Test(arguments: [
        ("https://shop.com/api/x?y=1", 0, "takes route api, by its beginning shop.com/api/."),
        ("shop.com/api", 0, "redirected to HTTPS"), ("shop.com/api", 0, "/v1 is put before the path."),
        ("http://SHOP.com:8080/", 0, "Its shares are api 10.0 %, web 90.0 %; a cookie keeps clients."),
        ("shop.com/x", 0, "Not route api (shop.com/api): its path is another one."),
        ("shop.com/api/x", 0, "Not route late (shop.com/api): another one has its place."),
        ("shop.com/api/x", 0, "Not route shop (shop.com): a host or a path that is nearer decides."),
        ("none.com", 1, "Service later has no endpoint"), ("closed.com", 1, "It is closed"),
        ("db.com", 1, "service db has mode tcp"), ("bad.com", 1, "It is not usable"),
        ("when.com", 0, "Where no condition holds, it is answered 404."), ("nobody.com", 1, "it is answered 404"),
    ])
    func `why tells where a request goes`(question: String, status: Int32, sentence: String) {
        let answer = why(question)
        #expect(answer.status == status, "\(answer.answer)")
        #expect(answer.answer.contains { $0.contains(sentence) }, "\(answer.answer)")
    }

    @Test(arguments: ["10.0.0.6:8001", "a.b", "a.b/1", "web", "web/1"])
    func `what is a service or an endpoint is no request`(question: String) {
        #expect(!why(question).answer.joined().contains("route"), "\(why(question).answer)")
    }

    @Test(arguments: [
        ("Nov 30 04:00:00 2027 GMT", "2027-11-30T04:00:00Z"), ("Jan  1 00:00:00 2030 GMT", "2030-01-01T00:00:00Z"),
        ("soon", nil), ("", nil),
    ])
    func `the end of a certificate is told`(text: String, date: String?) {
        #expect(CertificateDate.text(text) == date)
    }
}
