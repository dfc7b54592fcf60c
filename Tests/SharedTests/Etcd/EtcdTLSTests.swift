import TestSupport
import Testing

@testable import Shared

@Suite(
    "etcd over TLS", .enabled(if: RealParts.canRun("etcd", "openssl"), "needs etcd and openssl"),
    .timeLimit(.minutes(1)))
struct EtcdTLSTests {
    private static let limit = Duration.seconds(15)
    private let certificates: Certificates
    private let server: EtcdServer
    private let http: HTTPClient

    init() async throws {
        certificates = try await Certificates()
        server = try await EtcdServer(certificates.etcdFlags, isSecure: true)
        http = try #require(HTTPClient())
    }

    private var base: String { "https://127.0.0.1:\(server.port)" }

    private func client(authority: Certificates.Pair, _ own: Certificates.Pair?) -> Etcd.Client {
        let tls = HTTPOrigin.TLS(authorities: authority.certificate, certificate: own?.certificate, key: own?.key)
        return Etcd.Client(http, Etcd.Configuration(endpoints: [.tcp(base, tls: tls)]))
    }

    private func read(_ etcd: Etcd.Client) async throws -> Etcd.RangeResult {
        try await etcd.range(prefix: "/b/", deadline: Self.limit)
    }

    @Test func `with the right authority and a certificate of our own everything works, also a watch`() async throws {
        let etcd = client(authority: certificates.authority, certificates.client)
        let now = try await read(etcd)
        let watch = etcd.watch(prefix: "/b/", after: now.revision, of: now.clusterID)
        var reader = watch.makeAsyncIterator()
        #expect(try await reader.next() == Etcd.Changes(revision: now.revision, events: []))
        let lease = try await etcd.grantLease(ttl: 60, deadline: Self.limit)
        // The stream stays open while other calls go beside it.
        #expect(try await etcd.keepAlive(lease: lease.id, deadline: Self.limit))
        let put = Etcd.Transaction([.put(key: "/b/x", value: Array("1".utf8), lease: lease.id)])
        let revision = try await etcd.commit(put, deadline: Self.limit).revision
        let changes = try #require(try await reader.next())
        #expect(changes.revision == revision)
        #expect(changes.events.map(\.key) == [Array("/b/x".utf8)])
    }

    @Test func `a server that another authority signed is refused by name`() async throws {
        let etcd = client(authority: certificates.stranger, certificates.client)
        await #expect {
            _ = try await read(etcd)
        } throws: { error in
            guard case HTTPError.insecure(let server, _)? = error as? HTTPError else { return false }
            return server == base && "\(error)".contains("certificate")
        }
    }

    @Test func `without a certificate of our own the error names the server and TLS`() async throws {
        let etcd = client(authority: certificates.authority, nil)
        // The server may also close the connection before its alert is read.
        let isTold = await eventually {
            do {
                _ = try await read(etcd)
            } catch {
                #expect("\(error)".contains(base))
                if case HTTPError.insecure(base, _)? = error as? HTTPError { return "\(error)".contains("certificate") }
            }
            return false
        }
        #expect(isTold)
    }

    @Test func `files that hold no certificate are told as such`() async throws {
        for wrong in [
            HTTPOrigin.TLS(authorities: certificates.client.key),
            HTTPOrigin.TLS(authorities: certificates.authority.certificate, certificate: "/dev/null", key: "/dev/null"),
            HTTPOrigin.TLS(authorities: "\(certificates.client.key).gone"),
        ] {
            let etcd = Etcd.Client(http, Etcd.Configuration(endpoints: [.tcp(base, tls: wrong)]))
            await #expect {
                _ = try await read(etcd)
            } throws: {
                if case HTTPError.insecure(base, _)? = $0 as? HTTPError { true } else { false }
            }
        }
    }

    @Test func `a certificate of our own that another authority signed is named with its setting`() async throws {
        let etcd = client(authority: certificates.authority, certificates.stranger)
        let isTold = await eventually {
            do {
                _ = try await read(etcd)
                return false
            } catch {
                #expect(!"\(error)".contains("getpeername"))
                return "\(error)".contains("ETCD_CERT")
            }
        }
        #expect(isTold)
    }

    @Test func `plain HTTP to a server with TLS names the server`() async throws {
        let plain = "http://127.0.0.1:\(server.port)"
        let etcd = Etcd.Client(http, Etcd.Configuration(endpoints: [.tcp(plain)]))
        await #expect {
            _ = try await read(etcd)
        } throws: { error in
            "\(error)".contains(plain) && "\(error)".contains("https://")
        }
    }
}
