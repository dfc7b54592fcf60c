import Shared
import Synchronization

/// Checks its targets again and again, and keeps the results.
///
/// Targets are set as a whole; it calls back when a result changes, and its results are read as a whole.
final class RegistrationChecker: Sendable {
    /// Why its loop turns.
    private enum Reason: Hashable {
        case targets
        case result
        case due
    }

    /// How many checks run at the same time.
    static let room = 64
    /// Checks that are due within this time begin together.
    private static let coarseness = Duration.milliseconds(5)

    private let http: HTTPClient
    private let bell = Doorbell<Reason>()
    private let wanted = LatestValue<[CheckTarget: Bool]>()
    private let finished = Mutex<[(number: Int, failure: CheckFailure?)]>([])
    private let known = Mutex<[CheckTarget: CheckResult]>([:])

    /// Begins with nothing to check.
    init(_ http: HTTPClient) { self.http = http }

    /// The results of each target; those that were not checked yet have none.
    var results: [CheckTarget: CheckResult] { known.withLock { $0 } }

    /// Makes these the targets, each with whether it counts as passing until its checks say otherwise.
    func watch(_ targets: [CheckTarget: Bool]) {
        wanted.put(targets)
        bell.ring(.targets)
    }

    /// Checks until the task is cancelled.
    ///
    /// - Parameter onChange: called when a result has changed.
    func run(onChange: @escaping @Sendable () -> Void) async throws {
        var schedule = CheckSchedule(room: Self.room)
        var clock: Task<Void, any Error>?
        defer { clock?.cancel() }
        try await withThrowingDiscardingTaskGroup { group in
            while await bell.answer() != nil {
                update(&schedule, onChange)
                for check in schedule.begin(now: .now) {
                    group.addTask { [self] in
                        let failure = await http.failure(of: check.target)
                        finished.withLock { $0.append((check.number, failure)) }
                        bell.ring(.result)
                    }
                }
                clock?.cancel()
                guard let due = schedule.nextDue else { continue }
                clock = Task { [bell] in
                    try await Task.sleep(for: max(ContinuousClock.now.duration(to: due), Self.coarseness))
                    bell.ring(.due)
                }
            }
            throw CancellationError()
        }
    }

    /// Accepts what has come since: targets and results.
    private func update(_ schedule: inout CheckSchedule, _ onChange: () -> Void) {
        let now = ContinuousClock.now
        var isChanged = false
        for result in finished.withLock({ finished in
            defer { finished = [] }
            return finished
        }) where schedule.end(result.number, result.failure, now: now) { isChanged = true }
        let targets = wanted.take()
        if let targets { schedule.watch(targets, now: now) { Double.random(in: 0.1...1) } }
        guard isChanged || targets != nil else { return }
        let results = schedule.results
        known.withLock { $0 = results }
        if isChanged { onChange() }
    }
}

extension HTTPClient {
    /// Checks a target once; nil where it passes.
    func failure(of target: CheckTarget) async -> CheckFailure? {
        let origin = HTTPOrigin.tcp("http://\(target.endpoint)")
        do {
            switch target.probe {
            case .tcp: try await connect(to: origin, deadline: target.timeout)
            case .http(let probe):
                let head = try await head(of: probe.request, at: origin, deadline: target.timeout)
                guard probe.passes(head.status) else { return .status(head.status) }
            }
            return nil
        } catch HTTPError.unreachable(_, let reason, _) {
            return .noConnection(reason)
        } catch HTTPError.timedOut(_, let limit) {
            return .noAnswer(within: limit)
        } catch HTTPError.broken(_, let reason) {
            return .broken(reason)
        } catch {
            return .broken("\(error)")
        }
    }
}

extension CheckTarget.HTTPProbe {
    /// What is sent.
    var request: HTTPRequest {
        let method: HTTPRequest.Method =
            switch method {
            case .get: .get
            case .head: .head
            case .options: .options
            case .post: .post([])
            }
        return HTTPRequest(method, path.description, headers: host.map { [("Host", $0.description)] } ?? [])
    }
}
