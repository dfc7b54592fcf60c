import FoundationEssentials
import Shared

/// Whose network the agent itself is in.
enum AgentPlacement: Equatable, Sendable {
    /// The host's: on the host itself, or in a container with the host's network.
    case host
    /// That of a container, with its name where the engine knows it, and the gateways of its networks by their names.
    case container(String?, gateways: [String: Set<IPAddress>])

    /// Finds out from what this process sees of itself and what the engine says of its containers.
    init(_ signs: Evidence, among containers: [Docker.Listed], _ interfaces: NetworkInterfaces) {
        guard signs.isInContainer else {
            self = .host
            return
        }
        let own = containers.first { signs.isSelf($0.id) }
        guard let carrier = own.map({ Self.carrier(of: $0, among: containers) }) else {
            // A container of another engine, or none at all. Bridges are seen from the host's network alone.
            self = signs.id == nil || interfaces.haveBridge ? .host : .container(nil, gateways: [:])
            return
        }
        guard carrier.network != .host else {
            self = .host
            return
        }
        let gateways = carrier.networks.mapValues(\.gateways).filter { !$0.value.isEmpty }
        self = .container(own?.name, gateways: gateways)
    }

    /// The container whose network a container is in.
    private static func carrier(of container: Docker.Listed, among containers: [Docker.Listed]) -> Docker.Listed {
        var carrier = container
        // More than a few links are a circle.
        for _ in 0..<8 {
            guard case .container(let name) = carrier.network,
                let next = containers.first(where: { $0.id == name || $0.name == name })
            else { return carrier }
            carrier = next
        }
        return carrier
    }

    /// What a process sees of itself.
    struct Evidence: Equatable, Sendable {
        /// The full id of the container, where its mounts show it.
        var id: String?
        /// The host's name, which in a container is the beginning of its id unless somebody chose another one.
        var hostName: String

        /// Whether this may be a container.
        ///
        /// The file `/.dockerenv` says nothing: machines that were made from images have it too.
        var isInContainer: Bool { id != nil || hasNameOfContainer }

        private var hasNameOfContainer: Bool { hostName.utf8.count >= 12 && hostName.allSatisfy(\.isHexDigit) }

        /// Whether this is the container with that id.
        func isSelf(_ fullID: String) -> Bool {
            if let id { return id == fullID }
            return hasNameOfContainer && fullID.hasPrefix(hostName)
        }

        /// Looks at this process.
        static func read() -> Evidence {
            let files = FileManager.default
            let mounts = files.contents(atPath: "/proc/self/mountinfo") ?? Data()
            let name = files.contents(atPath: "/proc/sys/kernel/hostname") ?? Data()
            return Evidence(
                id: id(in: String(decoding: mounts, as: UTF8.self)),
                hostName: String(decoding: name.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
        }

        /// The id in the path of the file that the engine mounts as `/etc/hostname`, or else as `/etc/resolv.conf`.
        ///
        /// A line of proc(5)'s mountinfo is: ids, device, path within the mounted file system, where it is mounted.
        static func id(in mountInfo: String) -> String? {
            let mounts = mountInfo.split(separator: "\n").map { $0.split(separator: " ") }.filter { $0.count > 4 }
            for file in ["/etc/hostname", "/etc/resolv.conf"] {
                for mount in mounts where mount[4] == file {
                    let id = mount[3].split(separator: "/").last { $0.utf8.count == 64 && $0.allSatisfy(\.isHexDigit) }
                    if let id { return String(id) }
                }
            }
            return nil
        }
    }
}
