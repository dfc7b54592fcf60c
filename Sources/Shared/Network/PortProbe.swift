import Glibc

/// Finds out by connecting which ports of a host accept connections.
package enum ConnectProbe {
    /// Tries all ports side by side, on a thread of its own.
    package static func openPorts(
        of ports: Set<Port>, at address: IPAddress, limit: Duration
    ) async throws -> [Port] {
        let sorted = ports.sorted()
        var open: [Port] = []
        for start in stride(from: 0, to: sorted.count, by: sideBySide) {
            let chunk = Array(sorted[start..<min(start + sideBySide, sorted.count)])
            open += try await onOwnThread(limit: limit * 2) { connect(address, chunk, limit) }
        }
        return open
    }

    /// How many sockets are open at the same time.
    private static let sideBySide = 64

    /// The ports that accept a connection within the limit.
    private static func connect(_ address: IPAddress, _ ports: [Port], _ limit: Duration) -> [Port] {
        var open: [Port] = []
        var waiting: [(port: Port, entry: pollfd)] = []
        defer { for each in waiting { close(each.entry.fd) } }
        for port in ports {
            let target = SocketAddress(address, port: port.number)
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
            let descriptor = socket(target.family, type, 0)
            guard descriptor >= 0 else { continue }
            if unsafe target.withKernelForm({ unsafe Glibc.connect(descriptor, $0, $1) }) == 0 {
                open.append(port)
                close(descriptor)
            } else if errno == EINPROGRESS {
                waiting.append((port, pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)))
            } else {
                close(descriptor)
            }
        }
        let end = ContinuousClock.now + limit
        while !waiting.isEmpty, ContinuousClock.now < end {
            var entries = waiting.map(\.entry)
            let left = ContinuousClock.now.duration(to: end)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1
            guard unsafe poll(&entries, nfds_t(entries.count), Int32(clamping: milliseconds)) >= 0 || errno == EINTR
            else { break }
            for (index, entry) in entries.enumerated().reversed() where entry.revents != 0 {
                if hasSucceeded(entry.fd) { open.append(waiting[index].port) }
                close(entry.fd)
                waiting.remove(at: index)
            }
        }
        return open
    }

    private static func hasSucceeded(_ descriptor: Int32) -> Bool {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0
    }
}

extension SocketAddress {
    /// Why no listener could bind here; nil where one could.
    ///
    /// Alone: without SO_REUSEPORT, with which two processes of the same user share a port, and with SO_REUSEADDR, so
    /// that connections that have just ended do not count.
    ///
    /// - Parameter isShared: whether a process of ours, which shares the port with the one that follows it, listens on
    ///   another address of the same port.
    package func bindFailure(isShared: Bool = false) -> SystemError? {
        let probe = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return SystemError(errno) }
        defer { close(probe) }
        for option in [SO_REUSEADDR] + (isShared ? [SO_REUSEPORT] : []) {
            var on: Int32 = 1
            guard unsafe setsockopt(probe, SOL_SOCKET, option, &on, socklen_t(MemoryLayout<Int32>.size)) == 0
            else { return SystemError(errno) }
        }
        return unsafe withKernelForm({ unsafe bind(probe, $0, $1) }) == 0 ? nil : SystemError(errno)
    }
}
