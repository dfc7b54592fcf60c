// The fields have the names that they have in the JSON.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import FoundationEssentials

// The JSON of etcd's gateway (rpc.proto in etcd's api module). Zero values are left out of answers, 64-bit integers are
// strings, bytes are base64. Nothing outside of this folder sees these types.

/// A 64-bit integer, which the gateway writes as a string and accepts as a string or number.
struct WireInteger: Codable {
    let value: Int64

    init(_ value: Int64) { self.value = value }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            // Cluster and member ids are unsigned.
            guard let value = Int64(text) ?? UInt64(text).map(Int64.init(bitPattern:)) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "\(text) is not an integer")
            }
            self.value = value
        } else {
            value = try (try? container.decode(Int64.self)) ?? Int64(bitPattern: container.decode(UInt64.self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(String(value))
    }
}

struct WireHeader: Decodable {
    let cluster_id: WireInteger?
    let revision: WireInteger?

    var clusterID: String? { cluster_id.map { String(UInt64(bitPattern: $0.value)) } }
}

struct WireKeyValue: Decodable {
    let keyValue: Etcd.KeyValue

    private enum CodingKeys: CodingKey {
        case key, value, create_revision, mod_revision, lease
    }

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        // A listing has tens of thousands; texts are read sooner than what decodes itself.
        func integer(_ name: CodingKeys) throws -> Int64 {
            guard fields.contains(name) else { return 0 }
            if let text = try? fields.decodeIfPresent(String.self, forKey: name), let value = Int64(text) {
                return value
            }
            return try fields.decodeIfPresent(WireInteger.self, forKey: name)?.value ?? 0
        }
        keyValue = Etcd.KeyValue(
            key: [UInt8](try fields.decode(Data.self, forKey: .key)),
            value: try fields.decodeIfPresent(Data.self, forKey: .value).map { [UInt8]($0) } ?? [],
            createRevision: try integer(.create_revision), modRevision: try integer(.mod_revision),
            lease: try integer(.lease))
    }
}

struct WireRangeRequest: Encodable {
    var key: Data
    var range_end: Data?
    var limit: WireInteger?
    var revision: WireInteger?
    var count_only: Bool?
    var keys_only: Bool?
    var min_mod_revision: WireInteger?
    var serializable: Bool?

    /// The same for no more than so many keys.
    func limited(to limit: Int64) -> WireRangeRequest {
        var request = self
        request.limit = WireInteger(limit)
        return request
    }
}

struct WireRangeResponse: Decodable {
    let header: WireHeader?
    var count: WireInteger?
    let kvs: [WireKeyValue]?
    let more: Bool?

    /// The keys.
    var keyValues: [Etcd.KeyValue] { (kvs ?? []).map(\.keyValue) }

    /// The first key of the next page, or nil where this is the last one; throws where pages would go on for ever, or
    /// end without the rest.
    func startOfNext(after key: Data) throws -> Data? {
        guard more == true else { return nil }
        let start = kvs?.last.map { Data($0.keyValue.key + [0]) } ?? key
        guard key.lexicographicallyPrecedes(start) else {
            throw Etcd.Error.malformed(server: "etcd", reason: "a page of a listing ends before it begins")
        }
        return start
    }
}

struct WirePut: Encodable {
    let key: Data
    let value: Data
    let lease: WireInteger
}

struct WireDelete: Encodable {
    let key: Data
}

struct WireDeleteResponse: Decodable {
    let header: WireHeader?
}

struct WireCompare: Encodable {
    let target: String
    let result = "EQUAL"
    let key: Data
    var create_revision: WireInteger?
    var mod_revision: WireInteger?

    private enum CodingKeys: CodingKey {
        case target, result, key, create_revision, mod_revision
    }
}

struct WireOperation: Encodable {
    var request_put: WirePut?
    var request_delete_range: WireDelete?
    var request_range: WireRangeRequest?
}

struct WireTransaction: Encodable {
    let compare: [WireCompare]
    let success: [WireOperation]
    let failure: [WireOperation]
}

struct WireTransactionResponse: Decodable {
    struct Response: Decodable {
        let response_range: WireRangeResponse?
    }
    let header: WireHeader?
    let succeeded: Bool?
    let responses: [Response]?
}

struct WireLeaseRequest: Encodable {
    var ID: WireInteger?
    var TTL: WireInteger?
    var keys: Bool?
}

struct WireLeaseResponse: Decodable {
    let ID: WireInteger?
    let TTL: WireInteger?
    let grantedTTL: WireInteger?
    let keys: [Data]?
}

struct WireAuthentication: Encodable {
    let name: String
    let password: String
}

struct WireToken: Decodable {
    let token: String?
}

struct WireWatchRequest: Encodable {
    struct Create: Encodable {
        let key: Data
        let range_end: Data
        let start_revision: WireInteger
        let fragment = true

        private enum CodingKeys: CodingKey {
            case key, range_end, start_revision, fragment
        }
    }
    let create_request: Create
}

struct WireWatchResponse: Decodable {
    struct Event: Decodable {
        let type: String?
        let kv: WireKeyValue
    }
    let header: WireHeader?
    let created: Bool?
    let canceled: Bool?
    let compact_revision: WireInteger?
    let cancel_reason: String?
    let fragment: Bool?
    let events: [Event]?
}

/// One line of a stream: a result or an error.
struct WireStreamLine<Result: Decodable>: Decodable {
    let result: Result?
    let error: WireFailure?
}

/// An error in any of the gateway's three shapes.
struct WireFailure: Decodable {
    let code: Int?
    let grpc_code: Int?
    let message: String?
    let error: Nested?

    /// The gateway of 3.4 and 3.5 puts an object here in streams, and the message once more in unary answers.
    enum Nested: Decodable {
        case text(String)
        case failure(code: Int?, message: String?)

        private enum CodingKeys: CodingKey {
            case code, grpc_code, message
        }

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                self = .text(text)
                return
            }
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            let code = try fields.decodeIfPresent(Int.self, forKey: .grpc_code)
            self = .failure(
                code: try code ?? fields.decodeIfPresent(Int.self, forKey: .code),
                message: try fields.decodeIfPresent(String.self, forKey: .message))
        }
    }

    /// The error, or nil where this is none.
    var refusal: Etcd.Error? {
        if case .failure(let code?, let message)? = error {
            return .refused(Etcd.Code(rawValue: code), message: message ?? "code \(code)")
        }
        guard let code = grpc_code ?? code else { return nil }
        return .refused(Etcd.Code(rawValue: code), message: message ?? "code \(code)")
    }
}
