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
    package struct Committed: Sendable {
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
    /// - Parameter deadline: the limit for each page.
    package func range(prefix: String, deadline: Duration) async throws -> Etcd.Listing {
        var keyValues: [Etcd.KeyValue] = []
        var listing = try await range(prefix: prefix, deadline: deadline) { keyValues += $0 }
        listing.keyValues = keyValues
        return listing
    }

    /// Lists all keys that begin with `prefix`, in pages, all of one revision, and hands each page over while the next
    /// one is on its way.
    ///
    /// - Parameter deadline: the limit for each page.
    /// - Returns: the listing without its keys.
    package func range(
        prefix: String, deadline: Duration, _ take: ([Etcd.KeyValue]) -> Void
    ) async throws -> Etcd.Listing {
        let first = WireRangeRequest(
            key: Data(prefix.utf8), range_end: Data(Self.end(of: prefix)), limit: WireInteger(Self.largePage))
        var page = try await page(first, deadline: deadline)
        let revision = page.answer.header?.revision?.value ?? 0
        let listing = Etcd.Listing(
            revision: revision, clusterID: page.answer.header?.clusterID ?? "", keyValues: [])
        while page.answer.more == true, let last = page.answer.kvs?.last {
            var request = page.request
            request.key = last.key + [0]
            request.revision = WireInteger(revision)
            async let next = self.page(request, deadline: deadline)
            take((page.answer.kvs ?? []).map(\.keyValue))
            page = try await next
        }
        take((page.answer.kvs ?? []).map(\.keyValue))
        return listing
    }

    private struct Page: Sendable {
        let request: WireRangeRequest
        let answer: WireRangeAnswer
    }

    /// In keys; for each page etcd counts all keys that are left, so few large ones are faster.
    private static let largePage: Int64 = 4000
    /// In keys; values may have 1.5 MB each.
    private static let smallPage: Int64 = 20

    /// Reads a page, or a smaller one where it is too large.
    private func page(_ request: WireRangeRequest, deadline: Duration) async throws -> Page {
        do {
            return Page(request: request, answer: try await range(request, deadline: deadline))
        } catch HTTPError.tooLarge {
            var small = request
            small.limit = WireInteger(Self.smallPage)
            return Page(request: small, answer: try await range(small, deadline: deadline))
        }
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
    package func position(readingAt key: String, deadline: Duration) async throws -> Etcd.Listing {
        let answer = try await range(WireRangeRequest(key: Data(key.utf8)), deadline: deadline)
        return Etcd.Listing(
            revision: answer.header?.revision?.value ?? 0, clusterID: answer.header?.clusterID ?? "", keyValues: [])
    }

    /// Reads a range. `POST /v3/kv/range`
    func range(_ request: WireRangeRequest, deadline: Duration) async throws -> WireRangeAnswer {
        try Self.decode(try await call("kv/range", request, deadline: deadline), from: "etcd")
    }

    /// Carries a transaction out. `POST /v3/kv/txn`
    package func commit(_ transaction: Etcd.Transaction, deadline: Duration) async throws -> Etcd.Committed {
        let message = WireTransaction(
            compare: transaction.conditions.map(Self.wire), success: transaction.operations.map(Self.wire), failure: [])
        let answer: WireTransactionAnswer = try Self.decode(
            try await call("kv/txn", message, deadline: deadline), from: "etcd")
        let reads = (answer.responses ?? []).compactMap(\.response_range)
        return Etcd.Committed(
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
