import FoundationEssentials
import Shared
import Synchronization

/// What is known of one output, as `status` shows it.
struct OutputStatus: Encodable, Equatable, Sendable {
    /// Where it is.
    var file: String
    /// Whether it is as the catalog says, and its reader was told.
    var current = false
    /// When it was last written, RFC 3339.
    var written: String?
    /// When its reader was last told, RFC 3339.
    var reloaded: String?
    /// Since when, and why, it is not as it should be.
    var failure: ErrorRecord?
    /// What was left out of it, and why.
    var problems: [String] = []
}

/// Keeps all outputs at what is in service on this host.
///
/// Each output has a task of its own, so that none delays another, nor HAProxy.
final class Outputs: Sendable {
    /// What all outputs are made from.
    private struct Sources {
        var desired: DesiredState?
        var revision: Int64 = 0
        /// The endpoints that HAProxy's checks find down.
        var down: [ServiceName: Set<InstanceID>] = [:]
        /// The keys of each range; a range is missing until it was read.
        var keys: [String: [String: String]] = [:]
    }

    private struct State {
        var file: OutputsFile
        var statuses: [String: OutputStatus] = [:]
        /// Rings for the outputs of now.
        var bells: [Doorbell<Bool>] = []
    }

    private enum News { case catalog, file }

    /// What outputs have in common.
    struct Context: Sendable {
        /// This host.
        let host: HostSettings
        /// How the registry is followed.
        let mode: RegistryWatcher.Mode
        /// Where is kept what was reloaded.
        let folder: String
        /// The environment of the outputs' programs.
        let environment: [String: String]
    }

    private let settings: Context
    private let client: Etcd.Client
    private let log: Logger
    private let sources = Mutex(Sources())
    private let state: Mutex<State>
    private let newest = SharedSnapshot<OutputCatalog?>(nil)
    private let bell = Doorbell<News>()

    /// The longest wait before a failed output is tried again.
    private static let longestRetry = Duration.seconds(60)

    /// Takes the outputs of a file.
    init(_ file: OutputsFile, _ settings: Context, _ client: Etcd.Client, _ log: Logger) {
        (self.settings, self.client, self.log) = (settings, client, log)
        state = Mutex(State(file: file))
    }

    /// What is known of each output, in the order of the file.
    var statuses: [OutputStatus] {
        state.withLock { state in state.file.outputs.map { state.statuses[$0.file] ?? OutputStatus(file: $0.file) } }
    }

    /// The outputs as they are now.
    var definitions: [OutputDefinition] { state.withLock { $0.file.outputs } }

    /// The keys that were read; nil where some of them were not.
    var keys: [String: String]? {
        let wanted = Set(definitions.flatMap(\.keys))
        return sources.withLock { sources in
            guard wanted.allSatisfy({ sources.keys[$0] != nil }) else { return nil }
            return sources.keys.values.reduce(into: [:]) { $0.merge($1) { first, _ in first } }
        }
    }

    /// Takes what should run now.
    func accept(_ desired: DesiredState, revision: Int64) {
        sources.withLock { ($0.desired, $0.revision) = (desired, revision) }
        bell.ring(.catalog)
    }

    /// Reads the file again; one that is wrong changes nothing.
    func readFile() {
        let path = state.withLock { $0.file.path }
        do {
            let file = try OutputsFile(path)
            state.withLock { state in
                state.file = file
                state.statuses = state.statuses.filter { known in file.outputs.contains { $0.file == known.key } }
            }
            log.info("outputs file loaded", ["file": path, "outputs": file.outputs.count])
            bell.ring(.file)
        } catch {
            log.error(
                "outputs file rejected; keeping the previous one",
                ["file": path, "mistakes": error.count, "reason": error.problems.joined(separator: "; ")])
        }
    }

    /// Works until the task is cancelled.
    ///
    /// - Parameter access: the HAProxy whose checks say what is down; nil where there is none.
    func run(_ access: HAProxyAccess?) async {
        await withDiscardingTaskGroup { group in
            if let access { group.addTask { await self.watchChecks(access) } }
            group.addTask { await self.follow() }
        }
    }
}

