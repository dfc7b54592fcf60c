import Shared

/// Looks up the address that `HOST_IP` means, again and again where it may change.
struct HostAddressLookup: Sendable {
    /// What `HOST_IP` says.
    let setting: HostAddress
    /// Where the agent is.
    let placement: AgentPlacement
    /// etcd's members.
    let members: Etcd.Members
    /// The engine; nil on a host without one.
    let engine: HTTPOrigin?
    /// The limit of each lookup.
    let deadline: Duration

    /// Looks the address up once.
    ///
    /// - Throws: ``HostAddressError``, or `CancellationError`.
    func lookUp() async throws -> IPAddress {
        let interfaces = try Self.interfaces()
        if setting.isLookedUp {
            if case .container(let name, _) = placement { throw HostAddressError.contained(in: name) }
            if let engine, engineIsElsewhere(interfaces) { throw HostAddressError.remoteEngine(engine.name) }
        }
        let address =
            switch setting {
            case .fixed(let address): address
            case .interface(let name): try interfaces.address(of: name)
            case .automatic: try await addressTowardsEtcd()
            }
        if let bridge = bridge(with: address, interfaces) { throw HostAddressError.bridge(address, name: bridge) }
        return address
    }

    /// This host's interfaces, for which the kernel is asked each time.
    static func interfaces() throws(HostAddressError) -> NetworkInterfaces {
        do {
            return try NetworkInterfaces.read()
        } catch {
            throw .unreadable(reason: "\(error)")
        }
    }

    /// Whether this process shares the network of the engine's host, so that what listens there can be seen.
    func isOnHost(_ interfaces: NetworkInterfaces) -> Bool { placement == .host && !engineIsElsewhere(interfaces) }

    /// What may be wrong with an address that is on no interface of this host; nil where it is on one.
    ///
    /// A router in front of the host may have it. In a container with a network of its own nothing is known.
    func warning(of address: IPAddress, _ interfaces: NetworkInterfaces) -> String? {
        guard isOnHost(interfaces), !interfaces.entries.contains(where: { $0.address == address }) else { return nil }
        return "no interface of this host has \(address), which is right behind NAT alone; there are "
            + (interfaces.usable.isEmpty
                ? "none that other hosts could reach" : interfaces.usable.joined(separator: ", "))
    }

    /// Whether the engine is reached at an address that is not this host's; of names nothing is known.
    private func engineIsElsewhere(_ interfaces: NetworkInterfaces) -> Bool {
        guard let address = engine?.host.flatMap({ IPAddress($0) }), !address.isLoopback else { return false }
        return !interfaces.entries.contains { $0.address == address }
    }

    /// The network of which this is the host's own address; nil where there is none.
    private func bridge(with address: IPAddress, _ interfaces: NetworkInterfaces) -> String? {
        switch placement {
        case .host: interfaces.bridge(with: address)
        case .container(_, let gateways):
            gateways.filter { $0.value.contains(address) }.keys.min()
        }
    }

    /// The local address of the connection to the first member that has one.
    private func addressTowardsEtcd() async throws -> IPAddress {
        var errors: [HostAddressError] = []
        let members = try await currentMembers()
        for member in members {
            guard let host = member.host, let port = member.port else { continue }
            do {
                for address in try await NameLookup.addresses(of: host, limit: deadline / members.count) {
                    switch SocketAddress(address, port: port.number).localAddress() {
                    case .success(let local) where local.isLoopback: errors.append(.loopback(to: member.base))
                    case .success(let local) where local.isLinkLocal:
                        errors.append(.noRoute(to: address, reason: "only \(local) leads there"))
                    case .success(let local): return local
                    case .failure(let error): errors.append(.noRoute(to: address, reason: "\(error)"))
                    }
                }
            } catch let error as NameLookup.Failure {
                errors.append(.unknownName(error.name, reason: error.reason))
            }
        }
        // What may come right decides: another member may tell the address later.
        throw errors.first(where: \.isPassing) ?? errors.first
            ?? HostAddressError.unknownName("ETCD_HOST", reason: "no address")
    }
}

