import Shared

extension Docker {
    /// Whose network a container uses: what `docker run --network` was told.
    enum NetworkMode: Hashable, Sendable {
        /// Networks of its own.
        case own
        /// The host's.
        case host
        /// None at all.
        case none
        /// That of another container, by its full id.
        case container(String)

        /// Takes the engine's word: a network's name, `host`, `none` or `container:<id>`.
        init(_ text: String) {
            let prefix = "container:"
            if text == "host" {
                self = .host
            } else if text == "none" {
                self = .none
            } else if text.hasPrefix(prefix) {
                self = .container(String(text.dropFirst(prefix.count)))
            } else {
                self = .own
            }
        }
    }

    /// A container's addresses in one network.
    struct NetworkAddresses: Hashable, Sendable {
        /// The container's own: at most one of each family.
        var addresses: Set<IPAddress> = []
        /// The way out, which is the host's address in a network that is a bridge.
        var gateways: Set<IPAddress> = []

        /// The networks that the engine tells of, by name; addresses that make no sense are left out.
        static func byName(_ wire: [String: WireNetwork?]?) -> [String: NetworkAddresses] {
            (wire ?? [:]).mapValues { network in
                NetworkAddresses(
                    addresses: Set([network?.IPAddress, network?.GlobalIPv6Address].compactMap(address)),
                    gateways: Set([network?.Gateway, network?.IPv6Gateway].compactMap(address)))
            }
        }

        /// Where there is none, the engine writes an empty text, or leaves it out.
        private static func address(_ text: String?) -> IPAddress? {
            text.flatMap { IPAddress($0) }.flatMap { $0.isUnspecified ? nil : $0 }
        }
    }
}

extension Docker.Container {
    /// Its network of this name, which may be the short one of the Compose file; nil where it is not in it.
    func network(named name: String) -> (key: String, value: Docker.NetworkAddresses)? {
        let project = labels["com.docker.compose.project"]
        let names = [name] + (project.map { ["\($0)_\(name)"] } ?? [])
        return names.lazy.compactMap { name in networks[name].map { (name, $0) } }.first
    }

    /// Whether it started after another one, as far as both tell: its network is then not the other one's.
    func started(after other: Docker.Container) -> Bool {
        let (own, others) = (Self.comparable(started), Self.comparable(other.started))
        return own.second != others.second ? own.second > others.second : own.fraction > others.fraction
    }

    /// RFC 3339 with a fraction of any length: the seconds as text, and nine digits.
    private static func comparable(_ time: String) -> (second: Substring, fraction: String) {
        let fraction = time.dropFirst(20).prefix { $0.isASCII && $0.isNumber }
        return (time.prefix(19), String(fraction) + String(repeating: "0", count: max(0, 9 - fraction.count)))
    }
}
