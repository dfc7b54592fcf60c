import Shared

/// What the host on which docker-discover runs contributes to a plan.
struct ConsumerHost: Equatable, Sendable {
    /// Where the stats page is: no service can listen there.
    var statsBind: BindAddress

    /// What the stats page calls the host: letters, digits, dots, dashes.
    var name = "localhost"

    /// Who may see the stats page; nobody named is everybody.
    var statsUsers: [StatsUser] = []

    /// Where services listen that do not say so themselves; nil for all IPv4 addresses.
    var listenAddress: IPAddress?

    /// Where the host is: endpoints of the same zone come first.
    var zone: Zone?

    /// Ports for services that do not get the one that they ask for.
    var portRange = PortRange.standard

    /// The shortest interval between two checks of an endpoint, which depends on how many consumers there are.
    var checkFloor = Duration.zero

    /// What its operator adds to haproxy.cfg.
    var additions = Additions()
}