extension HostAddressLookup {
    /// The members of now.
    private func currentMembers() async throws -> [HTTPOrigin] {
        do {
            return try await members.lookUp(limit: deadline / 2)
        } catch let error as HTTPError {
            throw HostAddressError.unknownName("\(members)", reason: "\(error)")
        }
    }

    /// Looks it up until there is one; what cannot come right by itself is thrown.
    func first(logger: Logger) async throws -> IPAddress {
        var backoff = Backoff(first: .milliseconds(200), limit: .seconds(2))
        var logged: HostAddressError?
        while true {
            do {
                return try await lookUp()
            } catch let error as HostAddressError where error.isPassing {
                if logged != error { logger.warning("HOST_IP cannot be determined yet; retrying", ["error": error]) }
                logged = error
            }
            try await Task.sleep(for: backoff.next())
        }
    }

    /// Looks it up again and again until the task is cancelled; each other address is handed over.
    ///
    /// A lookup that fails changes nothing.
    func follow(
        from first: IPAddress, every interval: Duration, logger: Logger, handOver: @Sendable (IPAddress) -> Void
    ) async throws {
        guard setting.isLookedUp else { return }
        var (current, logged) = (first, HostAddressError?.none)
        while true {
            try await Task.sleep(for: interval)
            do {
                let address = try await lookUp()
                if logged != nil { logger.info("HOST_IP lookup works again", ["host_ip": address]) }
                logged = nil
                guard address != current else { continue }
                logger.warning("HOST_IP changed; moving all entries", ["from": current, "to": address])
                current = address
                handOver(address)
            } catch let error as HostAddressError {
                if logged != error {
                    logger.warning(
                        "HOST_IP lookup failed; keeping the last address", ["host_ip": current, "error": error])
                }
                logged = error
            }
        }
    }
}

extension NetworkInterfaces {
    /// The first address of an interface that other hosts may reach, IPv4 before IPv6.
    func address(of name: String) throws(HostAddressError) -> IPAddress {
        guard names.contains(name) else { throw .noInterface(name, present: usable) }
        let all = entries.filter { $0.name == name }.map(\.address)
        guard all.isEmpty || !all.allSatisfy(\.isLoopback) else { throw .loopbackInterface(name, present: self.usable) }
        let usable = all.filter(Self.isUsable)
        guard let address = usable.first(where: { $0.family == .v4 }) ?? usable.first else {
            throw .noAddress(interface: name)
        }
        return address
    }

    private static func isUsable(_ address: IPAddress) -> Bool {
        !address.isLoopback && !address.isLinkLocal && !address.isUnspecified && !address.isMulticast
    }

    /// The interfaces with addresses that other hosts may reach, without the engine's own bridges.
    var usable: [String] {
        let usable = entries.filter { Self.isUsable($0.address) && !Self.isBridge($0.name) }
        return Dictionary(grouping: usable, by: \.name).sorted { $0.key < $1.key }.map { name, entries in
            "\(name) (\(entries.map(\.address.text).joined(separator: ", ")))"
        }
    }

    /// The engine's own bridge that has this address; nil where none has.
    func bridge(with address: IPAddress) -> String? {
        entries.first { $0.address == address && Self.isBridge($0.name) }?.name
    }

    /// Whether one of the engine's own bridges is here: then this is the network of the host.
    var haveBridge: Bool { names.contains(where: Self.isBridge) }

    /// Whether an interface has the name that Docker and Podman give to their bridges.
    ///
    /// A bridge that somebody made and gave to the engine may well be the host's own, and have its address.
    static func isBridge(_ name: String) -> Bool {
        if name == "docker0" || name == "docker_gwbridge" { return true }
        if name.hasPrefix("br-") { return name.utf8.count == 15 && name.dropFirst(3).allSatisfy(\.isHexDigit) }
        return ["podman", "cni-podman"].contains { prefix in
            name.hasPrefix(prefix) && Int(name.dropFirst(prefix.count)) != nil
        }
    }
}
