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
    var state: EndpointFate.State
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
    init(_ instance: Catalog.Instance, _ facts: EndpointFate.Facts, key: String) {
        let fate = EndpointFate(facts)
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
    init(leaving id: String, _ sight: ServerSight) {
        let fate = EndpointFate.leaving(connections: sight.connections)
        self.id = id
        endpoint = sight.endpoint?.description ?? ""
        (state, reasons) = (fate.state, fate.reasons)
        haproxy = Server(sight)
    }
}

extension EndpointReport.Server {
    /// Takes what HAProxy says.
    init(_ sight: ServerSight) {
        (status, age, lastCheck, connections) = (sight.status, sight.age, sight.lastCheck, sight.connections)
    }
}

extension EndpointReport.Held {
    /// Takes what is known of a hold.
    init(_ hold: Hold) {
        since = Timestamp.text(hold.since)
        until = Timestamp.text(hold.until)
        because = hold.reason.description
    }
}
