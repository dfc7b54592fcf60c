import Glibc
import Synchronization

/// Ports that nobody listens on.
package enum FreePort {
    /// Below those that the kernel gives to outgoing connections, so that none of these takes the port of a server that
    /// is down for a moment.
    private static let range = 15_000..<32_000
    /// Where docker-discover finds ports for services that do not get their own, ten for each: there is one for each of
    /// nearly 300 starts, and its own default range is within.
    private static let assigned = 17_000..<19_900
    private static let taken = Mutex<Set<Int>>([])

    /// What there was none of.
    package struct NoneLeft: Error {}

    /// A TCP port that was free a moment ago; another one each time.
    package static func take() throws -> Int {
        for _ in 0..<1000 {
            let port = Int.random(in: range)
            if !assigned.contains(port), taken.withLock({ $0.insert(port).inserted }), isFree(port) { return port }
        }
        throw NoneLeft()
    }

    /// A range of ten ports for the value of `PORT_RANGE`, another one each time.
    package static func takeRange() throws -> String {
        for _ in 0..<1000 {
            let first = Int.random(in: 0..<assigned.count / 10) * 10 + assigned.lowerBound
            let ports = first..<first + 10
            if taken.withLock({ $0.insert(first).inserted }), ports.allSatisfy(isFree) {
                return "\(first)-\(first + 9)"
            }
        }
        throw NoneLeft()
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
