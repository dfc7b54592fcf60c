// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Testing

@testable import Shared

/// Bytes from anybody: nothing may crash, and whatever is taken for the contract's prints back to the same text.
@Suite("Random keys and values")
struct RandomRegistryTests {
    private let keyspace = Keyspace(prefix: "/backends")!

    /// Pieces that come near to the contract, so that chance also passes the first checks.
    private static let pieces: [[UInt8]] =
        [
            "/backends/", "/", "web", "a.b", "0123456789ab", "meta", "config", "port", "10.0.0.5", ":", "80", "[", "]",
            "fd00::5",
            "::ffff:1.2.3.4", "%eth0", "{", "}", "\"port\":", "\"tags\":[", "\"owner\":\"x\"", ",", "null", "\\u0000",
            "-", "+", "0",
            "65536", " ", "\n", "\0", "\u{301}", "\u{e9}", "\u{212a}",
        ].map { Array($0.utf8) } + [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf4, 0x90]]

    private static func bytes(using generator: inout SplitMix) -> [UInt8] {
        if generator.next() % 3 == 0 {
            return (0..<Int(generator.next() % 40)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        }
        var bytes = (0..<Int(generator.next() % 7)).flatMap { _ in
            pieces[Int(generator.next() % UInt64(pieces.count))]
        }
        switch generator.next() % 4 {
        case 0: return Array("/backends/".utf8) + bytes
        case 1:
            let parts = (0..<2 + Int(generator.next() % 2)).map { _ in pieces[Int(generator.next() % 9)] }
            bytes = Array("/backends/".utf8) + parts.joined(separator: [UInt8(ascii: "/")])
            return generator.next() % 4 == 0 ? bytes + pieces[Int(generator.next() % UInt64(pieces.count))] : bytes
        default: return bytes
        }
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `never crash, and print back to the same text where they are understood`(seed: UInt64) {
        var generator = SplitMix(seed: seed)
        var understood = 0
        for _ in 0..<5000 {
            let bytes = Self.bytes(using: &generator)
            if let key = try? keyspace.parse(bytes) {
                understood += 1
                #expect(Array(keyspace.text(of: key).utf8) == bytes)
            }
            _ = Meta(json: bytes)
            _ = ServiceConfig(json: bytes)
            guard let text = String(validating: bytes, as: UTF8.self) else { continue }
            if let name = ServiceName(text) { #expect(Array(name.text.utf8) == bytes) }
            if let id = InstanceID(text) { #expect(Array(id.text.utf8) == bytes) }
            if let port = Port(text: text) { #expect(Array(port.description.utf8) == bytes) }
            if let address = IPAddress(text) { #expect(IPAddress(address.text) == address) }
            if let endpoint = Endpoint(text) { #expect(Endpoint(endpoint.description) == endpoint) }
        }
        #expect(understood > 50)
    }

    @Test(arguments: [5, 6] as [UInt64])
    func `every endpoint that can be made prints to a text that parses to it`(seed: UInt64) throws {
        var generator = SplitMix(seed: seed)
        for _ in 0..<2000 {
            let count = generator.next() % 2 == 0 ? 4 : 16
            let bytes = (0..<count).map { _ in
                generator.next() % 3 == 0 ? 0 : UInt8(truncatingIfNeeded: generator.next())
            }
            let groups = bytes.map { String($0) }.joined(separator: ".")
            let words = stride(from: 0, to: count - 1, by: 2).map {
                String(Int(bytes[$0]) << 8 | Int(bytes[$0 + 1]), radix: 16)
            }
            let address = try #require(IPAddress(count == 4 ? groups : words.joined(separator: ":")))
            #expect(address.bytes == bytes)
            let endpoint = Endpoint(address: address, port: try #require(Port(1 + Int(generator.next() % 65_535))))
            #expect(Endpoint(endpoint.description) == endpoint)
        }
    }
}

/// Random numbers that are the same on each run (https://prng.di.unimi.it/splitmix64.c).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
