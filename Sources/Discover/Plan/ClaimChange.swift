import Shared

/// A change of the registry's claims of ports, which holds only as long as nobody else changes the same claim.
enum ClaimChange: Equatable, Sendable {
    /// A service is to keep a port; `replacing` is the revision of its claim until now, nil where it has none.
    case put(ServiceName, PortClaim, replacing: Int64?)
    /// A claim of this revision is no longer needed.
    case delete(ServiceName, revision: Int64)
}
