import Shared

/// What the services file says: instances that are not containers, and keys that tell what the host is.
///
/// docs/services.md has the schema.
struct ServicesFile: Equatable, Sendable {
    /// The instances, in the order of the file.
    var services: [StaticService] = []
    /// The plain keys.
    var keys: [PlainKey] = []

    /// A key without meta.
    struct PlainKey: Equatable, Sendable {
        /// The key.
        var key: KeyTemplate
        /// Its value.
        var value: KeyTemplate
    }

    /// All that is wrong with a file, in the order of the text.
    struct Mistakes: Error, Equatable {
        /// At least one.
        var all: [PlacedJSON.Mistake]
    }

    /// The most bytes of a file.
    static let mostBytes = 1 << 20
    /// The most instances, and the most keys.
    static let mostElements = 1000

    /// Reads a file's text.
    ///
    /// - Parameter keyspace: where the registry is: plain keys must not lie in it.
    init(_ text: some Collection<UInt8>, keyspace: Keyspace?) throws(Mistakes) {
        let json: PlacedJSON
        do {
            json = try PlacedJSONParser.parse(text)
        } catch {
            throw Mistakes(all: [error])
        }
        var reader = FieldReader()
        if let file = reader.object(FieldReader.Field(path: "", json: json), known: ["services", "constants", "keys"]) {
            services = reader.services(of: file)
            keys = reader.keys(of: file, constants: reader.constants(of: file), keyspace)
        }
        guard reader.mistakes.isEmpty else {
            throw Mistakes(all: reader.mistakes.sorted { ($0.place, $0.path, $0.text) < ($1.place, $1.path, $1.text) })
        }
    }

    /// The entries of the instances.
    func registrations(by owner: Owner, zone: Zone?) -> [Slot: Registration] {
        let all = services.compactMap { $0.registration(by: owner, zone: zone) }
        return Dictionary(all.map { ($0.slot, $0) }) { first, _ in first }
    }

    /// The plain keys and their values.
    func plainKeys(of owner: Owner) -> [String: [UInt8]] {
        let all = keys.map { ($0.key.text(on: owner), Array($0.value.text(on: owner).utf8)) }
        return Dictionary(all) { first, _ in first }
    }
}
