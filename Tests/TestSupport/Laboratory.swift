import FoundationEssentials
import Glibc
package import Shared
import Synchronization

/// Several hosts on one machine: network namespaces on a private bridge, which is in a namespace of its own, so that
/// nothing touches the machine's network.
///
/// What a laboratory leaves when its process is killed `Tests/Laboratory/lab-clean.sh` removes; ``tearDown()``
/// runs the same script for this one.
package final class Laboratory: Sendable {
    /// One host.
    package struct Host: Sendable, Hashable {
        /// Its short name, such as `backend1`.
        package let name: String
        /// Its address on the bridge.
        package let address: String
        /// Its IPv6 address on the bridge.
        package let address6: String
        /// The network namespace.
        package let namespace: String
        /// A folder of its own.
        package let folder: String
    }

    /// What could not be set up.
    package struct Failure: Error, CustomStringConvertible {
        /// The command, and what it said.
        package let description: String
    }

    /// The hosts, by the names that were asked for.
    package let hosts: [String: Host]

    private let number: String
    private let folder: String
    private let started = Mutex<[RunningProgram]>([])

    private static let count = Atomic(0)

    /// Makes hosts with these names.
    package init(_ names: [String]) async throws {
        let serial = Self.count.add(1, ordering: .relaxed).oldValue
        number = "\(getpid())-\(serial)"
        folder = "/tmp/sidekick-lab-\(getpid())/\(serial)"
        var hosts: [String: Host] = [:]
        for (index, name) in names.enumerated() {
            hosts[name] = Host(
                name: name, address: "10.77.0.\(index + 11)", address6: "fd77::\(index + 11)",
                namespace: "sk\(number)-\(name)",
                folder: "\(folder)/\(name)")
        }
        self.hosts = hosts
        do {
            try await build(names.compactMap { hosts[$0] })
        } catch {
            await tearDown()
            throw error
        }
    }

    private func build(_ hosts: [Host]) async throws {
        let net = "sk\(number)-net"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var lines = ["netns add \(net)", "-n \(net) link add br0 type bridge", "-n \(net) link set br0 up"]
        for (index, host) in hosts.enumerated() {
            try FileManager.default.createDirectory(atPath: host.folder, withIntermediateDirectories: true)
            lines += [
                "netns add \(host.namespace)",
                "-n \(host.namespace) link add eth0 type veth peer name v\(index) netns \(net)",
                "-n \(net) link set v\(index) master br0 up", "-n \(host.namespace) link set lo up",
                "-n \(host.namespace) addr add \(host.address)/24 dev eth0",
                "-n \(host.namespace) addr add \(host.address6)/64 dev eth0 nodad",
                "-n \(host.namespace) link set eth0 up",
            ]
        }
        for line in lines { try await command("ip", line.split(separator: " ").map(String.init)) }
    }

    /// Ends everything that was started in it, and removes it from the machine.
    package func tearDown() async {
        let running = started.withLock { $0 }
        for program in running { program.signalGroup(SIGTERM) }
        // Engines take their containers down with them; what does not end in time the script kills.
        _ = await eventually(within: .seconds(5)) { running.allSatisfy { $0.ending != nil } }
        let script = "\(Self.projectFolder)/Tests/Laboratory/lab-clean.sh"
        let outcome = try? await Program(script, [number, folder]).run(deadline: .seconds(60))
        if outcome?.isSuccess != true {
            StandardError.write("laboratory \(number) was not removed: \(outcome?.lines ?? [])")
        }
        _ = unsafe rmdir("/tmp/sidekick-lab-\(getpid())")
    }

    /// The host of this name.
    package func host(_ name: String) throws -> Host {
        guard let host = hosts[name] else { throw Failure(description: "the laboratory has no host \(name)") }
        return host
    }

    // MARK: Programs

    /// A program as it runs on a host.
    ///
    /// Not by `ip netns exec`, which mounts /sys anew, so that engines lose the control groups.
    package func program(
        _ executable: String, _ arguments: [String], on host: Host, _ environment: [String: String] = [:]
    ) -> Program {
        var variables = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": host.folder]
        variables.merge(environment) { _, given in given }
        return Program(
            "nsenter", ["--net=/var/run/netns/\(host.namespace)", executable] + arguments, environment: variables)
    }

    /// Runs a program on a host to its end and gives what it printed.
    ///
    /// - Throws: ``Failure`` where it fails.
    @discardableResult
    package func run(
        _ executable: String, _ arguments: String..., on host: Host, _ environment: [String: String] = [:]
    ) async throws -> [String] {
        try await run(executable, arguments, on: host, environment)
    }

    /// Runs a program on a host to its end and gives what it printed.
    ///
    /// - Throws: ``Failure`` where it fails.
    @discardableResult
    package func run(
        _ executable: String, _ arguments: [String], on host: Host, _ environment: [String: String] = [:]
    ) async throws -> [String] {
        try await Self.lines(of: program(executable, arguments, on: host, environment))
    }

    /// Starts a program on a host; it ends with the laboratory.
    package func start(
        _ executable: String, _ arguments: [String], on host: Host, _ environment: [String: String] = [:],
        onLine: @escaping @Sendable (String) -> Void
    ) throws -> RunningProgram {
        let running = try program(executable, arguments, on: host, environment).start(onLine: onLine)
        started.withLock { $0.append(running) }
        return running
    }

    private func command(_ executable: String, _ arguments: [String]) async throws {
        _ = try await Self.lines(of: Program(executable, arguments))
    }

    private static func lines(of program: Program) async throws -> [String] {
        let outcome = try await program.run(deadline: .seconds(60))
        guard outcome.isSuccess else {
            let command = ([program.executable] + program.arguments).joined(separator: " ")
            throw Failure(description: "\(command): \(outcome.ending) \(outcome.lines.suffix(5))")
        }
        return outcome.lines
    }

    // MARK: Places

    /// The folder of the project's sources.
    package static let projectFolder = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }

    /// The folder of the programs that were built with the tests.
    package static var programFolder: String {
        let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return path.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
    }
}
