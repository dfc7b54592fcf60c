import Shared
import Testing

@Suite("PortClaim")
struct PortClaimTests {
    private func port(_ number: Int) throws -> Port { try #require(Port(number)) }

    @Test func `a claim is written with what it stands in for, and read again`() throws {
        let own = PortClaim(try port(80), for: try port(80))
        #expect(String(decoding: try own.json(), as: UTF8.self) == #"{"port":80}"#)
        #expect(PortClaim(json: try own.json()) == own)
        let other = PortClaim(try port(19000), for: try port(80))
        #expect(String(decoding: try other.json(), as: UTF8.self) == #"{"instead_of":80,"port":19000}"#)
        #expect(PortClaim(json: try other.json()) == other)
    }

    @Test(arguments: ["", "80", "[]", "{}", #"{"port":0}"#, #"{"port":"x"}"#, #"{"port":80,"instead_of":70000}"#])
    func `anything else is none`(text: String) {
        #expect(PortClaim(json: text.utf8) == nil)
    }
}
