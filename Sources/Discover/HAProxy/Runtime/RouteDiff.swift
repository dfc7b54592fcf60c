import Shared

/// What brings the maps and certificates of a worker to what they should be, while it runs.
///
/// Shares have an id of their contents, so that a changed one is a new one: it is added first, then one command moves the
/// route's record to it, and a later change deletes the old one. No request sees half of a change, and none finds the
/// shares gone that it was given. Nothing is prepared and committed: before August 2022 requests find nothing meanwhile.
struct RouteDiff: Equatable, Sendable {
    /// What has to be there before records name it: shares and certificates.
    private(set) var first: [RuntimeCommand] = []
    /// The records.
    private(set) var records: [RuntimeCommand] = []
    /// What no record names any more.
    private(set) var last: [RuntimeCommand] = []
    /// What the worker has afterwards; nil where it routes nothing.
    private(set) var maps: RouteMaps?
    /// The shares of it that no record names any more, and that the next change deletes.
    private(set) var retired: Set<String> = []

    /// All of it.
    var commands: [RuntimeCommand] { first + records + last }

    /// Nothing is to be done.
    init(_ current: RunningConfig) {
        (maps, retired) = (current.maps, current.retired)
    }

    /// Compares what a worker has with what it should have.
    ///
    /// What names a service or a condition that the worker does not have waits for the load that brings it.
    init(from current: RunningConfig, to next: HAProxyConfiguration) {
        self.init(current)
        guard var maps = current.maps, let wanted = next.maps, let files = next.routeFiles else { return }
        addShares(of: wanted, to: &maps, files)
        var changes: [(String, String?)] = []
        for (key, old, new) in wanted.records.differences(from: maps.records).sorted(by: { $0.key < $1.key }) {
            if let new, !Self.canServe(new, current, maps) { continue }
            changes.append((key, new))
            records.append(
                .map(MapChange(file: files.routes, key: key, kind: .init(from: old, to: new))))
        }
        maps.records.apply(changes)
        changeCertificates(to: wanted, &maps, files)
        deleteShares(besides: wanted, in: &maps, current.retired, files)
        self.maps = maps
    }

    private mutating func addShares(of wanted: RouteMaps, to maps: inout RouteMaps, _ files: RouteFiles) {
        for (id, rows) in wanted.shares.sorted(by: { $0.key < $1.key }) where maps.shares[id] == nil {
            maps.shares[id] = rows
            first += rows.sorted { $0.key < $1.key }.map { row in
                .map(MapChange(file: files.shares, key: "\(id):\(row.key)", kind: .add(row.value)))
            }
        }
    }

    private mutating func deleteShares(
        besides wanted: RouteMaps, in maps: inout RouteMaps, _ idle: Set<String>, _ files: RouteFiles
    ) {
        // Records that wait for a load may still name them.
        let unused = Set(maps.shares.keys.filter { wanted.shares[$0] == nil })
        retired = unused.subtracting(idle)
        for id in unused.intersection(idle).sorted() {
            last += (maps.shares[id] ?? [:]).keys.sorted().map { digits in
                .map(MapChange(file: files.shares, key: "\(id):\(digits)", kind: .delete))
            }
            maps.shares[id] = nil
        }
    }

    /// Of a listener that has none yet, or loses the last one, only a load makes something.
    private mutating func changeCertificates(to wanted: RouteMaps, _ maps: inout RouteMaps, _ files: RouteFiles) {
        guard !maps.certificates.isEmpty, !wanted.certificates.isEmpty else { return }
        for name in Set(maps.certificates.keys).union(wanted.certificates.keys).sorted() {
            let (old, new) = (maps.certificates[name], wanted.certificates[name])
            guard old != new else { continue }
            let kind: CertificateChange.Kind = old == nil ? .add : new == nil ? .remove : .renew
            first.append(
                .certificate(
                    CertificateChange(kind: kind, path: files.certificate(name), list: files.certificateList)))
        }
        maps.certificates = wanted.certificates
    }

    /// Whether a worker has all that a record names.
    private static func canServe(_ text: String, _ current: RunningConfig, _ maps: RouteMaps) -> Bool {
        guard let record = RouteRecord(text), record.conditions.allSatisfy(current.conditions.contains) else {
            return false
        }
        let services = record.targets.flatMap { maps.shares[$0].map { Array($0.values) } ?? [$0] }
        return services.allSatisfy { name in ServiceName(name).map { current.sections[$0] != nil } ?? false }
    }
}

