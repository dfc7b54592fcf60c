extension Docker {
    /// What a container's HEALTHCHECK says of it.
    enum Health: Hashable, Sendable {
        /// It has neither passed yet nor failed often enough.
        case starting
        /// It passes.
        case healthy
        /// It has failed as often in a row as makes it unhealthy, or more often.
        case unhealthy(failures: Int)

        /// Takes the engine's word; nil where there is no HEALTHCHECK: `none`, and Podman's empty text.
        init?(word: String, failures: Int) {
            switch word {
            case "starting": self = .starting
            case "healthy": self = .healthy
            case "unhealthy": self = .unhealthy(failures: failures)
            default: return nil
            }
        }
    }
}

extension Docker.Health: CustomStringConvertible {
    /// The engine's word, with how often it has failed in a row.
    var description: String {
        switch self {
        case .starting: "starting"
        case .healthy: "healthy"
        case .unhealthy(let failures): "unhealthy, \(failures) failed in a row"
        }
    }
}
