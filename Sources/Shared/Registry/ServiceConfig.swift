import FoundationEssentials

/// What an operator says of a service: the JSON object at `<prefix>/<service>/config`.
///
/// It overrides ``Meta``.
package struct ServiceConfig: Equatable, Sendable, Decodable {
    /// What it says.
    package var options = ServiceOptions()

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
        var fields = try LenientFields(decoder)
        options = ServiceOptions(&fields)
        problems = fields.problems
    }
}
