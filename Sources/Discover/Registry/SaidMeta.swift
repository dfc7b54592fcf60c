import Shared

/// What decides of what an endpoint says of itself; its other words are read from the value where somebody asks.
///
/// There are thousands of them, and most say the same.
struct SaidMeta: Equatable, Sendable {
    /// What it says besides names and addresses.
    let options: SharedOptions
    /// Its image without tag and digest; nil where it does not say one.
    let repository: String?
    /// Whether it stands in for an entry that was meant to go.
    let isWithdrawn: Bool
    /// Whether somebody waits until all consumers have confirmed that.
    let asksConfirmation: Bool

    /// Takes what decides.
    init(_ meta: Meta, sharing pool: inout MetaPool) {
        options = pool.options(meta.options)
        repository = meta.image.flatMap { pool.repository(of: $0) }
        isWithdrawn = meta.withdrawn != nil
        asksConfirmation = meta.confirm == true
    }
}

/// Options that many share.
final class SharedOptions: Sendable {
    /// The options.
    let value: ServiceOptions

    /// Makes some of their own.
    init(_ value: ServiceOptions) { self.value = value }

    /// Those that say nothing.
    static let none = SharedOptions(ServiceOptions())
}

extension SharedOptions: Equatable {
    /// Whether both say the same.
    static func == (left: SharedOptions, right: SharedOptions) -> Bool { left === right || left.value == right.value }
}

/// The options and images that metas have said, so that equal ones are kept once.
struct MetaPool: Sendable {
    private var known: [ServiceOptions: SharedOptions] = [ServiceOptions(): .none]
    private var repositories: [String: String] = [:]

    /// Makes an empty one.
    init() {}

    /// Those that stand for all equal ones.
    mutating func options(_ options: ServiceOptions) -> SharedOptions {
        if let shared = known[options] { return shared }
        let shared = SharedOptions(options)
        known[options] = shared
        return shared
    }

    /// The repository of an image; nil for what names none.
    mutating func repository(of image: String) -> String? {
        if let known = repositories[image] { return known }
        let repository = ImageReference(image)?.repository
        repositories[image] = repository
        return repository
    }
}
