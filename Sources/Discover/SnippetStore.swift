import Shared

/// The snippets of haproxy.cfg: those in use, and those that were read and not reviewed yet.
///
/// One that is wrong at the start is left out. One that is wrong later changes nothing: what runs stays. Where HAProxy does
/// not load new ones although its check found them right, those that it runs come back into use.
struct SnippetStore {
    private let logger: Logger
    private var candidate: SnippetFiles.Candidate?
    private var isWaitLogged = false
    /// Those with which HAProxy has run: its check does not find all that ends it at the start.
    private var loaded = ConfigSnippets()

    /// Those in use.
    private(set) var accepted = ConfigSnippets()

    /// Why files are not used as they are now.
    private(set) var errors: [ConfigSnippet.Location: String] = [:]

    /// Makes one that has none.
    init(_ logger: Logger) {
        self.logger = logger
    }

    /// Whether some were read and could not be reviewed yet.
    var isPending: Bool { candidate != nil }

    /// Accepts what the files say now, for review.
    mutating func accept(_ candidate: SnippetFiles.Candidate) {
        self.candidate = candidate
    }

    /// Reviews what was read: all of it is used, or each that is not rejected by itself.
    ///
    /// - Parameter check: gives the reason why a file with these snippets is rejected; nil where it is not.
    mutating func review(check: (ConfigSnippets) async throws -> String?) async {
        guard let candidate else { return }
        var wanted = candidate.snippets
        for location in candidate.failures.keys { wanted[location] = accepted[location] }
        var (next, errors) = (wanted, candidate.failures.mapValues(\.description))
        do {
            if try await check(wanted) != nil {
                // What was right once need not be now.
                next = try await check(accepted) == nil ? accepted : ConfigSnippets()
                for location in ConfigSnippet.Location.allCases where wanted[location] != next[location] {
                    var trial = next
                    trial[location] = wanted[location]
                    if let error = try await check(trial) { errors[location] = error } else { next = trial }
                }
            }
        } catch {
            if !isWaitLogged, !Task.isCancelled {
                logger.warning("cannot check snippets; retrying", ["error": "\(error)"])
            }
            isWaitLogged = true
            return
        }
        (self.candidate, isWaitLogged, self.errors) = (nil, false, errors)
        let before = accepted
        accepted = next
        log(errors)
        logUse(before)
    }

    /// Records that HAProxy runs with those in use.
    mutating func recordLoaded() {
        loaded = accepted
    }

    /// Goes back to the snippets that HAProxy runs from those with which it did not load; to none where it ran without.
    ///
    /// - Returns: whether others are in use now.
    mutating func revert(because error: String, toNone: Bool = false) -> Bool {
        let before = accepted
        if toNone { loaded = ConfigSnippets() }
        accepted = loaded
        let changed = ConfigSnippet.Location.allCases.filter { before[$0] != accepted[$0] }
        let found = Dictionary(uniqueKeysWithValues: changed.map { ($0, error) })
        errors.merge(found) { $1 }
        log(found)
        return !changed.isEmpty
    }

    private func log(_ errors: [ConfigSnippet.Location: String]) {
        for (location, error) in errors.sorted(by: { $0.key < $1.key }) {
            let fields: Logger.Fields = ["setting": "\(location.variable)", "error": error]
            if accepted[location] == nil {
                logger.error("snippet rejected; left out", fields)
            } else {
                logger.error("snippet rejected; keeping the previous one", fields)
            }
        }
    }

    private func logUse(_ before: ConfigSnippets) {
        if accepted.isEmpty {
            if accepted != before { logger.info("snippets removed") }
            return
        }
        logger.info(
            accepted == before ? "snippets unchanged" : "loaded haproxy.cfg snippets",
            [
                "global": accepted[.global]?.path, "defaults": accepted[.defaults]?.path,
                "extra": accepted[.extra]?.path,
            ])
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
