import FoundationEssentials

/// What an endpoint says of itself: the JSON object at `<prefix>/<service>/<id>/meta`.
///
/// Every field is optional for a reader. A wrong field counts as absent and is named in ``problems``; fields that this
/// version does not know are ignored.
package struct Meta: Equatable, Sendable {
    /// What the endpoint says of itself and its service, besides names and addresses.
    package var options = ServiceOptions()
    /// The container's name.
    package var container: String?
    /// The image with registry, namespace and tag, as the user typed it.
    package var image: String?
    /// The backend host's name.
    package var host: String?
    /// Which agent put it: `<engine id>@<host address>`.
    ///
    /// Nobody else deletes the entry.
    package var owner: String?
    /// When the container started, RFC 3339.
    package var created: String?
    /// Whether it is a UDP port, which HAProxy does not forward: `"protocol": "udp"`.
    package var isUDP = false
    /// Free words for consumers, from `SERVICE_TAGS`.
    package var tags: [String]?
    /// Why the entry was withdrawn.
    ///
    /// An object with this field stands in for an entry that was meant to go.
    package var withdrawn: String?
    /// When it was withdrawn, RFC 3339.
    package var at: String?
    /// Whether somebody waits until all consumers have confirmed the withdrawal.
    package var confirm: Bool?

    /// The fields that were wrong, with what they should be; empty for what this program made.
    package var problems: [String] = []

    /// Makes an empty one.
    package init() {}

    /// Parses a value.
    ///
    /// - Returns: nil where the value is not a JSON object.
    package init?(json: some Sequence<UInt8>) {
        guard let meta = try? JSONDecoder().decode(Meta.self, from: Data(json)) else { return nil }
        self = meta
    }

    /// The object in one line with sorted fields: equal metas have equal bytes.
    package func json() throws -> [UInt8] {
        [UInt8](try JSONEncoder.oneLine.encode(self))
    }
}

private enum TransportProtocol: String, Codable { case tcp, udp }

extension Meta: Codable {
    /// The fields besides the options.
    static let ownFields = [
        "container", "image", "host", "owner", "created", "protocol", "tags", "withdrawn", "at", "confirm",
    ]

    /// Reads the known fields, each for itself.
    package init(from decoder: any Decoder) throws {
        var fields = try LenientDecoder(decoder)
        options = ServiceOptions(&fields)
        container = fields.read("container", "a string")
        image = fields.read("image", "a string")
        host = fields.read("host", "a string")
        owner = fields.read("owner", "a string")
        created = fields.read("created", "a string")
        let transport: TransportProtocol? = fields.read("protocol", "tcp or udp")
        isUDP = transport == .udp
        tags = fields.read("tags", "a list of strings")
        withdrawn = fields.read("withdrawn", "a string")
        at = fields.read("at", "a string")
        confirm = fields.read("confirm", BooleanText.grammar)
        problems = fields.problems
    }

    /// Writes the fields that are set.
    package func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: FieldName.self)
        try options.encode(to: &fields)
        try fields.encodeIfPresent(container, forKey: FieldName("container"))
        try fields.encodeIfPresent(image, forKey: FieldName("image"))
        try fields.encodeIfPresent(host, forKey: FieldName("host"))
        try fields.encodeIfPresent(owner, forKey: FieldName("owner"))
        try fields.encodeIfPresent(created, forKey: FieldName("created"))
        if isUDP { try fields.encode(TransportProtocol.udp, forKey: FieldName("protocol")) }
        try fields.encodeIfPresent(tags, forKey: FieldName("tags"))
        try fields.encodeIfPresent(withdrawn, forKey: FieldName("withdrawn"))
        try fields.encodeIfPresent(at, forKey: FieldName("at"))
        try fields.encodeIfPresent(confirm, forKey: FieldName("confirm"))
    }
}

/// What an operator says of a service: the JSON object at `<prefix>/<service>/config`; or of one endpoint, at
/// `<prefix>/<service>/<id>/config`.
///
/// It overrides ``Meta``, and that of an endpoint also that of its service.
package struct ServiceConfig: Equatable, Sendable, Decodable {
    /// What it says.
    package var options = ServiceOptions()
    /// Whether somebody waits until all consumers have confirmed it.
    package var asksConfirmation = false

    /// The fields that were wrong, with what they should be.
    package var problems: [String] = []

    /// Makes one that says nothing.
    package init() {}

    /// Parses a value.
    ///
    /// - Returns: nil where the value is not a JSON object.
    package init?(json: some Sequence<UInt8>) {
        guard let config = try? JSONDecoder().decode(ServiceConfig.self, from: Data(json)) else { return nil }
        self = config
    }

    /// Reads the known fields, each for itself.
    package init(from decoder: any Decoder) throws {
        var fields = try LenientDecoder(decoder)
        options = ServiceOptions(&fields)
        asksConfirmation = fields.read("confirm", BooleanText.grammar) ?? false
        problems = fields.problems
    }

    /// The same as what is said of one endpoint: what is of its service as a whole counts as absent.
    package var ofEndpoint: ServiceConfig {
        var config = self
        for field in ServiceOptions.fields where field.scope == .service && field.text(options) != nil {
            field.copy(ServiceOptions(), &config.options)
            config.problems.append("\(field.name): is of the service as a whole; it belongs into the service's config")
        }
        return config
    }
}

/// An image reference taken apart: `[registry[:port]/]path[:tag][@digest]`.
///
/// It follows https://pkg.go.dev/github.com/distribution/reference.
package struct ImageReference: Equatable, Sendable {
    /// The reference without tag and digest, such as `registry:5000/team/whoami`.
    package let repository: String

    /// The last component of the path, such as `whoami`.
    package let name: String

    /// Parses a reference; nil where it has no name: an image id, with or without `sha256:`, or nothing at all.
    package init?(_ text: String) {
        let undigested = text.prefix { $0 != "@" }
        let slash = undigested.lastIndex(of: "/")
        let last = slash.map { undigested[undigested.index(after: $0)...] } ?? undigested
        // A colon before the last slash belongs to the registry's port.
        let name = last.prefix { $0 != ":" }
        guard !name.isEmpty, !Self.isImageID(undigested) else { return nil }
        self.name = String(name)
        repository = String(undigested[..<name.endIndex])
    }

    private static func isImageID(_ text: Substring) -> Bool {
        let digest = text.hasPrefix("sha256:") ? text.dropFirst(7) : text
        let isHexadecimal = digest.allSatisfy { $0.isHexDigit && $0.isASCII }
        return isHexadecimal && (digest.count == 64 || text.hasPrefix("sha256:"))
    }
}
