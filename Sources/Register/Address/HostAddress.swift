import Shared

/// What `HOST_IP` says: under which address other hosts reach this one, or where to look it up.
enum HostAddress: Hashable, Sendable {
    /// This address.
    case fixed(IPAddress)
    /// The first global address of this network interface, IPv4 before IPv6.
    case interface(String)
    /// The local address of the connection to etcd.
    case automatic

    /// What may be written, for messages.
    static let grammar = "an IPv4 or IPv6 address, the name of a network interface, or auto"

    /// Parses it; nil for what is none of them.
    ///
    /// Linux allows nearly anything as an interface's name. Only names that begin with a letter are taken, so that a
    /// misspelt address is not one.
    init?(_ text: String) {
        if let address = IPAddress(text) {
            self = .fixed(address)
        } else if text.lowercased() == "auto" {
            self = .automatic
        } else {
            // 15 bytes are the kernel's limit.
            guard let first = text.first, first.isASCII, first.isLetter, text.utf8.count <= 15,
                text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "._-@:".contains($0)) })
            else { return nil }
            self = .interface(text)
        }
    }

    /// Why other hosts can never reach this; nil where they may.
    var mistake: String? {
        guard case .fixed(let address) = self else { return nil }
        if address.isLoopback { return "\(address) is a loopback address, which the other hosts cannot reach" }
        if address.isUnspecified || address.isMulticast { return "\(address) is not the address of a host" }
        if address.isReserved { return "\(address) is not the address of a host" }
        if address.unmapped != address { return "\(address) is an IPv4 address; write \(address.unmapped)" }
        if address.family == .v6, address.isLinkLocal {
            return "\(address) is a link-local address, which other hosts cannot reach without naming an interface"
        }
        return nil
    }

    /// Whether it has to be looked up, and may be another one later.
    var isLookedUp: Bool {
        if case .fixed = self { false } else { true }
    }
}

/// Why `HOST_IP` gives no address.
enum HostAddressError: Error, Equatable {
    /// There is no such network interface, but these, each with its addresses.
    case noInterface(String, present: [String])
    /// The interface has loopback addresses alone; there are these.
    case loopbackInterface(String, present: [String])
    /// The interface has no address that other hosts could reach.
    case noAddress(interface: String)
    /// The name of an etcd member gives no address.
    case unknownName(String, reason: String)
    /// There is no way to an etcd member.
    case noRoute(to: IPAddress, reason: String)
    /// The interfaces cannot be read.
    case unreadable(reason: String)
    /// etcd is reached without leaving this host.
    case loopback(to: String)
    /// The address is that of a network bridge of the engine's, here on this host.
    case bridge(IPAddress, name: String)
    /// The agent's container has a network of its own; its name where that is known.
    case contained(in: String?)
    /// The engine is on another host.
    case remoteEngine(String)

    /// Whether it may come right by itself.
    var isPassing: Bool {
        switch self {
        case .noAddress, .unknownName, .noRoute, .unreadable: true
        case .noInterface, .loopbackInterface, .loopback, .bridge, .contained, .remoteEngine: false
        }
    }
}

extension HostAddressError: CustomStringConvertible {
    /// One sentence for a log line, with what to do.
    var description: String {
        switch self {
        case .noInterface(let name, let present):
            "HOST_IP: this host has no network interface \(name); \(Self.advice(present))"
        case .loopbackInterface(let name, let present):
            "HOST_IP: the other hosts cannot reach the addresses of \(name); \(Self.advice(present))"
        case .noAddress(let name):
            "HOST_IP: the network interface \(name) has no address that other hosts could reach"
        case .unknownName(let name, let reason): "HOST_IP=auto: cannot look up \(name) of ETCD_HOST: \(reason)"
        case .noRoute(let address, let reason): "HOST_IP=auto: there is no way to etcd at \(address): \(reason)"
        case .unreadable(let reason): "HOST_IP: cannot read this host's network interfaces: \(reason)"
        case .loopback(let member):
            "HOST_IP=auto: etcd is on this host (\(member)), so the connection to it does not tell under which address "
                + "the other hosts reach this one; set HOST_IP to that address, or to the name of a network interface"
        case .bridge(let address, let name):
            "HOST_IP: \(address) is this host's own address in the containers' network \(name), which other hosts "
                + "cannot reach; set HOST_IP to the address under which they reach this host"
        case .contained(let container):
            "HOST_IP: docker-register runs in a container\(container.map { " (\($0))" } ?? "") with a network of its "
                + "own, where the host's address cannot be looked up; set HOST_IP to that address, "
                + "or run the container with --network host"
        case .remoteEngine(let server):
            "HOST_IP: the Docker Engine at \(server) is on another host, whose address cannot be looked up from here; "
                + "set HOST_IP to it"
        }
    }
}

extension HostAddressError {
    private static func advice(_ present: [String]) -> String {
        let list = present.isEmpty ? "" : ", or the name of an interface: \(present.joined(separator: ", "))"
        return "set the address under which the other hosts reach this one\(list)"
    }
}
