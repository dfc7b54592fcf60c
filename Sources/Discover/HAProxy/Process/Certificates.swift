import FoundationEssentials
import Shared

/// The certificates in the folder of `CERTIFICATES`, each with its key in one text.
///
/// | what | where it comes from |
/// |---|---|
/// | `NAME.pem` with certificate and key | HAProxy's own form |
/// | `NAME.crt` and `NAME.key` | lego |
/// | a folder `NAME` with `fullchain.pem` and `privkey.pem` | certbot's `live` |
struct CertificateFolder: Equatable, Sendable {
    /// The texts by name.
    private(set) var texts: [String: [UInt8]] = [:]
    /// Why files cannot be read, by name; nothing is known of them then.
    private(set) var failures: [String: String] = [:]
    /// Why the folder cannot be read; nil where it can.
    private(set) var failure: String?

    /// The largest file, in bytes.
    private static let largest = 1 << 18
    /// The most certificates.
    private static let most = 10_000

    /// Makes an empty one.
    init() {}

    /// Reads a folder.
    init(_ path: String) {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: path)
        } catch {
            failure = "the folder cannot be read: \(path)"
            return
        }
        let known = Set(names)
        for name in names.sorted().prefix(Self.most) where name.first != "." {
            if let (stem, files) = Self.files(name, in: path, known) { read(stem, files) }
        }
    }

    /// The files that make a certificate; nil for what is none.
    private static func files(_ name: String, in folder: String, _ known: Set<String>) -> (String, [String])? {
        for (ending, keyEnding) in [(".pem", nil), (".crt", ".key")] as [(String, String?)] where name.hasSuffix(ending)
        {
            let stem = String(name.dropLast(ending.count))
            guard let keyEnding else { return (stem, ["\(folder)/\(name)"]) }
            guard known.contains(stem + keyEnding) else { return nil }
            return (stem, ["\(folder)/\(name)", "\(folder)/\(stem)\(keyEnding)"])
        }
        let pair = ["\(folder)/\(name)/fullchain.pem", "\(folder)/\(name)/privkey.pem"]
        return pair.allSatisfy { !Folder.isMissing($0) } ? (name, pair) : nil
    }

    private mutating func read(_ name: String, _ paths: [String]) {
        guard InstanceID(name) != nil || ServiceName(name) != nil || name.hasPrefix("_"),
            name.utf8.allSatisfy({ NameGrammar.isLetterOrDigit($0) || "._-".utf8.contains($0) })
        else {
            failures[name] = "the name has other characters than letters, digits, '.', '_' and '-'"
            return
        }
        var text: [UInt8] = []
        for path in paths {
            do {
                guard let bytes = try FileContents(path, limit: Self.largest).bytes else {
                    throw FileError.missing("open", path)
                }
                text += bytes
            } catch {
                failures[name] = "\(error)"
                return
            }
            if text.last != UInt8(ascii: "\n") { text.append(UInt8(ascii: "\n")) }
        }
        texts[name] = text
    }
}

/// The certificates that HAProxy has found right, copied to where it reads them.
///
/// HAProxy never reads the operator's own folder: a file that is broken or half written there changes nothing.
struct CertificateCopies: Sendable {
    private let files: RouteFiles

    /// Those beside the maps.
    init(_ files: RouteFiles) { self.files = files }

    /// Their digests by name, as they are on the disk.
    var digests: [String: String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: files.certificates)) ?? []
        return names.filter { $0.hasSuffix(".pem") }.reduce(into: [:]) { digests, file in
            let name = String(file.dropLast(4))
            if let bytes = try? FileContents(files.certificate(name)).bytes {
                digests[name] = Self.digest(bytes)
            }
        }
    }

    /// What tells texts apart.
    static func digest(_ text: [UInt8]) -> String { Digest.text(of: String(decoding: text, as: UTF8.self)) }

    /// Replaces a copy.
    func write(_ name: String, _ text: [UInt8]) throws {
        try Folder.create(files.certificates)
        try AtomicFile(path: files.certificate(name)).replace(with: text)
    }

    /// Removes all copies but those of these names.
    func prune(except names: Set<String>) {
        for name in digests.keys where !names.contains(name) { AtomicFile(path: files.certificate(name)).remove() }
    }
}

/// Which certificates are in use, and why others are not.
///
/// One that HAProxy refuses changes nothing: its last right form stays in use.
struct CertificateStore {
    private let copies: CertificateCopies
    private var candidate: CertificateFolder?
    /// What was refused, so that it is not tried again and again.
    private var refused: [String: (digest: String, error: String)] = [:]
    private var failures: [String: String] = [:]
    private var failure: String?

    /// The digests of those in use, by name.
    private(set) var accepted: [String: String]

    /// Begins with the copies of an earlier run.
    init(_ files: RouteFiles) {
        copies = CertificateCopies(files)
        accepted = copies.digests
    }

    /// Whether some were read and not reviewed yet.
    var isPending: Bool { candidate != nil }

    /// What is wrong.
    var problems: Set<Diagnostic> {
        var all = refused.mapValues(\.error).merging(failures) { first, _ in first }
        if let failure { all["CERTIFICATES"] = failure }
        return Set(all.map { .route(.certificate(file: $0.key, $0.value)) })
    }

    /// Takes what the folder has now.
    mutating func accept(_ folder: CertificateFolder) { candidate = folder }

    /// Reviews what was read; one that HAProxy refuses, or that cannot be read, stays as it was.
    ///
    /// - Parameter check: gives the reason why HAProxy would refuse a text; nil where it would not.
    mutating func review(check: ([UInt8]) async throws -> String?) async {
        guard let candidate else { return }
        (failures, failure) = (candidate.failures, candidate.failure)
        guard candidate.failure == nil else {
            self.candidate = nil
            return
        }
        var next = accepted.filter { candidate.texts[$0.key] != nil || candidate.failures[$0.key] != nil }
        refused = refused.filter { candidate.texts[$0.key] != nil }
        for (name, text) in candidate.texts.sorted(by: { $0.key < $1.key }) {
            let digest = CertificateCopies.digest(text)
            if next[name] == digest {
                refused[name] = nil
                continue
            }
            if refused[name]?.digest == digest { continue }
            do {
                if let error = try await check(text) {
                    refused[name] = (digest, error)
                    continue
                }
                try copies.write(name, text)
                next[name] = digest
                refused[name] = nil
            } catch {
                failures[name] = "\(error)"
            }
        }
        (accepted, self.candidate) = (next, nil)
    }

    /// Removes the copies of those that are no longer in use; HAProxy must not need them any more.
    func prune() { copies.prune(except: Set(accepted.keys)) }
}

extension HAProxyProgram {
    /// Why a text is no certificate with its key; nil where it is one.
    func rejection(ofCertificate text: [UInt8], in directory: StateDirectory) async throws -> String? {
        let certificate = try AtomicFile(path: directory.path + "/certificate-probe").candidate(text, isFlushed: false)
        defer { certificate.discard() }
        let lines = """
            frontend -probe
                mode http
                bind 127.0.0.1:1 ssl crt \(certificate.path)
                timeout client 1s

            """
        let file = try AtomicFile(path: directory.path + "/probe.cfg").candidate(Array(lines.utf8), isFlushed: false)
        defer { file.discard() }
        do {
            try await check(file.path)
            return nil
        } catch let rejection as Rejection {
            let words = rejection.alerts.prefix(1).map { ConfigErrors.withoutPlace($0) }.joined()
            return words.replacing(certificate.path, with: "the file").replacing(
                "'bind 127.0.0.1:1' in section 'frontend' : ", with: "")
        }
    }
}
