import Shared

/// An endpoint that was lost and stays in service for a while, because it still answers and hardly any would be left.
struct HeldEndpoint: Equatable, Sendable {
    /// What its entry was called.
    let name: EntryID
    /// Where it leads.
    let endpoint: Endpoint
    /// When it was lost, as time since the beginning of 1970.
    let since: Duration
    /// When it goes at the latest.
    let until: Duration
    /// How it was lost.
    let reason: LostEntry.Cause

    /// Why a hold ended.
    enum EndReason: Hashable, Sendable {
        /// Its entry is there again.
        case registered
        /// It was withdrawn after all.
        case withdrawn
        /// Another entry leads to its address now.
        case replaced(by: EntryID)
        /// HAProxy found it down.
        case failed
        /// The hold time is over.
        case expired
        /// Somebody asked for it.
        case released
    }
}

extension HeldEndpoint.EndReason: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .registered: "registered again"
        case .withdrawn: "withdrawn"
        case .replaced(let name): "replaced by \(name)"
        case .failed: "down"
        case .expired: "hold time over"
        case .released: "released"
        }
    }
}

/// What changed about the held endpoints of one service.
enum HoldChange: Equatable, Sendable {
    /// These are held from now on; so many endpoints are registered besides.
    case began([HeldEndpoint], registered: Int)
    /// These are held no more.
    case ended([HeldEndpoint], HeldEndpoint.EndReason)

    /// Those that it is about.
    var holds: [HeldEndpoint] {
        switch self {
        case .began(let holds, _), .ended(let holds, _): holds
        }
    }
}

/// What HAProxy says of the servers of some services.
struct ServerHealth: Equatable, Sendable {
    /// What it says of one.
    enum State: Equatable, Sendable {
        case up
        case down
        /// It has no such server.
        case absent
    }

    /// The servers that it has, and whether they are up.
    var isUp: [EntryID: Bool] = [:]

    /// What it says of the server of an entry.
    subscript(_ name: EntryID) -> State { isUp[name].map { $0 ? .up : .down } ?? .absent }
}
