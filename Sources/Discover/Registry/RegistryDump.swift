import FoundationEssentials
import Shared

/// A registry that somebody wrote into a file: what `etcdctl get --prefix /backends -w json` prints, or one object of
/// keys and values.
struct RegistryDump: Sendable {
    /// The keys below the prefix, and the claims beside it.
    private(set) var keyValues: [Etcd.KeyValue] = []
    /// What is wrong with the file.
    private(set) var mistakes: [LocatedJSON.Diagnostic] = []

    private var places: [String: LocatedJSON.Location] = [:]
    private var revision: Int64 = 0
    private let keyspace: Keyspace

    /// The largest file, in bytes.
    static let largest = 64 << 20

    /// Reads a file; throws where it is no JSON, or none of these objects.
    init(_ bytes: [UInt8], _ keyspace: Keyspace) throws(LocatedJSON.Diagnostic) {
        self.keyspace = keyspace
        let json = try LocatedJSONParser.parse(bytes)
        guard case .object(let members) = json.value else {
            throw LocatedJSON.Diagnostic(
                place: json.place, path: "", text: "not an object of keys, or what etcdctl get -w json prints")
        }
        if let kvs = members.first(where: { $0.name == "kvs" }) {
            readEtcd(kvs.value)
        } else if !members.contains(where: { $0.name == "header" }) {
            readPlain(members)
        }
        if keyValues.isEmpty, mistakes.isEmpty {
            complain(json.place, "", "no key is below \(keyspace.prefix)")
        }
    }

    /// The registry.
    var state: RegistryState { state(keyValues) }

    /// The registry after the claims of ports were written that it needs, as docker-discover writes them.
    func settled(_ claims: (RegistryState) -> [PortClaimUpdate]) -> RegistryState {
        var revision = revision
        var byKey = Dictionary(keyValues.map { ($0.key, $0) }) { first, _ in first }
        var reached = state
        // One round settles it; a second one is for claims that were given up for others.
        for _ in 0..<2 {
            let changes = claims(reached)
            guard !changes.isEmpty else { break }
            for change in changes {
                revision += 1
                apply(change, to: &byKey, at: revision)
            }
            reached = state(Array(byKey.values))
        }
        return reached
    }

    /// Where in the file the key stands that a problem is about; nil for a problem of none.
    func place(of problem: Diagnostic) -> LocatedJSON.Location? { places[problem.subject] }

    private func state(_ keyValues: [Etcd.KeyValue]) -> RegistryState {
        RegistryState(
            keyspace: keyspace, listing: Etcd.RangeResult(revision: revision, clusterID: "", keyValues: keyValues))
    }

    private func apply(
        _ change: PortClaimUpdate, to keyValues: inout [[UInt8]: Etcd.KeyValue], at revision: Int64
    ) {
        switch change {
        case .put(let service, let claim, _):
            let key = Array(keyspace.text(of: .claim(service)).utf8)
            keyValues[key] = (try? claim.json()).map {
                Etcd.KeyValue(key: key, value: $0, createRevision: revision, modRevision: revision, lease: 0)
            }
        case .delete(let service, _): keyValues[Array(keyspace.text(of: .claim(service)).utf8)] = nil
        }
    }
}

// MARK: What is in it

extension RegistryDump {
    private mutating func complain(_ place: LocatedJSON.Location, _ path: String, _ text: String) {
        mistakes.append(LocatedJSON.Diagnostic(place: place, path: path, text: text))
    }

    /// Keys with values; those that come first are the older ones.
    private mutating func readPlain(_ members: [LocatedJSON.Member]) {
        for (index, member) in members.enumerated() {
            guard case .text(let value) = member.value.value else {
                complain(member.value.place, member.name, "the value has to be a text, as etcd has it")
                continue
            }
            guard isOfRegistry(member.name.utf8) else {
                complain(member.place, member.name, "the key is not below \(keyspace.prefix)")
                continue
            }
            let revision = Int64(index + 1)
            add(
                Etcd.KeyValue(
                    key: Array(member.name.utf8), value: Array(value.utf8), createRevision: revision,
                    modRevision: revision, lease: 0), at: member.place)
        }
    }

    /// The list `kvs`, with keys and values in base64.
    private mutating func readEtcd(_ kvs: LocatedJSON) {
        guard case .list(let elements) = kvs.value else { return complain(kvs.place, "kvs", "not a list") }
        for (index, element) in elements.enumerated() {
            guard case .object(let members) = element.value else {
                complain(element.place, "kvs[\(index)]", "not an object")
                continue
            }
            let fields = Dictionary(members.map { ($0.name, $0.value) }) { _, last in last }
            guard let key = base64(fields["key"], element.place, "kvs[\(index)].key"),
                // What is beside the prefix, such as who runs, is no part of it.
                isOfRegistry(key),
                let value = fields["value"] == nil ? [] : base64(fields["value"], element.place, "kvs[\(index)].value")
            else { continue }
            let number = { (name: String) in fields[name]?.scalar.flatMap { Int64($0) } }
            let created = number("create_revision") ?? Int64(index + 1)
            add(
                Etcd.KeyValue(
                    key: key, value: value, createRevision: created,
                    modRevision: number("mod_revision") ?? created, lease: number("lease") ?? 0), at: element.place)
        }
    }

    private mutating func base64(_ field: LocatedJSON?, _ place: LocatedJSON.Location, _ path: String) -> [UInt8]? {
        guard let field else {
            complain(place, path, "is missing")
            return nil
        }
        guard case .text(let text) = field.value, let data = Data(base64Encoded: text) else {
            complain(field.place, path, "\(field) is not base64")
            return nil
        }
        return [UInt8](data)
    }

    private func isOfRegistry(_ key: some Collection<UInt8>) -> Bool {
        keyspace.hasPart(for: Array(key))
    }

    private mutating func add(_ keyValue: Etcd.KeyValue, at place: LocatedJSON.Location) {
        let name = Diagnostic.excerpt(keyValue.key, longest: 320)
        guard places.updateValue(place, forKey: name) == nil else {
            return complain(place, name, "duplicate key")
        }
        keyValues.append(keyValue)
        revision = max(revision, keyValue.modRevision)
    }
}
