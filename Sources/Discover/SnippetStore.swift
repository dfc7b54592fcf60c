import Shared

/// Keeps what an operator adds to haproxy.cfg: what is in use, and what is offered and not yet reviewed.
struct SnippetStore {
    private let copy: ConfigSnippets.Copy
    private let logger: Logger
    private var offer: SnippetFiles.Candidate?
    private var isWaiting = false
    /// What HAProxy has run with: its check does not find all that ends it at the start.
    private var loaded: ConfigSnippets
    /// What was in use and loaded before it was taken back, and why, until HAProxy runs without it.
    private var suspects: (accepted: ConfigSnippets, loaded: ConfigSnippets, reasons: [ConfigSnippet.Location: String])?
    /// Whether HAProxy did not run without it either.
    private var isCleared = false

    /// What is in use.
    private(set) var accepted: ConfigSnippets

    /// Why files are not used as they are now.
    private(set) var refusals: [ConfigSnippet.Location: String] = [:]

    /// Begins with what an earlier run used.
    init(_ copy: ConfigSnippets.Copy, logger: Logger) {
        self.copy = copy
        self.logger = logger
        loaded = copy.load() ?? ConfigSnippets()
        accepted = loaded
    }

    /// Takes what the files say now.
    mutating func take(_ offer: SnippetFiles.Candidate) {
        self.offer = offer
        (suspects, isCleared) = (nil, false)
    }

    /// Reviews what is offered, if anything is.
    ///
    /// - Parameter check: gives the reason why a file with these additions is refused; nil where it is not.
    /// - Returns: whether that is settled; where nothing could be checked, the offer stands.
    mutating func settle(check: (ConfigSnippets) async throws -> String?) async -> Bool {
        guard let offer else { return true }
        let before = accepted
        do {
            let review = try await SnippetReview(of: offer, before: before, check: check)
            accepted = review.accepted
            refusals = review.refusals
            self.offer = nil
            isWaiting = false
            tell(review.refusals)
            tellUse(before: before)
        } catch {
            if !isWaiting, !Task.isCancelled {
                logger.warning("cannot check what is added to haproxy.cfg; trying again", ["error": "\(error)"])
            }
            isWaiting = true
            return false
        }
        save(before)
        return true
    }

    /// Notes that HAProxy runs with what is in use.
    mutating func noteLoaded() {
        loaded = accepted
        if let suspects {
            refusals.merge(suspects.reasons) { $1 }
            tell(suspects.reasons)
        }
        (suspects, isCleared) = (nil, false)
    }

    /// Takes back what HAProxy found right and then did not run with.
    ///
    /// Where HAProxy does not run without it either, as with a port of its own that is taken, it is used again.
    ///
    /// - Parameter isRunning: whether HAProxy ran before it was tried, so that what it had loaded is right.
    /// - Returns: whether something else is in use now, to be tried.
    mutating func takeBack(because reason: String, isRunning: Bool) -> Bool {
        guard !isCleared else { return false }
        let (before, loadedBefore) = (accepted, loaded)
        // What was right once need not be now.
        if !isRunning, accepted == loaded { loaded = ConfigSnippets() }
        accepted = loaded
        guard accepted != before else { return giveBack() }
        var suspects = suspects ?? (before, loadedBefore, [:])
        for place in ConfigSnippet.Location.allCases where before[place] != accepted[place] {
            suspects.reasons[place] = reason
        }
        self.suspects = suspects
        save(before)
        return true
    }

    private mutating func giveBack() -> Bool {
        guard let suspects else { return false }
        let before = accepted
        (accepted, loaded) = (suspects.accepted, suspects.loaded)
        (self.suspects, isCleared) = (nil, true)
        save(before)
        return true
    }

    private func tell(_ refusals: [ConfigSnippet.Location: String]) {
        for place in ConfigSnippet.Location.allCases {
            guard let reason = refusals[place] else { continue }
            let fields: Logger.Fields = ["of": "\(place.variable)", "error": reason]
            if accepted[place] == nil {
                logger.error("a file that is added to haproxy.cfg is wrong and left out", fields)
            } else {
                logger.error("a file that is added to haproxy.cfg is wrong; what it said before stays", fields)
            }
        }
    }

    private func tellUse(before: ConfigSnippets) {
        if accepted.isEmpty {
            if accepted != before { logger.info("nothing is added to haproxy.cfg any more") }
            return
        }
        logger.info(
            accepted == before ? "what is added to haproxy.cfg stays as it was" : "took what is added to haproxy.cfg",
            [
                "global": accepted[.global]?.path, "defaults": accepted[.defaults]?.path,
                "extra": accepted[.extra]?.path,
            ])
    }

    private func save(_ before: ConfigSnippets) {
        guard accepted != before else { return }
        do {
            try copy.save(accepted)
        } catch {
            logger.warning("cannot keep what is added to haproxy.cfg for the next start", ["error": "\(error)"])
        }
    }
}

extension ConfigSnippet.Location {
    /// The setting that names its file.
    var variable: String {
        switch self {
        case .global: DiscoverSettings.globalFile.variable
        case .defaults: DiscoverSettings.defaultsFile.variable
        case .extra: DiscoverSettings.extraFile.variable
        }
    }
}

/// Which of the additions that are offered can be used: all of them, or each that is not refused by itself.
///
/// A wrong file costs only itself, and whatever was accepted at its place before stays.
struct SnippetReview {
    /// What can be used.
    private(set) var accepted: ConfigSnippets

    /// Why a file is not used, by place.
    private(set) var refusals: [ConfigSnippet.Location: String]

    /// Has additions checked.
    ///
    /// - Parameters:
    ///   - offer: what is offered.
    ///   - before: what is used at the places of wrong files.
    ///   - check: gives the reason why a file with these additions is refused; nil where it is not.
    init(
        of offer: SnippetFiles.Candidate, before: ConfigSnippets, check: (ConfigSnippets) async throws -> String?
    ) async throws {
        var wanted = offer.additions
        refusals = offer.failures.mapValues(\.description)
        for place in offer.failures.keys { wanted[place] = before[place] }
        guard try await check(wanted) != nil else {
            accepted = wanted
            return
        }
        // What was right once need not be for another HAProxy.
        accepted = try await check(before) == nil ? before : ConfigSnippets()
        for place in ConfigSnippet.Location.allCases where wanted[place] != accepted[place] {
            var trial = accepted
            trial[place] = wanted[place]
            if let reason = try await check(trial) {
                refusals[place] = refusals[place] ?? reason
            } else {
                accepted = trial
            }
        }
    }
}
