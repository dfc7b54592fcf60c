import FoundationEssentials
import Glibc

/// This host's network interfaces with their addresses.
package struct NetworkInterfaces: Equatable, Sendable {
    /// An address of an interface.
    package struct Entry: Hashable, Sendable {
        /// The interface's name.
        package var name: String
        /// The address.
        package var address: IPAddress

        /// Puts both together.
        package init(name: String, address: IPAddress) {
            self.name = name
            self.address = address
        }
    }

    /// The addresses in the kernel's order, without IPv6 addresses that are not to be used.
    package var entries: [Entry]
    /// All interfaces, also those without an address.
    package var names: Set<String>

    /// Puts addresses and names together.
    package init(entries: [Entry], names: Set<String>) {
        self.entries = entries
        self.names = names
    }
}

extension NetworkInterfaces {
    /// Asks the kernel.
    package static func read() throws(SystemError) -> NetworkInterfaces {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { throw SystemError(errno) }
        defer { unsafe freeifaddrs(first) }
        let table = FileManager.default.contents(atPath: "/proc/self/net/if_inet6") ?? Data()
        let unfit = unfit(in: String(decoding: table, as: UTF8.self))
        var interfaces = NetworkInterfaces(entries: [], names: [])
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
    package static func unfit(in table: String) -> Set<IPAddress> {
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

extension IPAddress {
    /// All addresses of this host's network interfaces; none where the system does not tell.
    package static func ofThisHost() -> Set<IPAddress> {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { return [] }
        defer { unsafe freeifaddrs(first) }
        var found: Set<IPAddress> = []
        var next = unsafe first
        while let entry = unsafe next {
            if let form = unsafe entry.pointee.ifa_addr, let place = unsafe SocketAddress(form) {
                found.insert(place.address)
            }
            unsafe next = entry.pointee.ifa_next
        }
        return found
    }
}
