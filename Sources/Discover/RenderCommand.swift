import FoundationEssentials
import Shared

/// `render`: prints the haproxy.cfg that a registry in a file leads to, without etcd and without HAProxy.
struct RenderCommand: Sendable {
    private static let from = Setting(
        flag: "--from", placeholder: "FILE",
        help: """
            what `etcdctl get --prefix /backends -w json` printed, or a JSON object of keys and values; - for standard \
            input
            """,
        isNeeded: true)
    private static let strict = Setting(
        flag: "--strict", help: "exit with status 1 if anything in FILE is wrong or a service is not served")
    private static let probe = Setting(
        flag: "--probe", help: "render for the installed HAProxy instead of one with all features")

    /// Shows what would be written.
    static let command = Command(
        "render", flags: [from, strict, probe],
        help: """
            Prints the haproxy.cfg that a registry in a file leads to, and on standard error what is wrong with it; \
            asks neither etcd nor HAProxy.
            """)

    /// Why nothing can be rendered.
    enum Failure: Error, Equatable {
        /// The file cannot be read.
        case unreadable(FileError)
        /// There is no such file.
        case missing(path: String)
        /// It is no registry.
        case malformed(path: String, LocatedJSON.Diagnostic)
    }

    private let path: String
    private let isStrict: Bool
    private let probes: Bool
    private let haproxy: String
    private let keyspace: Keyspace
    private let files: SnippetFiles
    private let settings: HAProxySettings
    private let directory: StateDirectory
    private let certificates: String?

    /// Reads what the command was told; throws every mistake at once.
    init?(_ reading: inout ParsedSettings) throws(UsageError) {
        isStrict = reading.isOn(Self.strict)
        probes = reading.isOn(Self.probe)
        let path = reading.text(Self.from)
        let keyspace = EtcdSettings.keyspace(from: &reading)
        let haproxy = reading.text(DiscoverSettings.haproxy)
        let directory = DiscoverSettings.directory(from: &reading)
        let host = DiscoverSettings.host(&reading)
        let users = DiscoverSettings.statsUsers(from: &reading).users
        let hardStop = DiscoverSettings.hardStopAfter(from: &reading)
        files = DiscoverSettings.additionFiles(&reading)
        certificates = DiscoverSettings.certificates(from: &reading)
        if path == nil { reading.problem(Self.from, "must be given: render --from FILE, or - for standard input") }
        try reading.finish()
        guard let path, let keyspace, let haproxy, let directory, let host, let hardStop else { return nil }
        (self.path, self.keyspace, self.haproxy, self.directory) = (path, keyspace, haproxy, directory)
        settings = HAProxySettings(
            host: host, statsSocket: directory.statsSocket, statesFile: directory.serverStates.path,
            hardStopAfter: hardStop, abilities: .all, statsUsers: users)
    }

    /// Prints the file, and returns the exit status.
    func run(searchPath: String) async throws -> Int32 {
        let dump = try read()
        let candidate = files.read()
        var settings = settings
        settings.snippets = candidate.snippets
        if let certificates {
            settings.certificates = CertificateFolder(certificates).texts.mapValues(CertificateCopies.digest)
        }
        // This host's name stands on the stats page: without --probe the file is the same on every machine.
        if probes {
            settings.abilities = try await abilities(searchPath)
            settings.host.openFiles = FileDescriptorLimit.limit.map { OpenFileBudget(limit: $0) }
        } else {
            settings.host.name = "localhost"
        }
        let host = settings.host
        var inputs = DesiredInputs(registry: dump.state, host: host)
        // Without --probe it is a host as most are, with both loopback addresses.
        inputs.ports.ownAddresses = probes ? IPAddress.ofThisHost() : [.loopback4, .loopback6]
        inputs.registry = dump.settled { DesiredState(DesiredInputs(registry: $0, host: host)).claims }
        inputs.certificates = Set(settings.certificates.keys)
        let desired = DesiredState(inputs)
        let wrong =
            dump.mistakes.map { "\(shownPath):\($0)" }
            + candidate.failures.sorted { $0.key < $1.key }.map { "\($0.key.variable): \($0.value)" }
            + desired.diagnostics.sorted().map { line($0, dump) }
        for line in wrong { StandardError.write(OneLine.text(line)) }
        let configuration = HAProxyConfiguration(desired, settings)
        let lines = configuration.text.split(separator: "\n", omittingEmptySubsequences: false)
        print(lines.map { StatsUser.masked(String($0)) }.joined(separator: "\n"), terminator: "")
        if let maps = configuration.maps { print(maps.comment, terminator: "") }
        return isStrict && !wrong.isEmpty ? ExitStatus.failure : ExitStatus.success
    }

    private var shownPath: String { path == "-" ? "standard input" : path }

    private func line(_ problem: Diagnostic, _ dump: RegistryDump) -> String {
        let place = dump.place(of: problem).map { "\(shownPath):\($0.line):\($0.column): " } ?? ""
        return "\(place)\(problem.subject): \(problem.explanation)"
    }

    private func read() throws(Failure) -> RegistryDump {
        let bytes: [UInt8]?
        do {
            bytes = try FileContents(named: path, limit: RegistryDump.largest).bytes
        } catch {
            throw .unreadable(error)
        }
        guard let bytes else { throw .missing(path: path) }
        do {
            return try RegistryDump(bytes, keyspace)
        } catch {
            throw .malformed(path: shownPath, error)
        }
    }

    private func abilities(_ searchPath: String) async throws -> HAProxyFeatures {
        try await HAProxyProgram.probe(haproxy, searchPath: searchPath, scratch: .temporary(in: directory)).abilities
    }
}

extension RenderCommand.Failure: CustomStringConvertible {
    /// One sentence for whoever asks.
    var description: String {
        switch self {
        case .unreadable(let error): error.description
        case .missing(let path): "there is no file \(path)"
        case .malformed(let path, let mistake): "\(path):\(mistake)"
        }
    }
}
