import FoundationEssentials
import Glibc
import Shared

/// This host's network interfaces with their addresses.
struct HostInterfaces: Equatable, Sendable {
    /// An address of an interface.
    struct Entry: Hashable, Sendable {
        /// The interface's name.
        var name: String
        /// The address.
        var address: IPAddress
    }

    /// The addresses in the kernel's order, without IPv6 addresses that are not to be used.
    var entries: [Entry]
    /// All interfaces, also those without an address.
    var names: Set<String>

    /// The first address of an interface that other hosts may reach, IPv4 before IPv6.
    func address(of name: String) throws(HostAddressError) -> IPAddress {
        guard names.contains(name) else { throw .noInterface(name, present: names.sorted()) }
        let usable = entries.filter { $0.name == name }.map(\.address).filter {
            !$0.isLoopback && !$0.isLinkLocal && !$0.isUnspecified && !$0.isMulticast
        }
        guard let address = usable.first(where: { $0.family == .v4 }) ?? usable.first else {
            throw .noAddress(interface: name)
        }
        return address
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

extension HostInterfaces {
    /// Asks the kernel.
    static func read() throws(HostAddressError) -> HostInterfaces {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { throw .unreadable(reason: "\(SystemError(errno))") }
        defer { unsafe freeifaddrs(first) }
        let table = FileManager.default.contents(atPath: "/proc/self/net/if_inet6") ?? Data()
        let unfit = unfit(in: String(decoding: table, as: UTF8.self))
        var interfaces = HostInterfaces(entries: [], names: [])
        var next = unsafe first
        while let entry = unsafe next {
            let name = unsafe String(cString: entry.pointee.ifa_name)
            interfaces.names.insert(name)
            if let form = unsafe entry.pointee.ifa_addr, let found = unsafe SocketAddress(form)?.address,
                !unfit.contains(found)
            {
                interfaces.entries.append(Entry(name: name, address: found))
            }
            unsafe next = entry.pointee.ifa_next
        }
        return interfaces
    }

    /// The IPv6 addresses in `/proc/net/if_inet6` that are temporary, deprecated, not yet or not at all valid.
    ///
    /// A line is: address, index, length of the prefix, scope, flags, all hexadecimal, and the interface's name.
    static func unfit(in table: String) -> Set<IPAddress> {
        var addresses: Set<IPAddress> = []
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count == 6, let flags = UInt32(fields[4], radix: 16), flags & unfitFlags != 0,
                let address = IPAddress(bytes: bytes(fields[0]))
            else { continue }
            addresses.insert(address)
        }
        return addresses
    }

    /// IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE of linux/if_addr.h.
    private static let unfitFlags: UInt32 = 0x01 | 0x08 | 0x20 | 0x40

    private static func bytes(_ digits: Substring) -> [UInt8] {
        let digits = Array(digits)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(digits[$0...($0 + 1)]), radix: 16)
        }
    }
}