// MARK: The catalog

extension Outputs {
    /// Puts a catalog together with each ring, and has the outputs of the file follow it.
    private func follow() async {
        var builder = OutputCatalogBuilder()
        var work: Task<Void, Never>? = begin()
        while let news = await bell.answer() {
            if news.contains(.file) {
                work?.cancel()
                await work?.value
                work = begin()
            }
            guard let catalog = catalog(&builder) else { continue }
            newest.put(catalog)
            for bell in state.withLock({ $0.bells }) { bell.ring(true) }
        }
        work?.cancel()
        await work?.value
    }

    /// The catalog of now; nil before etcd has told of all that is in it.
    private func catalog(_ builder: inout OutputCatalogBuilder) -> OutputCatalog? {
        guard let keys else { return nil }
        let (desired, revision, down) = sources.withLock { ($0.desired, $0.revision, $0.down) }
        guard let desired else { return nil }
        return OutputCatalog(
            revision: revision, host: settings.host.name, zone: settings.host.zone,
            services: builder.services(of: desired, down: down), routes: builder.routes(of: desired), keys: keys)
    }

    /// Begins with the outputs of the file, and with the keys that they want.
    private func begin() -> Task<Void, Never> {
        let outputs = definitions
        let bells = outputs.map { _ in Doorbell<Bool>() }
        let ranges = Set(outputs.flatMap(\.keys))
        state.withLock { $0.bells = bells }
        sources.withLock { sources in sources.keys = sources.keys.filter { ranges.contains($0.key) } }
        return Task {
            await withDiscardingTaskGroup { group in
                for (output, bell) in zip(outputs, bells) { group.addTask { await self.keep(output, bell) } }
                for prefix in ranges {
                    let range = KeyRange(prefix: prefix, client: client, mode: settings.mode, log: log)
                    group.addTask {
                        await range.follow { keys in
                            self.sources.withLock { $0.keys[prefix] = keys }
                            self.bell.ring(.catalog)
                        }
                    }
                }
            }
        }
    }

    /// Asks HAProxy again and again which endpoints its checks find down; it takes a twentieth of its time at most.
    private func watchChecks(_ access: HAProxyAccess) async {
        while !Task.isCancelled {
            let begin = ContinuousClock.now
            if let report = try? await access.runtime.report() {
                let down = report.downEndpoints
                let isNews = sources.withLock { sources in
                    defer { sources.down = down }
                    return sources.down != down
                }
                if isNews { bell.ring(.catalog) }
            }
            try? await Task.sleep(for: max(.seconds(1), begin.duration(to: .now) * 20))
        }
    }
}

// MARK: One output

extension Outputs {
    /// Keeps one output at the newest catalog.
    private func keep(_ output: OutputDefinition, _ bell: Doorbell<Bool>) async {
        var writer = OutputWriter(
            output, folder: settings.folder, environment: settings.environment)
        var backoff = Backoff(first: .seconds(1), limit: Self.longestRetry)
        var retry: Task<Void, any Error>?
        var begun: ContinuousClock.Instant?
        defer { retry?.cancel() }
        bell.ring(true)
        while await bell.answer() != nil {
            if let begun { try? await Task.sleep(until: begun + output.wait, clock: .continuous) }
            guard !Task.isCancelled else { return }
            guard let catalog = newest.read() else { continue }
            begun = .now
            retry?.cancel()
            do {
                record(try await writer.apply(catalog), of: output)
                backoff.reset()
            } catch {
                guard !Task.isCancelled else { return }
                record(error, of: output)
                retry = bell.ring(true, in: backoff.next())
            }
        }
    }

