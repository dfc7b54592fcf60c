import Shared

/// Certificates for one test, made by `openssl` in a folder of their own.
package final class Certificates: Sendable {
    /// A certificate and its key, in PEM.
    package struct Pair: Sendable {
        /// The certificate's file.
        package let certificate: String
        /// The key's file.
        package let key: String
    }

    /// The authority that signed the others.
    package let authority: Pair
    /// A server's, for 127.0.0.1 and the domain cluster.test.
    ///
    /// It may be used by a client too: etcd's gateway calls its own server with it.
    package let server: Pair
    /// A client's, without a common name, which etcd's gateway would refuse.
    package let client: Pair
    /// An authority that signed nothing.
    package let stranger: Pair

    private let folder: ScratchFolder

    /// What `openssl` could not do, in its own words.
    package struct Failure: Error {
        let lines: [String]
    }

    /// Makes all of them.
    package init() async throws {
        folder = try ScratchFolder()
        let path = folder.path
        authority = try await Self.make("authority", in: path, ["-subj", "/CN=authority"])
        stranger = try await Self.make("stranger", in: path, ["-subj", "/CN=stranger"])
        let signed = ["-CA", authority.certificate, "-CAkey", authority.key]
        server = try await Self.make(
            "server", in: path,
            signed + [
                "-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1,DNS:cluster.test", "-addext",
                "extendedKeyUsage=serverAuth,clientAuth",
            ])
        client = try await Self.make(
            "client", in: path, signed + ["-subj", "/O=sidekick", "-addext", "extendedKeyUsage=clientAuth"])
    }

    /// The flags of etcd that show the server's certificate and ask clients for theirs.
    package var etcdFlags: [String] {
        [
            "--cert-file", server.certificate, "--key-file", server.key, "--trusted-ca-file", authority.certificate,
            "--client-cert-auth",
        ]
    }

    private static func make(_ name: String, in folder: String, _ arguments: [String]) async throws -> Pair {
        let pair = Pair(certificate: "\(folder)/\(name).pem", key: "\(folder)/\(name).key")
        let common = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout",
            pair.key, "-out", pair.certificate,
        ]
        let outcome = try await Program("openssl", common + arguments).run(deadline: .seconds(20))
        guard outcome.isSuccess else { throw Failure(lines: outcome.lines) }
        return pair
    }
}
