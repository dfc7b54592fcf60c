/// Keywords that many servers have.
final class SharedKeywords: Sendable {
    /// The keywords.
    let value: ServerKeywords

    /// Makes some of their own.
    init(_ value: ServerKeywords) { self.value = value }
}

extension SharedKeywords: Equatable {
    /// Whether both say the same.
    static func == (left: SharedKeywords, right: SharedKeywords) -> Bool { left === right || left.value == right.value }
}

/// The keywords of one service's servers, so that equal ones are kept once.
struct KeywordsPool {
    private var known: [ServerKeywords: SharedKeywords] = [:]

    /// Makes an empty one.
    init() {}

    /// Those that stand for all equal ones.
    mutating func shared(_ keywords: ServerKeywords) -> SharedKeywords {
        if let shared = known[keywords] { return shared }
        let shared = SharedKeywords(keywords)
        known[keywords] = shared
        return shared
    }
}
