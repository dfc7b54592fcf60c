import Shared

/// What the services file says: instances that are not containers, and keys that describe the host.
///
/// docs/services-file.md has the schema.
struct ServicesFile: Equatable, Sendable {
    /// The instances, in the order of the file.
    var services: [StaticService]
    /// The plain keys.
    var keys: [HostKey]

    /// A key without meta.
    struct HostKey: Equatable, Sendable {
        /// The key.
        var key: KeyTemplate
        /// Its value.
        var value: KeyTemplate
    }

    /// The most instances, and the most keys.
    static let mostElements = 1000

    /// Reads a file's text.
    ///
    /// - Parameter keyspace: where the registry is: plain keys must not lie in it.
    init(_ text: some Collection<UInt8>, keyspace: Keyspace?) throws(Mistakes) {
        (services, keys) = try FieldReader.read(text, known: ["services", "constants", "keys"]) { reader, file in
            let services = reader.services(of: file)
            return (services, reader.keys(of: file, constants: reader.constants(of: file), keyspace))
        }
    }

    /// The entries of the instances.
    func entries(by owner: Owner, zone: Zone?) -> [EntryID: DesiredEntry] {
        let all = services.compactMap { $0.entry(by: owner, zone: zone) }
        return Dictionary(all.map { ($0.id, $0) }) { first, _ in first }
    }

    /// The plain keys and their values.
    func plainKeys(of owner: Owner) -> [String: [UInt8]] {
        let all = keys.map { ($0.key.text(on: owner), Array($0.value.text(on: owner).utf8)) }
        return Dictionary(all) { first, _ in first }
    }
}

/// The services file as the agent follows it: what it said when it was last right.
struct ServicesFileState: Sendable {
    /// Where it is.
    let path: String
    /// What counts.
    private(set) var file: ServicesFile

    private let keyspace: Keyspace?

    /// Reads a file for the first time.
    init(path: String, keyspace: Keyspace?) throws(JSONFile.Failure) {
        self.path = path
        self.keyspace = keyspace
        file = try Self.read(path, keyspace)
    }

    private static func read(
        _ path: String, _ keyspace: Keyspace?
    ) throws(JSONFile.Failure) -> ServicesFile {
        try JSONFile.read(path) { text throws(Mistakes) in try ServicesFile(text, keyspace: keyspace) }
    }

    /// Reads the file again; one that cannot be used changes nothing.
    mutating func readAgain(owner: Owner, logger: Logger) {
        let before = file
        do {
            file = try Self.read(path, keyspace)
        } catch {
            return logger.error(
                "services file rejected; keeping the previous one",
                ["file": path, "mistakes": error.count, "reason": error.problems.joined(separator: "; ")])
        }
        var changes = Changes()
        changes.add(
            from: before.entries(by: owner, zone: nil), to: file.entries(by: owner, zone: nil))
        changes.add(from: before.plainKeys(of: owner), to: file.plainKeys(of: owner))
        logger.info(
            "services file loaded",
            [
                "file": path, "services": file.services.count, "keys": file.keys.count, "added": changes.added,
                "changed": changes.changed, "removed": changes.removed,
            ])
    }

    /// How many things a file says that another one does not.
    private struct Changes {
        var added = 0
        var changed = 0
        var removed = 0

        mutating func add<Name: Hashable, Value: Equatable>(from old: [Name: Value], to new: [Name: Value]) {
            added += new.keys.count { old[$0] == nil }
            removed += old.keys.count { new[$0] == nil }
            changed += new.count { name, value in old[name].map { $0 != value } ?? false }
        }
    }
}

/// An instance of a service that is not a container, as the services file says it.
struct StaticService: Equatable, Sendable {
    /// The service.
    var name: ServiceName
    /// The port on which it is reached.
    var port: Port
    /// The address on which it is reached; nil for the host's own.
    var address: IPAddress?
    /// Its id among the instances; nil for one made of host, address and port.
    var id: InstanceID?
    /// What client hosts read of it, its tags, and how the agent itself checks it.
    var fields = Labels.Fields()

    /// How the agent itself checks it before it registers it, and while it is registered.
    var registerCheck: RegistrationCheck { fields.registerCheck }

    /// Its entry.
    ///
    /// It has no time of start: that is not known, and the agent's would make each restart rewrite the entry.
    func entry(by owner: Owner, zone: Zone?) -> DesiredEntry? {
        let endpoint = Endpoint(address: address ?? owner.address, port: port)
        guard let id = id ?? Self.id(of: endpoint, on: owner) else { return nil }
        var meta = Meta()
        meta.options = fields.options
        if fields.options.hasNoPort != true { meta.options.port = fields.options.port ?? port }
        meta.options.zone = fields.options.zone ?? zone
        meta.host = owner.host
        meta.owner = owner.text
        meta.tags = fields.tags
        guard let json = try? meta.json() else { return nil }
        return DesiredEntry(
            id: EntryID(service: name, id: id), endpoint: endpoint, meta: json, source: .servicesFile)
    }

    /// `<host>-<address>-<port>`: no other host has the same, and no container's id looks like it.
    private static func id(of endpoint: Endpoint, on owner: Owner) -> InstanceID? {
        let address = String(endpoint.address.text.map { $0 == ":" ? "-" : $0 })
        return InstanceID("\(owner.hostWord)-\(address)-\(endpoint.port)")
    }
}
