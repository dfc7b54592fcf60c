/// Reads the fields of one JSON object one by one, so that a wrong field costs only itself.
///
/// Fields that are not asked for are ignored, as the registry contract demands of readers.
struct LenientDecoder {
    private let container: KeyedDecodingContainer<FieldName>

    /// The fields that were there but wrong, in the order in which they were read.
    private(set) var problems: [String] = []

    /// Opens the object; throws where the JSON is not an object.
    init(_ decoder: any Decoder) throws {
        container = try decoder.container(keyedBy: FieldName.self)
    }

    /// The names that are there.
    var names: [String] { container.allKeys.map(\.stringValue) }

    /// Reads a field; nil where it is missing, null or wrong.
    ///
    /// A wrong one is added to ``problems``.
    mutating func read<Value: Decodable>(_ name: String, _ expected: String) -> Value? {
        let key = FieldName(name)
        guard container.contains(key) else { return nil }
        do {
            return try container.decodeIfPresent(Value.self, forKey: key)
        } catch {
            report(name, expected)
            return nil
        }
    }

    /// Reads a text, as most fields are; the decoder has a shorter way for these.
    mutating func read(_ name: String, _ expected: String) -> String? {
        do {
            return try container.decodeIfPresent(String.self, forKey: FieldName(name))
        } catch {
            report(name, expected)
            return nil
        }
    }

    /// Reads a number, a switch or a string as text; nil where it is missing, null or something else.
    ///
    /// `80` and `"80"` are the same: who writes JSON by hand means the same.
    mutating func scalar(_ name: String, _ expected: String) -> String? {
        let key = FieldName(name)
        guard container.contains(key), (try? container.decodeNil(forKey: key)) == false else { return nil }
        if let number = try? container.decode(Int64.self, forKey: key) { return String(number) }
        if let isOn = try? container.decode(Bool.self, forKey: key) { return String(isOn) }
        return read(name, expected)
    }

    /// Says that a field is wrong.
    mutating func report(_ name: String, _ expected: String) {
        problems.append("\(name): not \(expected)")
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
