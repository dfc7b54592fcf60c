package import Shared

extension Laboratory {
    /// Makes a laboratory, runs `body` in it, and takes it away again, also after a failure.
    package static func with<Value: Sendable>(
        _ names: String..., body: @Sendable (Laboratory) async throws -> Value
    ) async throws -> Value {
        let laboratory = try await Laboratory(names)
        do {
            let value = try await body(laboratory)
            await laboratory.tearDown()
            return value
        } catch {
            await laboratory.tearDown()
            throw error
        }
    }

    /// Where etcd is reached by the agents, as `ETCD_HOST`.
    package func etcdAddress() throws -> String { "\(try host("etcd").address):2379" }

    /// Starts etcd on the host `etcd`, with the data that it had, and waits until it is healthy.
    @discardableResult
    package func startEtcd() async throws -> RunningProgram {
        let host = try host("etcd")
        let client = "http://\(host.address):2379"
        let log = CapturedLines()
        let arguments = [
            "--data-dir", "\(host.folder)/data", "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", "http://127.0.0.1:2380", "--logger", "zap",
        ]
        let running = try start("etcd", arguments, on: host, onLine: log.add)
        guard await eventually({ (try? await ctl("endpoint", "health")) != nil }) else {
            throw Failure(description: "etcd is not healthy: \(log.all.suffix(5))")
        }
        return running
    }

    /// Runs `etcdctl`, and gives what it printed.
    @discardableResult
    package func ctl(_ arguments: String...) async throws -> [String] {
        let variables = ["ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": try etcdAddress()]
        let outcome = try await program("etcdctl", arguments, on: try host("etcd"), variables).run(
            deadline: .seconds(20))
        guard outcome.isSuccess else { throw Failure(description: "etcdctl \(arguments): \(outcome.lines)") }
        return outcome.lines
    }

    /// The keys and values below a prefix.
    package func entries(_ prefix: String = "/backends/") async throws -> [String: String] {
        let lines = try await ctl("get", "--prefix", prefix)
        let pairs = stride(from: 0, to: lines.count - 1, by: 2).map { (lines[$0], lines[$0 + 1]) }
        return Dictionary(pairs) { first, _ in first }
    }

    /// The entries without their metas.
    package func endpoints() async throws -> [String: String] {
        try await entries().filter { !$0.key.hasSuffix("/meta") }
    }

    /// Sends requests one after another from a host, and gives the answers' first lines.
    ///
    /// - Throws: ``Failure`` where one fails.
    package func requests(_ count: Int, to url: String, from host: Host) async throws -> [String] {
        let arguments = ["-sS", "--fail", "--max-time", "5", "\(url)?[1-\(count)]"]
        let outcome = try await program("curl", arguments, on: host).run(deadline: .seconds(60))
        guard outcome.isSuccess else { throw Failure(description: "curl \(url): \(outcome.lines)") }
        return outcome.lines.filter { !$0.isEmpty }
    }

    /// The state of each server of a service, by name, as HAProxy's stats page on port 1936 says.
    package func serverStates(of service: String, on host: Host) async throws -> [String: String] {
        let page = try await run("curl", "-sS", "http://localhost:1936/;csv", on: host)
        var states: [String: String] = [:]
        for line in page {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard fields.count > 17, fields[0] == service, !["FRONTEND", "BACKEND"].contains(fields[1]) else {
                continue
            }
            states[fields[1]] = fields[17]
        }
        return states
    }

    /// Runs docker-register on a host, with the host's own address and engine.
    package func register(
        on host: Host, engine: Engine, _ environment: [String: String] = [:]
    ) throws -> Agent {
        let variables = ["HOST_IP": host.address, "ETCD_HOST": try etcdAddress(), "DOCKER_HOST": engine.url]
        let own = ["CONTROL_SOCKET": Self.controlSocket(on: host)]
        return try Agent(
            "docker-register", in: self, on: host, variables.merging(own) { $1 }.merging(environment) { $1 })
    }

    /// The control socket of the docker-register that ``register(on:engine:_:)`` runs.
    package static func controlSocket(on host: Host) -> String { "\(host.folder)/control.sock" }

    /// Calls a command of docker-register on a host, whose agent runs there or does not.
    ///
    /// - Parameter environment: what the command is told besides the socket.
    package func command(
        _ arguments: String..., on host: Host, _ environment: [String: String] = [:]
    ) async throws -> Program.Outcome {
        let own = ["CONTROL_SOCKET": Self.controlSocket(on: host)]
        let program = program(
            "\(Self.programFolder)/docker-register", arguments, on: host, own.merging(environment) { $1 })
        return try await program.run(deadline: .seconds(30))
    }

    /// Runs docker-discover on a host.
    package func discover(on host: Host, _ environment: [String: String] = [:]) throws -> Agent {
        let variables = ["ETCD_HOST": try etcdAddress(), "STATE_DIR": "\(host.folder)/state"]
        return try Agent("docker-discover", in: self, on: host, variables.merging(environment) { $1 })
    }
}

/// Requests without pause from one host, each on a connection of its own, until they are stopped.
package final class Load: Sendable {
    private let output = CapturedLines()
    private let running: RunningProgram

    /// Begins to send about `rate` requests a second.
    package init(to url: String, from host: Laboratory.Host, in laboratory: Laboratory, rate: Int = 100) throws {
        let arguments = [
            "-s", "--max-time", "5", "--rate", "\(rate)/s", "-H", "Connection: close", "-w",
            "\\n%{http_code} %{exitcode} %{time_total}\\n", "\(url)?[1-1000000]",
        ]
        running = try laboratory.start("curl", arguments, on: host, onLine: output.add)
    }

    /// The answers' first lines until now.
    package var answers: [String] { output.all.filter { $0.hasPrefix("I'm ") } }

    /// How many requests have come to their end until now.
    package var count: Int { results.count }

    /// The results of those that failed: status, curl's exit code, seconds.
    package var failures: [String] { results.filter { !$0.hasPrefix("200 0 ") } }

    private var results: [String] {
        output.all.filter { $0.split(separator: " ").count == 3 && $0.first?.isNumber == true }
    }

    /// Ends the load.
    package func stop() async throws {
        running.signal(9)
        _ = try await running.wait()
    }
}
