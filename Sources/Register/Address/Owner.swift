import Shared

/// Who this agent is, as far as its entries say it.
struct Owner: Equatable, Sendable {
    /// The host's name.
    var host: String
    /// `HOST_IP`.
    var address: IPAddress
    /// The engine's id, or the host's name if the engine reports none.
    var engine: String
    /// Which engine it is, as ``Docker/Identity/place`` has it.
    var place: String

    /// The owner's entries are those of one engine on one address.
    ///
    /// An engine that reports no id is identified by its host.
    init(_ identity: Docker.Identity, _ address: IPAddress) {
        host = identity.name
        engine = identity.id.isEmpty ? identity.name : identity.id
        place = identity.place
        self.address = address
    }

    /// The text of ``Meta/owner``.
    var text: String { "\(engine)@\(address)" }
}

/// Who a host is that has no Docker Engine.
enum HostIdentity {
    /// The host's name, and an id made of what systemd calls the machine's id.
    static func read() -> Docker.Identity {
        let host = ProcessStatus.hostName ?? "localhost"
        let machine = (try? FileContents("/etc/machine-id", limit: 1024))?.text ?? ""
        return Docker.Identity(id: id(machineID: machine), name: host)
    }

    /// An id that stays the same over restarts; empty where the machine has none.
    ///
    /// The machine's own id must not be exposed (machine-id(5)), and cannot be found from its 64-bit FNV-1a.
    static func id(machineID: String) -> String {
        let digits = machineID.utf8.filter { $0 > UInt8(ascii: " ") }
        guard digits.count >= 32 else { return "" }
        let hash = digits.reduce(into: UInt64(0xcbf2_9ce4_8422_2325)) { hash, byte in
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        let text = String(hash, radix: 16)
        return "host-" + String(repeating: "0", count: 16 - text.count) + text
    }
}

extension Owner {
    /// The host's name with nothing in it but letters, digits, `.`, `_` and `-`, the first a letter or digit.
    var hostWord: String {
        let allowed = host.unicodeScalars.prefix(Self.longestHost).map { scalar in
            scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
                || ".-_".unicodeScalars.contains(scalar) ? Character(scalar) : "-"
        }
        let word = allowed.drop { ".-_".contains($0) }
        return word.isEmpty ? "host" : String(word)
    }

    /// The kernel's limit for the name of a host.
    static let longestHost = 64
}
