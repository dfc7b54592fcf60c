import Testing

@testable import Shared

@Suite("Default gateway")
struct DefaultGatewayTests {
    @Test func `of several default routes the one with the smallest metric counts`() {
        let table = """
            Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
            eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
            eth1\t00000000\t0100000A\t0003\t0\t0\t10\t00000000\t0\t0\t0
            eth2\t0000000A\t0200000A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
            eth3\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
            nonsense
            """
        #expect(DefaultGateway.v4(table) == IPAddress("10.0.0.1"))
        #expect(DefaultGateway.v4("") == nil)
    }

    @Test func `a link-local IPv6 gateway, which needs its interface, is none`() {
        let zero = String(repeating: "0", count: 32)
        func line(_ gateway: String, metric: String, flags: String = "00000003", length: String = "00") -> String {
            "\(zero) \(length) \(zero) 00 \(gateway) \(metric) 00000001 00000000 \(flags) eth0"
        }
        let global = "20010db8000000000000000000000001"
        let table = [
            line("fe800000000000000000000000000001", metric: "00000001"),
            line(global, metric: "00000400"), line(zero, metric: "00000000", flags: "00000001"),
            line("20010db8000000000000000000000002", metric: "00000001", length: "40"),
        ].joined(separator: "\n")
        #expect(DefaultGateway.v6(table) == IPAddress("2001:db8::1"))
    }
}