/// A change of one row of a map.
struct MapChange: Equatable, Sendable {
    /// What becomes of the row.
    enum Kind: Equatable, Sendable {
        /// It is new; HAProxy would have two where there is one.
        case add(String)
        /// It gets another value.
        case set(String)
        /// It goes.
        case delete

        /// What makes a new value of an old one; not both are nil.
        init(from old: String?, to new: String?) {
            self = new.map { old == nil ? .add($0) : .set($0) } ?? .delete
        }
    }

    /// The map's file.
    let file: String
    /// The row's key.
    let key: String
    /// What becomes of it.
    let kind: Kind

    /// As HAProxy takes it.
    var text: String {
        switch kind {
        case .add(let value): "add map \(file) \(key) \(value)"
        case .set(let value): "set map \(file) \(key) \(value)"
        case .delete: "del map \(file) \(key)"
        }
    }

    /// Reads the row back.
    var question: String { "get map \(file) \(key)" }

    /// Whether the answer to ``question`` shows that it was done; a longer key than the row's may be found.
    func isShown(by answer: String) -> Bool {
        let isThere = answer.contains("key=\"\(key)\",")
        switch kind {
        case .add(let value), .set(let value): return isThere && answer.contains("value=\"\(value)\"")
        case .delete: return !isThere
        }
    }
}

/// A change of one certificate.
struct CertificateChange: Equatable, Sendable {
    /// What becomes of it.
    enum Kind: String, Equatable, Sendable {
        case add
        case renew
        case remove
    }

    /// What becomes of it.
    let kind: Kind
    /// Its file, from which a load takes it as well.
    let path: String
    /// The list in which it is.
    let list: String

    /// For people: without what is in the file.
    var text: String { "\(kind.rawValue) certificate \(path)" }
}

extension RuntimeAPI {
    /// Adds, renews or removes a certificate; what was there stays where HAProxy refuses.
    func apply(_ change: CertificateChange) async throws {
        switch change.kind {
        case .add:
            try await tell("new ssl cert \(change.path)", expecting: "New empty certificate store")
            try await load(change)
            try await tell("add ssl crt-list \(change.list) \(change.path)", expecting: "Success!")
        case .renew: try await load(change)
        case .remove:
            try await tell("del ssl crt-list \(change.list) \(change.path)", expecting: "deleted")
            try await tell("del ssl cert \(change.path)", expecting: "deleted")
        }
    }

    private func load(_ change: CertificateChange) async throws {
        guard let text = try FileContents(change.path).text else {
            throw RuntimeFailure.differs("there is no file \(change.path)")
        }
        // An empty line would end it.
        let lines = text.split(separator: "\n").filter { !$0.allSatisfy(\.isWhitespace) }
        let payload = lines.map { $0 + "\n" }.joined()
        do {
            try await tell("set ssl cert \(change.path) <<\n\(payload)", expecting: "Transaction")
            try await tell("commit ssl cert \(change.path)", expecting: "Success!")
        } catch {
            _ = try? await socket.send("abort ssl cert \(change.path)", deadline: deadline)
            throw error
        }
    }

    private func tell(_ line: String, expecting words: String) async throws {
        let answer = try await send(line)
        guard answer.contains(words) else {
            let command = String(line.prefix { $0 != "<" && $0 != "\n" })
            throw RuntimeFailure.unexpected(answer: RuntimeLine.shown(answer), to: command)
        }
    }

    /// Throws where rows are not what they should be.
    func verify(_ changes: [MapChange]) async throws {
        var rest = changes[...]
        while !rest.isEmpty {
            let some = rest.prefix(Self.mostRows)
            let answers = RuntimeLine.blocks(of: try await send(some.map(\.question).joined(separator: ";")))
            for (index, change) in some.enumerated() {
                let answer = index < answers.count ? answers[index] : ""
                guard change.isShown(by: answer) else {
                    throw RuntimeFailure.differs("the row \(change.key) of \(change.file) is not what it should be")
                }
            }
            rest = rest.dropFirst(some.count)
        }
    }

    /// A line has room for the longest keys of so many.
    private static var mostRows: Int { 8 }

    /// What the maps of the worker say.
    func maps(_ files: RouteFiles) async throws -> RouteMaps {
        let records = try await send("show map \(files.routes)")
        return RouteMaps(records: records, shares: try await send("show map \(files.shares)"))
    }
}
