import Shared

/// What is known of one endpoint, as `--json` prints it.
struct EndpointReport: Encodable, Equatable, Sendable {
    /// What HAProxy says of it.
    struct Server: Encodable, Equatable, Sendable {
        /// HAProxy's own word, such as `UP` or `DOWN`.
        var status: String
        /// For how many seconds it has been like that.
        var age: Int
        /// The last check, in HAProxy's words.
        var lastCheck: String?
        /// How many connections it has, or wait for it.
        var connections: Int
    }

    /// That it stays in service although its entry was lost.
    struct Held: Encodable, Equatable, Sendable {
        /// When it was lost, RFC 3339.
        var since: String
        /// When it goes at the latest, RFC 3339.
        var until: String
        /// How it was lost.
        var because: String
    }

    /// The last part of its key.
    var id: String
    /// Where it is reached.
    var endpoint: String
    /// What becomes of it.
    var state: EndpointStatus.State
    /// Why it gets no connections.
    var reasons: [String]
    /// What HAProxy says of it; nil where it says nothing.
    var haproxy: Server?
    /// Its share.
    var weight: Int?
    /// Whether it is used only when no other one works.
    var backup: Bool?
    /// Where it is.
    var zone: String?
    /// The key of its entry.
    var key: String?
    /// The revision at which the entry was made.
    var createRevision: Int64?
    /// The revision of its newest change.
    var modRevision: Int64?
    /// The lease that it goes with, as etcdctl writes it; nil for an entry that goes with none.
    var lease: String?
    /// The agent that put it.
    var owner: String?
    /// The host that it is on.
    var host: String?
    /// The container.
    var container: String?
    /// The image.
    var image: String?
    /// When the container started.
    var created: String?
    /// That it was lost and is held.
    var held: Held?
}

extension EndpointReport {
    /// Describes one that is registered, or held.
    init(_ instance: Catalog.Instance, _ facts: EndpointStatus.Facts, key: String) {
        let fate = EndpointStatus(facts)
        let meta = instance.meta
        let entry = instance.entry.keyValue
        id = instance.id.text
        endpoint = instance.endpoint.description
        (state, reasons) = (fate.state, fate.reasons)
        haproxy = facts.sight.map(Server.init)
        backup = facts.backup == nil ? nil : true
        zone = meta.options.zone?.description
        self.key = key
        createRevision = entry.createRevision
        modRevision = entry.modRevision
        lease = entry.lease == 0 ? nil : String(entry.lease, radix: 16)
        (owner, host, container, image) = (meta.owner, meta.host, meta.container, meta.image)
        created = meta.created
    }

    /// Describes one that HAProxy has and that is not wanted any more.
    init(leaving id: String, _ sight: ServerStats) {
        let fate = EndpointStatus.leaving(connections: sight.connections)
        self.id = id
        endpoint = sight.endpoint?.description ?? ""
        (state, reasons) = (fate.state, fate.reasons)
        haproxy = Server(sight)
    }
}

extension EndpointReport.Server {
    /// Takes what HAProxy says.
    init(_ sight: ServerStats) {
        (status, age, lastCheck, connections) = (sight.status, sight.age, sight.lastCheck, sight.connections)
    }
}

extension EndpointReport.Held {
    /// Takes what is known of a hold.
    init(_ hold: HeldEndpoint) {
        since = Timestamp.text(hold.since)
        until = Timestamp.text(hold.until)
        because = hold.reason.description
    }
}

/// What becomes of an endpoint, and why it gets no connections where it gets none.
struct EndpointStatus: Equatable, Sendable {
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
        var loop = false
        /// Whether there is an HAProxy.
        var hasHAProxy = true
        /// Whether HAProxy has told what it does.
        var isSeen = true
        /// What HAProxy says of it; nil where it has no such server.
        var sight: ServerStats?
        /// How its service is checked; nil where that is not known.
        var options: ListenerOptions?
        /// The port that is checked instead of its own.
        var checkPort: Port?
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
        guard !facts.loop else {
            self.init(.leftOut, "would loop back to this HAProxy")
            return
        }
        guard facts.hasHAProxy else {
            self.init(.serving, nil)
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

    private init(_ facts: Facts, _ sight: ServerStats) {
        let age = DurationText.text(.seconds(sight.age))
        if sight.isInMaintenance {
            self.init(.maintenance, "it was put into maintenance by a command to HAProxy, \(age) ago")
        } else if sight.isDown {
            let check = sight.lastCheck.map { "; the last check: \($0)" } ?? "; no check has been made yet"
            let expected = facts.expectation(sight).map { "; \($0)" } ?? ""
            self.init(.down, "DOWN for \(age) in HAProxy's health checks\(check)\(expected)")
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
    static func leaving(connections: Int) -> EndpointStatus {
        let rest = connections == 0 ? "is about to go" : "ends its \(connections) open connections"
        return EndpointStatus(.leaving, "it is no longer in the registry, and \(rest)")
    }
}

extension EndpointStatus.Facts {
    /// What the last check expected, and what came instead; nil where HAProxy's own words say it.
    fileprivate func expectation(_ sight: ServerStats) -> String? {
        guard let options, let result = sight.checkResult else { return nil }
        let place = checkPort.map { " at port \($0) (check_port)" } ?? ""
        guard case .http(let path) = options[ServiceOptions.check] else {
            return checkPort == nil || !result.word.hasPrefix("L4") ? nil : "it connects\(place)"
        }
        let request = "\(options[ServiceOptions.checkMethod].rawValue) \(path)\(place)"
        switch result.word {
        case "L7STS":
            guard let status = result.status else { return nil }
            return "\(request) answered \(status), check_status wants \(options[ServiceOptions.checkStatus])"
        case "L7RSP": return "\(request) was not answered in HTTP"
        case "L7TOUT":
            let limit = DurationText.text(options[ServiceOptions.checkTimeout])
            return "\(request) was not answered within \(limit) (check_timeout)"
        default: return checkPort == nil ? nil : "it asks for \(request)"
        }
    }
}
