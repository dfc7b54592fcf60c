import FoundationEssentials
import Testing

@testable import Shared

@Suite("Port, address and endpoint")
struct EndpointTests {
    // MARK: Port

    @Test(arguments: [1, 80, 8000, 65_535])
    func `1 to 65535 in plain digits is a port`(number: Int) throws {
        let port = try #require(Port(number))
        #expect(Int(port.number) == number)
        #expect(Port(text: "\(number)") == port)
        #expect(port.description == "\(number)")
        #expect(try JSONDecoder().decode(Port.self, from: JSONEncoder().encode(port)) == port)
    }

    @Test(arguments: [Int.min, -1, 0, 65_536, Int.max])
    func `no other number is`(number: Int) {
        #expect(Port(number) == nil)
        #expect(Port(text: "\(number)") == nil)
    }

    @Test(
        arguments: BadInput.everywhere + [
            "080", "00", "+80", "-80", " 80", "80 ", "80\n", "80\0", "8 0", "0x50", "80.0", "8e1", "99999", "100000",
            "\u{668}\u{660}",
            "8\u{301}0",
        ])
    func `no other text is`(text: String) {
        #expect(Port(text: text) == nil)
    }

    @Test func `a number outside of the range or of another kind is no port in JSON`() {
        for json in ["0", "65536", "-1", "80.5", "1e9", "\"80\"", "null", "true", "[80]", "99999999999999999999"] {
            #expect(throws: (any Error).self) { try JSONDecoder().decode(Port.self, from: Data(json.utf8)) }
        }
    }

    // MARK: Address

    @Test(arguments: [
        ("1.2.3.4", "1.2.3.4"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
        ("::", "::"), ("::1", "::1"), ("FD00::5", "fd00::5"), ("fd00:0:0:0:0:0:0:5", "fd00::5"),
        ("fd00:0000::0005", "fd00::5"), ("::ffff:1.2.3.4", "::ffff:1.2.3.4"), ("::FFFF:102:304", "::ffff:1.2.3.4"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
    ])
    func `addresses have one canonical text`(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.text == canonical)
        #expect(IPAddress(address.text) == address)
        #expect((address.family == .v6) == text.contains(":"))
    }

    @Test(
        arguments: BadInput.everywhere + [
            "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\n", "1.2.3.4\0",
            "1.2.3.4/8",
            "0x1.2.3.4", "1.2.3.-4", "16909060", "localhost", "[::1]", "fe80::1%eth0", "::1%1", ":::", "1::2::3",
            "12345::", "::g",
            "::ffff:1.2.3", "::ffff:01.2.3.4", "::1\0", "1.2.3.4%0", "1:2:3:4:5:6:7:8:9",
        ])
    func `names, zones, brackets, leading zeros and everything else are no addresses`(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("127.0.0.1", "loopback"), ("127.255.0.9", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"), ("::", "unspecified"), ("::ffff:0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"), ("ff02::1", "multicast"),
        ("::ffff:224.0.0.1", "multicast"), ("169.254.0.1", "link-local"), ("::ffff:169.254.9.9", "link-local"),
        ("fe80::1", "link-local"), ("febf::1", "link-local"), ("fec0::1", ""), ("169.255.0.1", ""),
        ("10.0.0.1", ""), ("128.0.0.1", ""), ("fd00::1", ""), ("::2", ""), ("::ffff:10.0.0.1", ""), ("240.0.0.1", ""),
    ])
    func `addresses that are no host's are told, also mapped into IPv6`(text: String, kind: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.isLoopback == (kind == "loopback"))
        #expect(address.isUnspecified == (kind == "unspecified"))
        #expect(address.isMulticast == (kind == "multicast"))
        #expect(address.isLinkLocal == (kind == "link-local"))
    }

    @Test(arguments: [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("fd00::1", "fd00::1")])
    func `an address is what its bytes say, and its mapped form is the same`(text: String, unmapped: String) throws {
        let address = try #require(IPAddress(text))
        #expect(IPAddress(bytes: address.bytes) == address)
        #expect(address.unmapped == IPAddress(unmapped))
        #expect(IPAddress(bytes: Array(address.bytes.dropLast())) == nil)
    }

    @Test func `addresses are ordered by family and value, not by text`() {
        let texts = ["9.0.0.0", "10.0.0.0", "10.0.0.2", "10.0.0.10", "::", "fd00::5", "fd00::10"]
        #expect(texts.shuffled().compactMap { IPAddress($0) }.sorted().map(\.text) == texts)
    }

    // MARK: Endpoint

    @Test(arguments: ["1.2.3.4:80", "10.0.0.5:65535", "[fd00::5]:80", "[::ffff:1.2.3.4]:49153", "[::1]:1"])
    func `an endpoint prints as it was`(text: String) {
        #expect(Endpoint(text)?.description == text)
    }

    @Test func `an endpoint that is not canonical is the same as the one that is`() {
        #expect(Endpoint("[FD00:0::0005]:80") == Endpoint("[fd00::5]:80"))
        #expect(Endpoint("[FD00:0::0005]:80")?.description == "[fd00::5]:80")
        let longest = "[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535"
        #expect(Endpoint(longest)?.description == "[::ffff:255.255.255.255]:65535")
    }

    @Test(
        arguments: BadInput.everywhere + [
            "1.2.3.4", ":80", "1.2.3.4:", "1.2.3.4:99999", "1.2.3.4:0", "1.2.3.4:080", "1.2.3.4:+80", "01.2.3.4:80",
            "1.2.3:80",
            "host:80", "localhost:80", "1.2.3.4:80\n", "\n1.2.3.4:80", "1.2.3.4:80\0", "1.2.3.4\0:80", " 1.2.3.4:80",
            "1.2.3.4 :80",
            "1.2.3.4: 80", "1.2.3.4:80 ", "1.2.3.4:80:80", "1.2.3.4:80,1.2.3.5:80", "[1.2.3.4]:80", "fd00::5",
            "fd00::5:80",
            "[fd00::5]", "[fd00::5]80", "[fd00::5:80", "fd00::5]:80", "[[fd00::5]]:80", "[fe80::1%eth0]:80", "[]:80",
            "[:80",
            "http://1.2.3.4:80", "1.2.3.4:80/", "1.2.3.4:http", #"{"ip":"1.2.3.4"}"#,
            "1.2.3.4:80\u{301}", "1.2.3.4\u{301}:80", "1.2.3.4:\u{301}80", "1.2.3.4\u{ff1a}80",
            "[\u{301}fd00::5]:80", "[fd00::5\u{600}]:80", "[\u{200d}fd00::5]:80", "[fd00::5]\u{301}:80",
        ])
    func `no other text is an endpoint`(text: String) {
        #expect(Endpoint(text) == nil)
    }

    @Test func `a megabyte is neither port nor address nor endpoint`() {
        #expect(BadInput.huge.compactMap { Port(text: $0) } == [])
        #expect(BadInput.huge.compactMap { IPAddress($0) } == [])
        #expect(BadInput.huge.compactMap { Endpoint($0) } == [])
    }
}
