import FoundationEssentials

extension Etcd {
    /// Changes that happen together or not at all.
    package struct Transaction: Sendable {
        /// A condition that has to hold.
        package enum Condition: Sendable {
            /// The key does not exist.
            case missing(key: String)
            /// The key's newest change is of this revision.
            case unchanged(key: String, modRevision: Int64)
        }

        /// One operation.
        package enum Operation: Equatable, Sendable {
            /// Puts a value under a lease; lease 0 is none.
            case put(key: String, value: [UInt8], lease: Int64)
            /// Deletes a key, or does nothing where there is none.
            case delete(key: String)
            /// Reads a key.
            case read(key: String)
        }

        /// etcd refuses a transaction with more operations (`--max-txn-ops`).
        package static let mostOperations = 128

        /// What has to hold; without conditions the operations always run.
        package var conditions: [Condition] = []
        /// The operations, each of another key.
        package var operations: [Operation]

        /// Makes a transaction.
        package init(if conditions: [Condition] = [], _ operations: [Operation]) {
            self.conditions = conditions
            self.operations = operations
        }
    }

    /// What came of a transaction.
    package struct TransactionResult: Sendable {
        /// Whether the conditions held; otherwise nothing was done.
        package var succeeded: Bool
        /// The store's revision afterwards.
        package var revision: Int64
        /// What the read operations found, in their order; nil for a missing key.
        package var reads: [KeyValue?]
    }
}

extension Etcd.Client {
    /// Lists all keys that begin with `prefix`, in pages, all of one revision.
    ///
    /// - Parameters:
    ///   - isLocal: whether the member answers by what it knows, which may be old, without the cluster's agreement.
    ///   - deadline: the limit for each page.
    package func range(
        prefix: String, fromAnyMember isLocal: Bool = false, deadline: Duration
    ) async throws -> Etcd.RangeResult {
        var keyValues: [Etcd.KeyValue] = []
        var listing = try await range(prefix: prefix, fromAnyMember: isLocal, deadline: deadline) { keyValues += $0 }
        listing.keyValues = keyValues
        return listing
    }

    /// Lists all keys that begin with `prefix`, in pages, all of one revision, and hands each page over while the next
    /// one is on its way.
    ///
    /// - Parameters:
    ///   - start: the first key, where the range begins before the prefix; nil for the prefix.
    ///   - isLocal: whether the member answers by what it knows, which may be old, without the cluster's agreement.
    ///   - deadline: the limit for each page.
    /// - Returns: the listing without its keys.
    package func range(
        prefix: String, from start: String? = nil, fromAnyMember isLocal: Bool = false, deadline: Duration,
        _ take: ([Etcd.KeyValue]) -> Void
    ) async throws -> Etcd.RangeResult {
        var request = WireRangeRequest(
            key: Data((start ?? prefix).utf8), range_end: Data(Self.end(of: prefix)),
            limit: WireInteger(Self.firstPage))
        if isLocal { request.serializable = true }
        let first = try await page(request, deadline: deadline)
        var answer = try Self.rangeAnswer(first.body)
        let listing = Etcd.RangeResult(
            revision: answer.header?.revision?.value ?? 0, clusterID: answer.header?.clusterID ?? "", keyValues: [],
            count: answer.count?.value ?? 0)
        var rest = first.request.limited(to: first.isSmall ? Self.smallPage : Self.largePage)
        rest.revision = WireInteger(listing.revision)
        var next = try await page(rest, from: try answer.startOfNext(after: rest.key), deadline: deadline)
        while let page = next {
            // Three go on at a time: etcd makes a page while the one before is decoded and the one before that taken.
            let expected = Self.expectedStart(after: page.body)
            async let early = self.page(page.request, from: expected, deadline: deadline)
            async let decoded = Self.rangeAnswer(page.body)
            take(answer.keyValues)
            answer = try await decoded
            let start = try answer.startOfNext(after: page.request.key)
            next =
                start == expected ? try await early : try await self.page(page.request, from: start, deadline: deadline)
        }
        take(answer.keyValues)
        return listing
    }

    private struct Page: Sendable {
        let request: WireRangeRequest
        let body: [UInt8]
        /// Whether a larger one would have been too large.
        var isSmall: Bool { request.limit?.value == smallPage }
    }

    /// Where a page begins that follows one which was not taken apart yet; nil where none follows.
    ///
    /// A guess, as it relies on the order in which the gateway writes: `"kvs":[{"key":"...", ...}],"more":true,...`.
    static func expectedStart(after page: [UInt8]) -> Data? {
        let (more, key) = (Array("\"more\":true".utf8), Array("\"key\":\"".utf8))
        guard page.suffix(64).firstRange(of: more) != nil else { return nil }
        var begin = page.count - key.count
        while begin >= 0, !page[begin...].starts(with: key) { begin -= 1 }
        guard begin >= 0 else { return nil }
        let text = page[(begin + key.count)...].prefix { $0 != UInt8(ascii: "\"") }
        return Data(base64Encoded: Data(text)).map { $0 + [0] }
    }

