import Shared

/// Compares what etcd counts with what a watch has told: a watch that has missed something is found out without a
/// listing, which costs etcd ten times as much.
///
/// etcd lists the keys that were put since the last time, and counts all of them. Changes go on meanwhile, so it is known
/// for a while how many keys there were at each revision.
struct RegistryAudit: Sendable {
    private struct Tally {
        let revision: Int64
        let claimsRevision: Int64
        let count: Int
        let claimCount: Int

        init(_ state: RegistryState) {
            (revision, claimsRevision) = (state.revision, state.claimsRevision ?? 0)
            (count, claimCount) = (state.expectedCount, state.expectedClaimCount)
        }
    }

    private var tallies: [Tally]

    /// Begins before etcd is asked.
    init(_ state: RegistryState) { tallies = [Tally(state)] }

    /// Notes a state that came after the ones before.
    mutating func note(_ state: RegistryState) { tallies.append(Tally(state)) }

    /// Whether the newest state has all that etcd has told; what is on its way may be missing yet.
    ///
    /// - Parameters:
    ///   - news: of routes and endpoints.
    ///   - claims: of claims of ports; nil where these are not followed.
    func agrees(_ state: RegistryState, _ news: Etcd.RangeResult, _ claims: Etcd.RangeResult?) -> Bool {
        guard news.clusterID == state.clusterID, Self.hasAll(of: news, state, reached: state.revision),
            tallies.last(where: { $0.revision <= news.revision })?.count == Int(news.count)
        else { return false }
        guard let claims, let reached = state.claimsRevision else { return true }
        return Self.hasAll(of: claims, state, reached: reached)
            && tallies.last { $0.claimsRevision <= claims.revision }?.claimCount == Int(claims.count)
    }

    private static func hasAll(of news: Etcd.RangeResult, _ state: RegistryState, reached: Int64) -> Bool {
        news.keyValues.allSatisfy { keyValue in
            guard state.keyspace.hasPart(for: keyValue.key) else { return true }
            // One that is not there was deleted since, or has not come yet.
            return state.modRevision(of: keyValue.key).map { $0 >= keyValue.modRevision } ?? (reached > news.revision)
        }
    }

    /// How far apart audits of one consumer are, an hour at most.
    ///
    /// Those of all consumers together take etcd a fiftieth of a processor: it looks at each key in about a microsecond.
    static func interval(keys: Int, agents: Int) -> Duration {
        min(.microseconds(50) * keys * max(1, agents), .seconds(3600))
    }
}
