/// Which of the additions that are offered can be used: all of them, or each that is not refused by itself.
///
/// A wrong file costs only itself, and whatever was accepted at its place before stays.
struct AdditionReview {
    /// What can be used.
    private(set) var accepted: Additions

    /// Why a file is not used, by place.
    private(set) var refusals: [Addition.Place: String]

    /// Has additions checked.
    ///
    /// - Parameters:
    ///   - offer: what is offered.
    ///   - before: what is used at the places of wrong files.
    ///   - check: gives the reason why a file with these additions is refused; nil where it is not.
    init(
        of offer: AdditionFiles.Offer, before: Additions, check: (Additions) async throws -> String?
    ) async throws {
        var wanted = offer.additions
        refusals = offer.failures.mapValues(\.description)
        for place in offer.failures.keys { wanted[place] = before[place] }
        guard try await check(wanted) != nil else {
            accepted = wanted
            return
        }
        // What was right once need not be for another HAProxy.
        accepted = try await check(before) == nil ? before : Additions()
        for place in Addition.Place.allCases where wanted[place] != accepted[place] {
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