    /// In keys; small, as nothing goes on before it was taken apart.
    private static let firstPage: Int64 = 1000
    /// In keys; for each page etcd counts all keys that are left, so few large ones are faster.
    private static let largePage: Int64 = 2500
    /// In keys; values may have 1.5 MB each.
    private static let smallPage: Int64 = 20

    /// Reads the page that begins at a key; nil where none does.
    private func page(_ request: WireRangeRequest, from key: Data?, deadline: Duration) async throws -> Page? {
        guard let key else { return nil }
        var request = request
        request.key = key
        return try await page(request, deadline: deadline)
    }

    /// Reads a page, or a smaller one where it is too large.
    private func page(_ request: WireRangeRequest, deadline: Duration) async throws -> Page {
        do {
            return Page(request: request, body: try await call("kv/range", request, deadline: deadline))
        } catch HTTPError.tooLarge {
            let small = request.limited(to: Self.smallPage)
            return Page(request: small, body: try await call("kv/range", small, deadline: deadline))
        }
    }

    /// Lists the keys that begin with `prefix` and were put after `revision`, and counts all of them.
    ///
    /// It shows whether something was missed at a tenth of what a listing costs etcd: a key that was put is in it, and
    /// one that was deleted is missing in the count.
    ///
    /// - Parameters:
    ///   - start: the first key, where the range begins before the prefix; nil for the prefix.
    ///   - keysOnly: whether values are left out.
    package func news(
        prefix: String, from start: String? = nil, after revision: Int64, keysOnly: Bool, deadline: Duration
    ) async throws -> Etcd.RangeResult {
        let request = WireRangeRequest(
            key: Data((start ?? prefix).utf8), range_end: Data(Self.end(of: prefix)), keys_only: keysOnly ? true : nil,
            min_mod_revision: WireInteger(revision + 1))
        let answer = try await range(request, deadline: deadline)
        return Etcd.RangeResult(
            revision: answer.header?.revision?.value ?? 0, clusterID: answer.header?.clusterID ?? "",
            keyValues: answer.keyValues, count: answer.count?.value ?? 0)
    }

    /// How many keys begin with `prefix`.
    package func count(prefix: String, deadline: Duration) async throws -> Int64 {
        let request = WireRangeRequest(
            key: Data(prefix.utf8), range_end: Data(Self.end(of: prefix)), count_only: true)
        return try await range(request, deadline: deadline).count?.value ?? 0
    }

    /// Where the store is now, by a read of one key that need not exist.
    ///
    /// It takes the cluster's agreement.
    package func position(readingAt key: String, deadline: Duration) async throws -> Etcd.RangeResult {
        let answer = try await range(WireRangeRequest(key: Data(key.utf8)), deadline: deadline)
        return Etcd.RangeResult(
            revision: answer.header?.revision?.value ?? 0, clusterID: answer.header?.clusterID ?? "", keyValues: [])
    }

    /// Reads a range. `POST /v3/kv/range`
    func range(_ request: WireRangeRequest, deadline: Duration) async throws -> WireRangeResponse {
        try Self.rangeAnswer(try await call("kv/range", request, deadline: deadline))
    }

    private static func rangeAnswer(_ body: [UInt8]) throws -> WireRangeResponse { try decode(body, from: "etcd") }

    /// Carries a transaction out. `POST /v3/kv/txn`
    package func commit(_ transaction: Etcd.Transaction, deadline: Duration) async throws -> Etcd.TransactionResult {
        let message = WireTransaction(
            compare: transaction.conditions.map(Self.wire), success: transaction.operations.map(Self.wire), failure: [])
        let answer: WireTransactionResponse = try Self.decode(
            try await call("kv/txn", message, deadline: deadline), from: "etcd")
        let reads = (answer.responses ?? []).compactMap(\.response_range)
        return Etcd.TransactionResult(
            succeeded: answer.succeeded ?? false, revision: answer.header?.revision?.value ?? 0,
            reads: reads.map { $0.kvs?.first?.keyValue })
    }

    private static func wire(_ condition: Etcd.Transaction.Condition) -> WireCompare {
        switch condition {
        case .missing(let key):
            WireCompare(target: "CREATE", key: Data(key.utf8), create_revision: WireInteger(0))
        case .unchanged(let key, let revision):
            WireCompare(target: "MOD", key: Data(key.utf8), mod_revision: WireInteger(revision))
        }
    }

    private static func wire(_ operation: Etcd.Transaction.Operation) -> WireOperation {
        switch operation {
        case .put(let key, let value, let lease):
            WireOperation(request_put: WirePut(key: Data(key.utf8), value: Data(value), lease: WireInteger(lease)))
        case .delete(let key): WireOperation(request_delete_range: WireDelete(key: Data(key.utf8)))
        case .read(let key): WireOperation(request_range: WireRangeRequest(key: Data(key.utf8)))
        }
    }

    /// The first key after all keys that begin with `prefix`.
    static func end(of prefix: String) -> [UInt8] {
        var end = Array(prefix.utf8)
        while let last = end.popLast() {
            if last < 0xff { return end + [last + 1] }
        }
        return [0]
    }
}
