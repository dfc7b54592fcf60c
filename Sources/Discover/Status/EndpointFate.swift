import Shared

/// What becomes of an endpoint, and why it gets no connections where it gets none.
struct EndpointFate: Equatable, Sendable {
    /// What becomes of it.
    enum State: String, Encodable, Sendable {
        /// HAProxy gives it connections.
        case serving
        /// It is used when none of the others works.
        case spare
        /// HAProxy's checks find it down.
        case down
        /// It is given no new connections: its weight is 0, or somebody told HAProxy so.
        case drained
        /// Somebody put it into maintenance.
        case maintenance
        /// HAProxy does not have it, or not as the registry says.
        case pending
        /// Its service is not served, or it leads back to this HAProxy.
        case leftOut
        /// It is no longer wanted and ends its connections.
        case leaving
        /// HAProxy does not answer.
        case unknown
    }

    /// What becomes of it.
    var state: State
    /// Why it gets no connections; empty where it does.
    var reasons: [String]

    /// What decides.
    struct Facts {
        /// Where the registry says that it is.
        var endpoint: Endpoint
        /// Whether its service has a listener.
        var isServed = true
        /// Whether it is a listener of this HAProxy, from which its connections would come back.
        var leadsBack = false
        /// Whether HAProxy has told what it does.
        var isSeen = true
        /// What HAProxy says of it; nil where it has no such server.
        var sight: ServerSight?
        /// Why HAProxy may be behind the registry; nil where it should not be.
        var delay: String?
        /// Who says that its weight is 0; nil where nobody does.
        var zeroWeight: String?
        /// Why it is used only when others do not work; nil where it is not so.
        var backup: String?
        /// Whether another endpoint of the service that is no backup takes connections.
        var hasBetter = false
    }

    /// Decides.
    init(_ facts: Facts) {
        guard facts.isServed else {
            self.init(.leftOut, "its service is not served here")
            return
        }
        guard !facts.leadsBack else {
            self.init(.leftOut, "this HAProxy itself listens there, so connections would go in circles")
            return
        }
        guard facts.isSeen else {
            self.init(.unknown, "HAProxy does not say what it does")
            return
        }
        guard let sight = facts.sight else {
            self.init(.pending, "HAProxy does not have it yet" + (facts.delay.map { ": \($0)" } ?? ""))
            return
        }
        if let place = sight.endpoint, place != facts.endpoint {
            let delay = facts.delay.map { ": \($0)" } ?? ""
            self.init(.pending, "HAProxy still sends its connections to \(place)\(delay)")
            return
        }
        self.init(facts, sight)
    }

    private init(_ facts: Facts, _ sight: ServerSight) {
        let age = DurationText.text(.seconds(sight.age))
        if sight.isInMaintenance {
            self.init(.maintenance, "it was put into maintenance by a command to HAProxy, \(age) ago")
        } else if sight.isDown {
            let check = sight.lastCheck.map { "; the last check: \($0)" } ?? "; no check has been made yet"
            self.init(.down, "HAProxy's checks find it down, for \(age)\(check)")
        } else if let sayer = facts.zeroWeight {
            self.init(.drained, "\(sayer) gives it weight 0: it keeps its connections and gets no new one")
        } else if sight.isDrained {
            self.init(.drained, "it is drained by a command to HAProxy, for \(age)")
        } else if let backup = facts.backup, facts.hasBetter {
            self.init(.spare, "it is used when none of the others works: \(backup)")
        } else {
            self.init(.serving, nil)
        }
    }

    private init(_ state: State, _ reason: String?) {
        (self.state, reasons) = (state, reason.map { [$0] } ?? [])
    }

    /// An endpoint that is no longer wanted.
    static func leaving(connections: Int) -> EndpointFate {
        let rest = connections == 0 ? "is about to go" : "ends its \(connections) open connections"
        return EndpointFate(.leaving, "it is no longer in the registry, and \(rest)")
    }
}
