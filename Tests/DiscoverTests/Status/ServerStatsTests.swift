import Testing

@testable import Discover

@Suite("What HAProxy says of its servers")
struct ServerStatsTests {
    /// The columns in an order of their own, with others between them.
    private static let head = """
        # pxname,svname,qcur,qmax,scur,status,weight,act,bck,lastchg,check_status,check_code,check_duration,last_chk,\
        check_desc,addr,-,new_column,
        """

    private func sights(_ rows: String...) -> [String: [String: ServerStats]]? {
        ServerStats.table(([Self.head] + rows).joined(separator: "\n")[...] + "\n")
    }

    @Test func `a row tells state, address, connections and the last check`() throws {
        let sight = sights("web,1,2,9,3,DOWN 1/2,50,0,1,7,L7STS,404,12,Not Found,Layer7 wrong status,10.0.0.5:80,-,,")?[
            "web"]?["1"]
        #expect(
            sight
                == ServerStats(
                    status: "DOWN 1/2", endpoint: endpoint("10.0.0.5:80"), weight: 50, isBackup: true, connections: 5,
                    age: 7, lastCheck: "L7STS/404 in 12ms: Not Found",
                    checkResult: ServerStats.CheckResult(word: "L7STS", status: 404)))
    }

    @Test(arguments: [
        ("L4OK,,0,,Layer4 check passed", "L4OK in 0ms: Layer4 check passed"),
        ("* L4CON,,,Connection refused,Layer4 connection problem", "L4CON: Connection refused"),
        ("INI,,,,Initializing", nil), (",,,,", nil),
        (#"L7RSP,,4,"a ""b"", c",Layer7 invalid response"#, #"L7RSP in 4ms: a "b", c"#),
        ("L7RSP,,4,\"two\nlines\",x", "L7RSP in 4ms: two\nlines"),
    ])
    func `the last check in words`(columns: String, words: String?) throws {
        let table = try #require(
            sights("web,1,0,0,0,UP,1,1,0,7,\(columns),[fd00::5]:80,-,,", "web,2,0,0,0,no check,1,1,0,7,,,,,,,-,,"))
        #expect(table["web"]?["1"]?.lastCheck == words)
        #expect(table["web"]?["1"]?.endpoint == endpoint("[fd00::5]:80"))
        #expect(table["web"]?["2"]?.status == "no check")
    }

    @Test(arguments: ["", "Unknown command", "# pxname,svname\nweb,1\n"])
    func `what is no such table is told from one without rows`(answer: String) {
        #expect(ServerStats.table(answer[...]) == nil)
        #expect(sights() == [:])
    }

    @Test func `an answer that is cut anywhere is read as far as it goes`() {
        let whole = Self.head + "\nweb,1,0,0,0,UP,1,1,0,7,L7RSP,,4,\"a \"\"b\"\"\n\n\",x,10.0.0.5:80,-,,\n"
        for length in 0...whole.count { _ = ServerStats.table(whole.prefix(length)) }
        #expect(ServerStats.table(whole[...])?["web"]?["1"]?.endpoint != nil)
    }

    @Test func `HAProxy's version and worker stand in front of the table`() {
        let sight = ProxyStats(
            "Name: HAProxy\nVersion: 2.6.12-1\nPid: 12\ndescription: x\n\n\(Self.head)\nweb,1,0,0,0,UP,1,1,0,7,,,,,,10.0.0.5:80,-,,\n\n"
        )
        #expect(sight?.version == "2.6.12-1" && sight?.worker == 12)
        #expect(sight?.servers["web"]?.count == 1)
        #expect(ProxyStats("Permission denied\n") == nil)
    }
}
