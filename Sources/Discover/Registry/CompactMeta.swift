import Shared

/// What decides of what an endpoint says of itself; its other words are read from the value where somebody asks.
///
/// There are thousands of them, and most say the same.
struct CompactMeta: Equatable, Sendable {
    /// What it says besides names and addresses.
    let options: Interned<ServiceOptions>
    /// Its image without tag and digest; nil where it does not say one.
    let repository: String?
    /// Which host registered it; nil where it does not say.
    let host: Interned<RegisteringHost>?
    /// Whether it stands in for an entry that was meant to go.
    let isWithdrawn: Bool
    /// Whether somebody waits until all consumers have confirmed that.
    let asksConfirmation: Bool
    /// Whether it is a UDP port, which HAProxy does not forward.
    let isUDP: Bool

    /// Takes what decides.
    init(_ meta: Meta, sharing pool: inout MetaPool) {
        options = pool.options(meta.options)
        repository = meta.image.flatMap { pool.repository(of: $0) }
        host = RegisteringHost(meta).map { pool.host($0) }
        isWithdrawn = meta.withdrawn != nil
        asksConfirmation = meta.confirm == true
        isUDP = meta.isUDP
    }
}

/// A host with a docker-register, as its metas name it.
struct RegisteringHost: Hashable, Sendable {
    /// The host's name.
    let name: String
    /// Its `HOST_IP`.
    let address: IPAddress

    /// Reads `host` and `owner`; nil where one of them is missing, or is not what docker-register writes.
    init?(_ meta: Meta) {
        guard let name = meta.host, let address = meta.owner?.split(separator: "@").last.flatMap({ IPAddress($0) })
        else { return nil }
        (self.name, self.address) = (name, address)
    }
}

extension ServiceOptions {
    /// Those that say nothing.
    static let unsaid = Interned(ServiceOptions())
}

/// The options and images that metas have said, so that equal ones are kept once.
struct MetaPool: Sendable {
    private var options = InternPool(ServiceOptions.unsaid)
    private var repositories: [String: String] = [:]
    private var hosts = InternPool<RegisteringHost>()

    /// Makes an empty one.
    init() {}

    /// Those that stand for all equal ones.
    mutating func options(_ options: ServiceOptions) -> Interned<ServiceOptions> { self.options.interned(options) }

    /// The one that stands for all equal ones.
    mutating func host(_ host: RegisteringHost) -> Interned<RegisteringHost> { hosts.interned(host) }

    /// The repository of an image; nil for what names none.
    mutating func repository(of image: String) -> String? {
        if let known = repositories[image] { return known }
        let repository = ImageReference(image)?.repository
        repositories[image] = repository
        return repository
    }
}

/// A value that never changes and that many share: there are thousands of endpoints, and most say the same.
final class Interned<Value: Equatable & Sendable>: Sendable {
    /// The value.
    let value: Value

    /// Makes one of its own.
    init(_ value: Value) { self.value = value }
}

extension Interned: Equatable {
    /// Whether both are the same, which most are at a glance.
    static func == (left: Interned, right: Interned) -> Bool { left === right || left.value == right.value }
}

extension Interned: Hashable where Value: Hashable {
    /// Hashes the value.
    func hash(into hasher: inout Hasher) { value.hash(into: &hasher) }
}

/// Values of one kind, so that equal ones are kept once.
struct InternPool<Value: Hashable & Sendable>: Sendable {
    private var known: Set<Interned<Value>>

    /// Makes one that has these already.
    init(_ first: Interned<Value>...) { known = Set(first) }

    /// The one that stands for all equal ones.
    mutating func interned(_ value: Value) -> Interned<Value> { known.insert(Interned(value)).memberAfterInsert }
}
