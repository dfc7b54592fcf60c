import Shared

/// Where HAProxy listens: an address, or all of them, and a port.
struct BindAddress: Hashable, Sendable {
    /// The address; nil for all IPv4 addresses.
    let address: IPAddress?

    /// The port.
    let port: Port

    /// Makes one.
    init(address: IPAddress? = nil, port: Port) {
        self.address = address
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
    static let expected = ":PORT or ADDRESS:PORT, with an IPv6 address in brackets"
}

extension BindAddress: CustomStringConvertible {
    /// As HAProxy's `bind` takes it: `:1936` or `127.0.0.1:1936`.
    var description: String {
        address.map { Endpoint(address: $0, port: port).description } ?? ":\(port)"
    }
}
