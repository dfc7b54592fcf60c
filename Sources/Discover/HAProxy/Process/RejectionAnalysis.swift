import Shared

/// Finds the services for whose sake HAProxy rejects a file, and what can stand in for them.
///
/// It asks HAProxy about parts of what is desired: first it believes the lines that HAProxy itself names, and where these
/// do not help, it halves.
struct RejectionAnalysis {
    /// What HAProxy says of a desired state; nil where it accepts it.
    typealias Check = (DesiredState) async throws -> ConfigErrors?

    /// The most questions; each takes some hundredths of a second, and more where there are thousands of servers.
    static let maxQuestions = 60
    /// For all questions together: nothing else is done meanwhile.
    static let limit = Duration.seconds(10)
    /// So often what HAProxy names is believed.
    private static let maxRounds = 8

    private let desired: DesiredState
    private let check: Check
    private let end = ContinuousClock.now + Self.limit

    /// How often HAProxy was asked.
    private(set) var questions = 0

    /// Analyses what was rejected.
    init(_ desired: DesiredState, check: @escaping Check) {
        self.desired = desired
        self.check = check
    }

    /// It takes too long.
    private struct GivenUp: Error {}

    /// The rejected services with what stands in for each.
    ///
    /// - Parameter section: a service's section as HAProxy last accepted it.
    /// - Returns: nil where it is not about services, is over already, or cannot be found out in time.
    mutating func rejected(
        lastAccepted section: (ServiceName) -> AcceptedSection?
    ) async throws -> [RejectedServices.RejectedService]? {
        do {
            guard let culprits = try await culprits(), !culprits.isEmpty else { return nil }
            let listeners = desired.listeners.filter { culprits[$0.service] != nil }
            let fallbacks = try await fallbacks(for: listeners, section)
            return listeners.map { listener in
                RejectedServices.RejectedService(
                    listener: listener, fallback: fallbacks[listener.service] ?? .leftOut,
                    error: culprits[listener.service] ?? "")
            }
        } catch is GivenUp {
            return nil
        }
    }

    private mutating func ask(_ listeners: [DesiredState.Listener]) async throws -> ConfigErrors? {
        guard questions < Self.maxQuestions, ContinuousClock.now < end else { throw GivenUp() }
        questions += 1
        return try await check(desired.with(listeners))
    }

    /// The culprits with HAProxy's words; nil where it is none of them.
    private mutating func culprits() async throws -> [ServiceName: String]? {
        guard var errors = try await ask(desired.listeners), try await ask([]) == nil else { return nil }
        var found: [ServiceName: String] = [:]
        for _ in 0..<Self.maxRounds {
            let named = errors.byLine.filter { found[$0.key] == nil }
            guard !named.isEmpty else { break }
            found.merge(named) { first, _ in first }
            guard let next = try await ask(desired.listeners.filter { found[$0.service] == nil }) else { return found }
            errors = next
        }
        return found.merging(try await bisected(besides: found, errors.words)) { first, _ in first }
    }

    /// Those that are found by halving.
    private mutating func bisected(
        besides found: [ServiceName: String], _ words: String
    ) async throws -> [ServiceName: String] {
        var search = Bisection(desired.listeners.map(\.service).filter { found[$0] == nil })
        var (culprits, words): ([ServiceName: String], String) = ([:], words)
        while let trial = search.trial.map({ Set($0) }) {
            let errors = try await ask(desired.listeners.filter { trial.contains($0.service) })
            words = errors?.words ?? words
            search.record(isAccepted: errors == nil)
            if let last = search.culprits.last, culprits[last] == nil { culprits[last] = words }
        }
        if let last = search.culprits.last, culprits[last] == nil { culprits[last] = words }
        return culprits
    }

    /// The best for each that HAProxy accepts: its last section with all servers, or with those that were accepted.
    private mutating func fallbacks(
        for listeners: [DesiredState.Listener], _ section: (ServiceName) -> AcceptedSection?
    ) async throws -> [ServiceName: RejectedServices.Fallback] {
        let sections = listeners.reduce(into: [:]) { $0[$1.service] = section($1.service) }
        let best = sections.mapValues { RejectedServices.Fallback.accepted($0, rejecting: []) }
        var chosen = listeners.reduce(into: [:]) { $0[$1.service] = RejectedServices.Fallback.leftOut }
        let all = chosen.merging(best) { $1 }
        guard try await ask(desired.listeners.replacing(all)) != nil else { return all }
        for listener in listeners {
            guard let section = sections[listener.service] else { continue }
            for rejecting in [[], Set(listener.servers.map(\.id))] {
                var trial = chosen
                trial[listener.service] = .accepted(section, rejecting: rejecting)
                guard try await ask(desired.listeners.replacing(trial)) == nil else { continue }
                chosen = trial
                break
            }
        }
        return chosen
    }
}

/// Finds the items that make a whole unacceptable, by asking about parts of it.
///
/// The first part that is refused grows by one culprit, so each costs as many questions as the number of items can be
/// halved, and one more. Whoever asks answers ``trial`` with ``record(isAccepted:)`` until there is none.
struct Bisection<Item: Hashable & Sendable>: Equatable, Sendable {
    /// The culprits that were found, in the order of the items.
    private(set) var culprits: [Item] = []
    private var rest: [Item]
    /// So many of the rest, from the beginning, are accepted together; that many are not, or nil where all may be.
    private var good = 0
    private var bad: Int?

    /// Begins with items that are refused together, none of which would be accepted.
    init(_ items: [Item]) {
        rest = items
        bad = items.isEmpty ? nil : items.count
        if items.count == 1 { addCulprit() }
    }

    /// What to ask about next; nil where the rest is known to be accepted.
    var trial: [Item]? {
        guard good < rest.count else { return nil }
        guard let bad else { return rest }
        return Array(rest[..<((good + bad) / 2)])
    }

    /// Records the answer to ``trial``.
    mutating func record(isAccepted: Bool) {
        guard let size = trial?.count else { return }
        if isAccepted { good = size } else { bad = size }
        if let bad, bad - good == 1 { addCulprit() }
    }

    private mutating func addCulprit() {
        culprits.append(rest.remove(at: good))
        bad = nil
    }
}
