/// Reads the fields of one JSON object one by one, so that a wrong field costs only itself.
///
/// Fields that are not asked for are ignored, as the registry contract demands of readers.
struct LenientFields {
    private let container: KeyedDecodingContainer<FieldName>

    /// The fields that were there but wrong, in the order in which they were read.
    private(set) var problems: [String] = []

    /// Opens the object; throws where the JSON is not an object.
    init(_ decoder: any Decoder) throws {
        container = try decoder.container(keyedBy: FieldName.self)
    }

    /// Reads a field; nil where it is missing, null or wrong.
    ///
    /// A wrong one is added to ``problems``.
    mutating func read<Value: Decodable>(_ name: String, _ expected: String) -> Value? {
        do {
            return try container.decodeIfPresent(Value.self, forKey: FieldName(name))
        } catch {
            problems.append("\(name): not \(expected)")
            return nil
        }
    }
}

/// A field's name in an object whose fields are not all known.
struct FieldName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    /// Makes a name.
    init(_ name: String) { stringValue = name }

    /// Makes a name; never nil.
    init?(stringValue: String) { self.init(stringValue) }

    /// Objects have no numbered fields: always nil.
    init?(intValue: Int) { nil }
}
