import CResolv
import Glibc

/// A SRV record of the DNS: where a service is offered (RFC 2782).
struct ServiceRecord: Hashable, Sendable {
    /// The host's name, without a dot at its end.
    let target: String
    /// The port there.
    let port: Port
    /// The lower, the sooner it is to be tried.
    let priority: UInt16

    /// The name servers give no answer.
    struct Failure: Error, Equatable, CustomStringConvertible {
        /// What was asked for.
        let name: String
        /// What became of that, in a few words.
        let reason: String

        var description: String { "SRV records of \(name): \(reason)" }
    }

    /// How many records of an answer count.
    private static let most = 256

    /// Asks for the records of a name, the first ones first, none where there are none.
    ///
    /// It blocks, for about 12 s where three name servers are silent.
    static func lookUp(_ name: String) -> Result<[ServiceRecord], Failure> {
        var raw = [cresolv_record](repeating: cresolv_record(), count: most)
        let count = unsafe cresolv_query(name, &raw, Int32(raw.count))
        switch -count {
        case HOST_NOT_FOUND, NO_DATA: return .success([])
        case TRY_AGAIN: return .failure(Failure(name: name, reason: "no answer from the name servers"))
        case 1...: return .failure(Failure(name: name, reason: "the name servers' answer cannot be used"))
        default:
            let found = raw.prefix(Int(count)).compactMap(ServiceRecord.init)
            return .success(Set(found).sorted { ($0.priority, $0.target, $0.port) < ($1.priority, $1.target, $1.port) })
        }
    }

    /// Takes what the resolver found; nil where it names no host or port.
    private init?(_ raw: cresolv_record) {
        var raw = raw
        let target = unsafe withUnsafeBytes(of: &raw.target) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        guard !target.isEmpty, target != ".", let port = Port(raw.port) else { return nil }
        self.init(target: target, port: port, priority: raw.priority)
    }

    /// Makes one.
    init(target: String, port: Port, priority: UInt16 = 0) {
        (self.target, self.port, self.priority) = (target, port, priority)
    }
}
