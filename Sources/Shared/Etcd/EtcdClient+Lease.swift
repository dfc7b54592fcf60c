import FoundationEssentials

extension Etcd {
    /// A lease as etcd granted it.
    package struct Lease: Equatable, Sendable {
        /// Its number.
        package var id: Int64
        /// How long it lives without a keep-alive, in seconds.
        ///
        /// etcd raises what is below its minimum.
        package var ttl: Int64

        /// Names a lease.
        package init(id: Int64, ttl: Int64) {
            self.id = id
            self.ttl = ttl
        }
    }

    /// What etcd says of a lease.
    package struct LeaseState: Equatable, Sendable {
        /// Seconds that are left; nil where the lease is gone.
        package var remaining: Int64?
        /// The keys that go with it.
        package var keys: [[UInt8]]
    }
}

extension Etcd.Client {
    /// Grants a lease. `POST /v3/lease/grant`
    package func grantLease(ttl: Int64, deadline: Duration) async throws -> Etcd.Lease {
        let message = WireLeaseRequest(TTL: WireInteger(ttl))
        let answer: WireLeaseAnswer = try Self.decode(
            try await call("lease/grant", message, deadline: deadline), from: "etcd")
        guard let id = answer.ID?.value, let ttl = answer.TTL?.value, ttl > 0 else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a lease without ID or TTL")
        }
        return Etcd.Lease(id: id, ttl: ttl)
    }

    /// Keeps a lease alive for another TTL; false where it is gone. `POST /v3/lease/keepalive`
    ///
    /// A lease that is gone is answered with success, but without TTL.
    package func keepAlive(lease: Int64, deadline: Duration) async throws -> Bool {
        let body = try await call("lease/keepalive", WireLeaseRequest(ID: WireInteger(lease)), deadline: deadline)
        let line: WireStreamLine<WireLeaseAnswer> = try Self.decode(body, from: "etcd")
        if let error = line.error?.refusal { throw error }
        guard let result = line.result else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a keep-alive without result")
        }
        return (result.TTL?.value ?? 0) > 0
    }

    /// Asks how long a lease has left, and which keys it holds. `POST /v3/lease/timetolive`
    package func timeToLive(lease: Int64, deadline: Duration) async throws -> Etcd.LeaseState {
        let message = WireLeaseRequest(ID: WireInteger(lease), keys: true)
        let answer: WireLeaseAnswer = try Self.decode(
            try await call("lease/timetolive", message, deadline: deadline), from: "etcd")
        let remaining = answer.TTL?.value ?? 0
        return Etcd.LeaseState(
            remaining: remaining < 0 ? nil : remaining, keys: (answer.keys ?? []).map { [UInt8]($0) })
    }

    /// Revokes a lease; its keys go with it. `POST /v3/lease/revoke`
    package func revoke(lease: Int64, deadline: Duration) async throws {
        _ = try await call("lease/revoke", WireLeaseRequest(ID: WireInteger(lease)), deadline: deadline)
    }
}
