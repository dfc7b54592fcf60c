import Shared

/// What the host on which docker-discover runs contributes.
struct HostSettings: Equatable, Sendable {
    /// Where the stats page is: no service can listen there.
    var statsBind: BindAddress

    /// Whether HAProxy runs here, and takes ports.
    var hasHAProxy = true

    /// Where the stats page is besides, on a host that has this address; nil for nowhere.
    var statsLoopback6: BindAddress? {
        statsBind.isLocalIPv4 ? BindAddress(address: .loopback6, port: statsBind.port) : nil
    }

    /// What the stats page calls the host: letters, digits, dots, dashes.
    var name = anyName

    /// What a host is called of which no name is known.
    static let anyName = "localhost"

    /// Where services listen that do not say so themselves; nil for all IPv4 addresses.
    var listenAddress: IPAddress?

    /// Where the host is: endpoints of the same zone come first.
    var zone: Zone?

    /// Ports for services that do not get the one that they ask for.
    var portRange = PortRange.standard

    /// How many files HAProxy may have open; nil where that is not known.
    var openFiles: OpenFileBudget?

    /// The ports that labels may ask for.
    var allowedPorts = AllowedPorts.all

    /// The shortest interval between two checks of an endpoint, which depends on how many client hosts there are.
    var minCheckInterval = Duration.zero

    /// Where requests are routed by host and path; nil for nowhere.
    var routes: RouteListeners?

    /// The names and addresses of what its operator adds to haproxy.cfg: no service can have them.
    var reserved = Reserved()

    /// The services that its operator's sections lead to, with the mode in which they do.
    var named: [ServiceName: ServiceMode] = [:]

    /// Names of sections, and where they listen.
    struct Reserved: Equatable, Sendable {
        /// The names.
        var names: Set<String> = []
        /// The addresses.
        var binds: Set<BindAddress> = []
    }
}
