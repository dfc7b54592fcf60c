import Shared

/// The part of the Docker Engine API that docker-register reads.
///
/// It sends GET requests only.
///
/// The routes are those of https://docs.docker.com/reference/api/engine/, from API 1.41 (Engine 20.10) on.
enum Docker {
    /// A running container with what the agent needs to know of it.
    struct Container: Hashable, Sendable {
        /// The short id, which becomes a part of the key.
        var id: InstanceID
        /// The name without the leading slash.
        var name: String
        /// The image as the user typed it.
        var image: String
        /// The labels of container and image.
        var labels: [String: String]
        /// The environment of its first process.
        var environment: [String: String]
        /// When it started, RFC 3339.
        var started: String
        /// Its published ports.
        var bindings: Set<Binding>
        /// What its HEALTHCHECK says; nil where it has none.
        var health: Health?
        /// The signal that begins its end.
        var stopSignal = StopSignal.standard
        /// How long it may take to end after that signal.
        var stopTimeout = Duration.seconds(10)
        /// Whose network it uses.
        var network = NetworkMode.own
        /// The networks that it is in, by name.
        var networks: [String: NetworkAddresses] = [:]
        /// The TCP ports that it exposes, published or not.
        var exposed: Set<Port> = []
        /// Its published UDP ports.
        var udpBindings: Set<Binding> = []
        /// What it publishes besides TCP ports, such as `53/udp`.
        var otherPorts: Set<String> = []
        /// Whether it is a step of the classic `docker build`, which ends by itself.
        var isBuildStep = false

        /// Which container it is.
        var subject: ContainerRef { ContainerRef(id: id, name: name, image: image, state: ContainerRef.running) }
    }

    /// A container's port and where the host publishes it.
    struct Binding: Hashable, Sendable {
        /// The port inside of the container.
        var containerPort: Port
        /// The host address that it is bound to; nil for what the engine writes as an empty text: all addresses.
        var hostAddress: IPAddress?
        /// The port on the host.
        var hostPort: Port

        /// Where the host accepts connections for it.
        var socket: ListeningSocket { ListeningSocket(address: hostAddress, port: hostPort) }
    }

    /// Which container, and in which state.
    struct ContainerRef: Hashable, Sendable {
        /// The short id.
        var id: InstanceID
        /// The name without the leading slash.
        var name: String
        /// The image as the user typed it.
        var image: String
        /// The engine's word for its state, such as `running` or `exited`.
        var state: String

        /// The word for a container that runs.
        static let running = "running"

        /// A container of which only the id is known; nil where that makes no sense.
        init?(fullID: String) {
            guard let id = InstanceID(containerID: fullID) else { return nil }
            self.init(id: id, name: "", image: "", state: "")
        }

        /// Makes one of its parts.
        init(id: InstanceID, name: String, image: String, state: String) {
            self.id = id
            self.name = name
            self.image = image
            self.state = state
        }
    }

    /// What an inspection has found.
    enum Inspected: Hashable, Sendable {
        /// A container that runs.
        case running(Container)
        /// One that does not, is paused or restarts.
        case idle(ContainerRef)
        /// Nothing: it was removed.
        case gone
    }

    /// A container that has no entries now, whatever its labels say.
    struct StoppedContainer: Hashable, Sendable {
        /// Why it has none.
        enum Reason: Hashable, Sendable {
            /// It does not run, is paused or restarts.
            case notRunning(state: String)
            /// It has been sent its stop signal, and still runs.
            case stopping
            /// The engine did not say how it is, not even once.
            case unreadable
        }

        /// Which one.
        var subject: ContainerRef
        /// Why it has none.
        var reason: Reason

        /// Whether it has not ended: the same life of it may go on.
        var mayGoOn: Bool {
            switch reason {
            case .notRunning(let state): state == "paused"
            case .stopping, .unreadable: true
            }
        }
    }

    /// What an engine has listed and inspected.
    struct ContainerList: Equatable, Sendable {
        /// The running containers, each in its last known state, without those that were sent their stop signal.
        var containers: [Container]
        /// Containers that run but could not be inspected even once: nothing is known of them.
        var unreadable: Set<InstanceID> = []
        /// All others of this host, as far as they are known.
        var idle: [StoppedContainer] = []
    }

    /// Who an engine is.
    struct Identity: Equatable, Sendable {
        /// The engine's own id.
        var id: String
        /// The host's name.
        var name: String
        /// Which engine it is, whatever its id, which copied machines share: the boot of this machine and the engine's
        /// data folder; empty if the engine reports none.
        var place = ""
    }

    /// What a request to the engine failed with.
    enum Error: Swift.Error, Equatable {
        /// The socket cannot be used; `advice` says what to do.
        case unusable(server: String, reason: String, advice: String)
        /// The engine speaks no API version that the agent knows.
        case tooOld(server: String, version: String)
        /// The engine answered with an error, in its own words.
        case refused(route: String, status: Int, message: String)
        /// The answer is not what the API is documented to send.
        case malformed(route: String, reason: String)
    }
}

extension Docker.Error: CustomStringConvertible {
    /// One sentence for a log line.
    var description: String {
        switch self {
        case .unusable(let server, let reason, let advice):
            "cannot use the Docker Engine at \(server): \(reason); \(advice)"
        case .tooOld(let server, let version):
            "the Docker Engine at \(server) speaks API \(version); \(Docker.Version.oldest) (Engine 20.10) is needed"
        case .refused(let route, let status, let message):
            "the Docker Engine answered GET \(route) with status \(status): \(message)"
        case .malformed(let route, let reason):
            "the Docker Engine answered GET \(route) with something else than documented: \(reason)"
        }
    }
}

extension Docker.StoppedContainer.Reason: CustomStringConvertible {
    /// How it goes on after "not registered".
    var description: String {
        switch self {
        case .notRunning("paused"): "it is paused"
        case .notRunning("restarting"): "it ended, and the engine is about to start it again"
        case .notRunning("created"): "it was never started"
        case .notRunning(let state): "it does not run (\(state))"
        case .stopping: "it was told to stop"
        case .unreadable: "the Docker Engine does not say how it is; what is registered of it stays"
        }
    }
}

extension Docker {
    /// A version of the Engine API, such as 1.41.
    struct Version: Hashable, Comparable, Sendable, CustomStringConvertible {
        /// The first number.
        var major: Int
        /// The second number.
        var minor: Int

        /// The oldest that has all that the agent reads.
        static let oldest = Version(major: 1, minor: 41)
        /// The newest that the agent was written against; newer ones are spoken with engines that refuse this one.
        ///
        /// Engines 29.0 to 29.2 refuse older ones.
        static let newest = Version(major: 1, minor: 44)

        /// Parses `1.41`; nil for anything else.
        init?(_ text: some StringProtocol) {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy(Self.isDigit) }),
                let major = Int(parts[0]), let minor = Int(parts[1])
            else { return nil }
            self.init(major: major, minor: minor)
        }

        private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

        /// Makes one of its numbers.
        init(major: Int, minor: Int) {
            self.major = major
            self.minor = minor
        }

        /// The version to speak with an engine whose newest one is `offered`; nil where there is none.
        static func negotiated(with offered: Version) -> Version? {
            offered < oldest ? nil : min(offered, newest)
        }

        /// The form in paths.
        var description: String { "\(major).\(minor)" }

        /// Orders by number.
        static func < (left: Version, right: Version) -> Bool {
            (left.major, left.minor) < (right.major, right.minor)
        }
    }
}
