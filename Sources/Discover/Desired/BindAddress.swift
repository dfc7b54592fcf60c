import Shared

/// Where HAProxy listens: an address, or all of them, and a port.
struct BindAddress: Hashable, Sendable {
    /// The address; nil for all IPv4 addresses, and `::` for those of both families.
    let address: IPAddress?

    /// The port.
    let port: Port

    /// Makes one.
    init(address: IPAddress? = nil, port: Port) {
        self.address = address?.isUnspecified == true && address?.family == .v4 ? nil : address
        self.port = port
    }

    /// Parses `:1936`, `*:1936`, `1936`, `127.0.0.1:1936` or `[::1]:1936`; nil for anything else.
    init?(_ text: some StringProtocol) {
        if let endpoint = Endpoint(text) {
            self.init(address: endpoint.address, port: endpoint.port)
            return
        }
        let rest = text.first == "*" ? text.dropFirst() : text[...]
        guard rest.first == ":" || rest.endIndex == text.endIndex && rest.startIndex == text.startIndex,
            let port = Port(text: rest.first == ":" ? rest.dropFirst() : rest)
        else { return nil }
        self.init(port: port)
    }

    /// What may be written, for messages.
    static let grammar = ":PORT or ADDRESS:PORT, with an IPv6 address in brackets"
}

extension BindAddress: CustomStringConvertible {
    /// The address and the port: `:1936`, `127.0.0.1:1936` or `[::]:1936`.
    var description: String {
        address.map { Endpoint(address: $0, port: port).description } ?? ":\(port)"
    }

    /// As HAProxy's `bind` takes it; it would leave it to the system whether `::` is about IPv4 as well.
    var words: String { isOfBothFamilies ? "\(description) v4v6" : description }

    /// The same for a socket: all IPv4 addresses where none is named.
    var socketAddress: SocketAddress { SocketAddress(address ?? .anyIPv4, port: port.number) }

    /// Whether a program of the same host reaches it at 127.0.0.1, and not at ::1.
    var isLocalIPv4: Bool { address == nil || address == .loopback4 }

    /// Whether it is `::`, which stands for all addresses.
    var isOfBothFamilies: Bool { address?.isUnspecified == true }
}

extension BindAddress {
    /// Whether a connection could be meant for either of them, so that only one can be listened on.
    func overlaps(_ other: BindAddress) -> Bool {
        guard port == other.port, address != other.address else { return port == other.port }
        if isOfBothFamilies || other.isOfBothFamilies { return true }
        guard let address, let otherAddress = other.address else { return (address ?? other.address)?.family == .v4 }
        return address == otherAddress
    }
}
