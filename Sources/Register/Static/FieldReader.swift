import Shared

/// Reads values out of JSON, and collects every mistake with its place and field.
///
/// `null` counts as absent.
struct FieldReader {
    /// What was wrong.
    private(set) var mistakes: [PlacedJSON.Mistake] = []

    /// A value that has a name and a place.
    struct Field {
        /// Which one, such as `services[1].port`; empty for the whole text.
        var path: String
        /// The value.
        var json: PlacedJSON
    }

    /// An object whose fields are known.
    struct Object {
        /// Which one.
        var path: String
        /// Where it begins.
        var place: PlacedJSON.Place
        /// Its fields by name, without those that are null.
        var fields: [String: Field]

        /// Which of its fields, such as `services[1].port`.
        func path(of field: String) -> String { path.isEmpty ? field : "\(path).\(field)" }
    }

    /// Records a mistake.
    mutating func report(_ path: String, _ place: PlacedJSON.Place, _ text: String) {
        mistakes.append(PlacedJSON.Mistake(place: place, path: path, text: text))
    }

    /// Records that a value is not what it should be.
    mutating func report(_ field: Field, isNot expected: String) {
        report(field.path, field.json.place, "\(field.json) is not \(expected)")
    }

    /// Opens an object; nil where it is none.
    ///
    /// - Parameter known: the fields that it may have; nil for any.
    mutating func object(_ field: Field, known: [String]?) -> Object? {
        guard case .object(let members) = field.json.value else {
            report(field, isNot: "an object: { \"field\": value, ... }")
            return nil
        }
        var object = Object(path: field.path, place: field.json.place, fields: [:])
        var seen: Set<String> = []
        for member in members {
            let path = object.path(of: String(member.name.prefix(100)))
            if !seen.insert(member.name).inserted {
                report(path, member.place, "is there twice")
            } else if let known, !known.contains(member.name) {
                let suggestion = Suggestion.text(for: member.name, among: known)
                report(path, member.place, "there is no such field\(suggestion)")
            } else if member.value.value != .null {
                object.fields[member.name] = Field(path: path, json: member.value)
            }
        }
        return object
    }

    /// The elements of a list; none where it is missing or no list.
    mutating func list(_ name: String, of object: Object, atMost most: Int) -> [Field] {
        guard let field = object.fields[name] else { return [] }
        guard case .list(let elements) = field.json.value else {
            report(field, isNot: "a list: [ ... ]")
            return []
        }
        if elements.count > most { report(field.path, field.json.place, "has more than \(most) elements") }
        return elements.prefix(most).enumerated().map { Field(path: "\(field.path)[\($0)]", json: $1) }
    }

    /// What `parse` makes of a field's text; nil where it is missing or wrong.
    ///
    /// Numbers and switches may be written as texts, and the other way round.
    mutating func value<Value>(
        _ name: String, of object: Object, _ expected: String, _ parse: (String) -> Value?
    ) -> Value? {
        guard let field = object.fields[name] else { return nil }
        return value(field, expected, parse)
    }

    /// What `parse` makes of a field's text; nil where that is wrong.
    mutating func value<Value>(_ field: Field, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = field.json.scalar, let value = parse(text) else {
            report(field, isNot: expected)
            return nil
        }
        return value
    }

    /// The same, of a field that has to be there.
    mutating func required<Value>(
        _ name: String, of object: Object, _ expected: String, _ parse: (String) -> Value?
    ) -> Value? {
        if object.fields[name] == nil {
            report(object.path(of: name), object.place, "has to be there: \(expected)")
        }
        return value(name, of: object, expected, parse)
    }
}
