import Shared

/// Finds the services for whose sake HAProxy refuses a file, and what can stand in for them.
///
/// It asks HAProxy about plans: first it believes the lines and names that HAProxy itself tells, and where these do not
/// help, it halves.
struct RejectionAnalysis {
    /// What HAProxy says of a plan; nil where it takes it.
    typealias Check = (DesiredState) async throws -> ConfigErrors?

    /// The most questions; each takes some hundredths of a second, and more where there are thousands of servers.
    static let mostQuestions = 60
    /// For all questions together: nothing else is done meanwhile.
    static let limit = Duration.seconds(10)
    /// So often what HAProxy names is believed.
    private static let mostRounds = 8

    private let plan: DesiredState
    private let check: Check
    private let end = ContinuousClock.now + Self.limit

    /// How often HAProxy was asked.
    private(set) var questions = 0

    /// Examines a plan that was refused.
    init(_ plan: DesiredState, check: @escaping Check) {
        self.plan = plan
        self.check = check
    }

    /// It takes too long.
    private struct GivenUp: Error {}

    /// The refused services with what stands in for each.
    ///
    /// - Parameter section: a service's section as HAProxy has accepted it last.
    /// - Returns: nil where it is not about services, is over already, or cannot be found out in time.
    mutating func patients(
        lastAccepted section: (ServiceName) -> AcceptedSection?
    ) async throws -> [RejectedServices.RejectedService]? {
        do {
            guard let culprits = try await culprits(), !culprits.isEmpty else { return nil }
            let forms = try await forms(for: culprits.keys.sorted(), section)
            return plan.listeners.compactMap { listener in
                guard let words = culprits[listener.service] else { return nil }
                return RejectedServices.RejectedService(
                    refused: listener, form: forms[listener.service] ?? .out, words: words)
            }
        } catch is GivenUp {
            return nil
        }
    }

    private mutating func ask(_ plan: DesiredState) async throws -> ConfigErrors? {
        guard questions < Self.mostQuestions, ContinuousClock.now < end else { throw GivenUp() }
        questions += 1
        return try await check(plan)
    }

    // MARK: Who it is

    /// The culprits with HAProxy's words; nil where it is none of them.
    private mutating func culprits() async throws -> [ServiceName: String]? {
        guard var refusal = try await ask(plan), try await ask(plan.keeping([])) == nil else { return nil }
        var (sure, named): ([ServiceName: String], [ServiceName: String]) = ([:], [:])
        for _ in 0..<Self.mostRounds {
            let fresh = refusal.byLine.filter { sure[$0.key] == nil }
            let guesses = fresh.isEmpty ? refusal.byName.filter { named[$0.key] == nil && sure[$0.key] == nil } : [:]
            guard !(fresh.isEmpty && guesses.isEmpty) else { break }
            sure.merge(fresh) { first, _ in first }
            named.merge(guesses) { first, _ in first }
            let suspects = Set(sure.keys).union(named.keys)
            guard let next = try await ask(plan.without(suspects)) else {
                return sure.merging(try await confirmed(named, besides: Set(sure.keys))) { first, _ in first }
            }
            refusal = next
        }
        return sure.merging(try await searched(besides: Set(sure.keys), refusal.words)) { first, _ in first }
    }

    /// Those of the named without whom the plan is not taken.
    private mutating func confirmed(
        _ named: [ServiceName: String], besides sure: Set<ServiceName>
    ) async throws -> [ServiceName: String] {
        guard named.count > 1 || !sure.isEmpty && !named.isEmpty else { return named }
        var left = named
        for service in named.keys.sorted() {
            let others = sure.union(left.keys).subtracting([service])
            if try await ask(plan.without(others)) == nil { left[service] = nil }
        }
        return left
    }

    /// Those that are found by halving.
    private mutating func searched(
        besides known: Set<ServiceName>, _ words: String
    ) async throws -> [ServiceName: String] {
        var search = Bisection(plan.listeners.map(\.service).filter { !known.contains($0) })
        var (found, words): ([ServiceName: String], String) = ([:], words)
        while let trial = search.trial {
            let refusal = try await ask(plan.keeping(Set(trial)))
            words = refusal?.words ?? words
            search.learn(isAccepted: refusal == nil)
            if let last = search.culprits.last, found[last] == nil { found[last] = words }
        }
        if let last = search.culprits.last, found[last] == nil { found[last] = words }
        return found
    }

    // MARK: What stands in for it

    /// The best form for each that HAProxy takes.
    private mutating func forms(
        for culprits: [ServiceName], _ section: (ServiceName) -> AcceptedSection?
    ) async throws -> [ServiceName: RejectedServices.Fallback] {
        let sections = culprits.reduce(into: [:]) { $0[$1] = section($1) }
        var forms = culprits.reduce(into: [ServiceName: RejectedServices.Fallback]()) { forms, service in
            forms[service] = sections[service].map { .head($0) } ?? .out
        }
        guard try await ask(plan.with(plan.listeners.replacing(forms))) != nil else { return forms }
        for service in culprits { forms[service] = .out }
        for service in culprits {
            guard let written = sections[service] else { continue }
            for form in [RejectedServices.Fallback.head(written), .whole(written)] {
                var trial = forms
                trial[service] = form
                guard try await ask(plan.with(plan.listeners.replacing(trial))) == nil else { continue }
                forms = trial
                break
            }
        }
        return forms
    }
}

extension DesiredState {
    /// The plan with the listeners of these services only.
    fileprivate func keeping(_ services: Set<ServiceName>) -> DesiredState {
        with(listeners.filter { services.contains($0.service) })
    }

    /// The plan without the listeners of these services.
    fileprivate func without(_ services: Set<ServiceName>) -> DesiredState {
        with(listeners.filter { !services.contains($0.service) })
    }
}

/// Finds the items that make a whole unacceptable, by asking about parts of it.
///
/// The first part that is refused grows by one culprit, so each costs as many questions as the number of items can be
/// halved, and one more. Whoever asks answers ``trial`` with ``learn(isAccepted:)`` until there is none.
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
        if items.count == 1 { convict() }
    }

    /// What to ask about next; nil where the rest is known to be accepted.
    var trial: [Item]? {
        guard good < rest.count else { return nil }
        guard let bad else { return rest }
        return Array(rest[..<((good + bad) / 2)])
    }

    /// Takes the answer to ``trial``.
    mutating func learn(isAccepted: Bool) {
        guard let size = trial?.count else { return }
        if isAccepted { good = size } else { bad = size }
        if let bad, bad - good == 1 { convict() }
    }

    private mutating func convict() {
        culprits.append(rest.remove(at: good))
        bad = nil
    }
}