    private func record(_ outcome: OutputWriter.Outcome, of output: OutputDefinition) {
        let now = Timestamp.text(Timestamp.now())
        let (wasFailing, problems) = change(output) { status in
            let wasFailing = status.failure != nil
            let news = (outcome.problems ?? []).filter { !status.problems.contains($0) }
            (status.current, status.failure) = (true, nil)
            status.problems = outcome.problems ?? status.problems
            if outcome.written > 0 { status.written = now }
            if outcome.isReloaded { status.reloaded = now }
            return (wasFailing, news)
        }
        for problem in problems { log.warning("output is incomplete", ["file": output.file, "reason": problem]) }
        if wasFailing { log.info("output recovered", ["file": output.file]) }
        guard outcome.written > 0 || outcome.isReloaded else { return }
        log.info(
            "output updated", ["file": output.file, "written": outcome.written, "reloaded": outcome.isReloaded])
    }

    private func record(_ error: any Error, of output: OutputDefinition) {
        let failed = ErrorRecord(error)
        let isNews = change(output) { status in
            status.current = false
            guard status.failure?.error != failed.error else { return false }
            status.failure = failed
            return true
        }
        if isNews {
            log.error("output failed; keeping the last good file", ["file": output.file, "error": failed.error])
        }
    }

    private func change<Value: Sendable>(
        _ output: OutputDefinition, _ body: @Sendable (inout OutputStatus) -> Value
    ) -> Value {
        state.withLock { body(&$0.statuses[output.file, default: OutputStatus(file: output.file)]) }
    }
}

/// Follows the plain keys below a prefix.
struct KeyRange: Sendable {
    /// What they begin with.
    let prefix: String
    /// The client.
    let client: Etcd.Client
    /// How to follow them.
    let mode: RegistryWatcher.Mode
    /// Where is said that they cannot be read.
    let log: Logger

    /// For one page of a listing.
    private static let deadline = Duration.seconds(8)
    /// The longest between two listings.
    private static let interval = Duration.seconds(60)

    /// Hands over the keys with their values each time that they change, until the task is cancelled.
    func follow(_ publish: @escaping @Sendable ([String: String]) -> Void) async {
        var backoff = Backoff(first: .milliseconds(100), limit: .seconds(5))
        var outage = Outage<String>()
        while !Task.isCancelled {
            do {
                let listing = try await client.range(prefix: prefix, deadline: Self.deadline)
                if outage.succeeded() { log.info("keys readable again", ["prefix": prefix]) }
                backoff.reset()
                let keys = Dictionary(listing.keyValues.map(Self.text)) { $1 }
                publish(keys)
                switch mode {
                case .poll(let interval): try await Task.sleep(for: interval)
                case .watch: try await watch(after: listing, keys, publish)
                }
            } catch {
                guard !Task.isCancelled else { return }
                if outage.failed("\(error)") {
                    log.warning("cannot read keys; keeping what was read", ["prefix": prefix, "error": "\(error)"])
                }
                try? await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Watches until it is time to list again, or only that helps.
    private func watch(
        after listing: Etcd.RangeResult, _ keys: [String: String],
        _ publish: @escaping @Sendable ([String: String]) -> Void
    ) async throws {
        let limit = Self.interval * Double.random(in: 0.75...1)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                var keys = keys
                let watch = client.watch(prefix: prefix, after: listing.revision, of: listing.clusterID)
                for try await changes in watch where !changes.events.isEmpty {
                    for event in changes.events {
                        switch event {
                        case .put(let keyValue):
                            let (key, value) = Self.text(keyValue)
                            keys[key] = value
                        case .delete(let key, _): keys[Self.text(key)] = nil
                        }
                    }
                    publish(keys)
                }
            }
            group.addTask { try await Task.sleep(for: limit) }
            try await group.next()
        }
    }

    /// A key and its value as texts, damaged where they are not UTF-8.
    static func text(_ keyValue: Etcd.KeyValue) -> (String, String) { (text(keyValue.key), text(keyValue.value)) }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

extension RuntimeAPI.Report {
    /// The endpoints that checks find down.
    var downEndpoints: [ServiceName: Set<InstanceID>] {
        states.reduce(into: [:]) { down, state in
            guard state.isDown, let service = ServiceName(state.section), let id = InstanceID(state.server) else {
                return
            }
            down[service, default: []].insert(id)
        }
    }
}
