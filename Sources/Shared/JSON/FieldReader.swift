/// Reads values out of JSON, and collects every mistake with its place and field.
///
/// `null` counts as absent.
package struct FieldReader {
    /// What was wrong.
    package private(set) var mistakes: [LocatedJSON.Diagnostic] = []

    /// A value that has a name and a place.
    package struct Field {
        /// Which one, such as `services[1].port`; empty for the whole text.
        package var path: String
        /// The value.
        package var json: LocatedJSON

        /// Names a value.
        package init(path: String, json: LocatedJSON) { (self.path, self.json) = (path, json) }
    }

    /// An object whose fields are known.
    package struct Object {
        /// Which one.
        package var path: String
        /// Where it begins.
        package var place: LocatedJSON.Location
        /// Its fields by name, without those that are null.
        package var fields: [String: Field]

        /// Which of its fields, such as `services[1].port`.
        package func path(of field: String) -> String { path.isEmpty ? field : "\(path).\(field)" }
    }

    /// Reads a text that is one object with known fields; `body` makes of it what it stands for.
    package static func read<Value>(
        _ text: some Collection<UInt8>, known: [String], _ body: (inout FieldReader, Object) -> Value
    ) throws(Mistakes) -> Value {
        let json: LocatedJSON
        do {
            json = try LocatedJSONParser.parse(text)
        } catch {
            throw Mistakes(all: [error])
        }
        var reader = FieldReader()
        let value = reader.object(Field(path: "", json: json), known: known).map { body(&reader, $0) }
        guard let value, reader.mistakes.isEmpty else {
            throw Mistakes(all: reader.mistakes.sorted { ($0.place, $0.path, $0.text) < ($1.place, $1.path, $1.text) })
        }
        return value
    }

    /// Records a mistake.
    package mutating func report(_ path: String, _ place: LocatedJSON.Location, _ text: String) {
        mistakes.append(LocatedJSON.Diagnostic(place: place, path: path, text: text))
    }

    /// Records that a value is not what it should be.
    package mutating func report(_ field: Field, isNot expected: String) {
        report(field.path, field.json.place, "\(field.json) is not \(expected)")
    }

    /// Opens an object; nil where it is none.
    ///
    /// - Parameter known: the fields that it may have; nil for any.
    package mutating func object(_ field: Field, known: [String]?) -> Object? {
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
    package mutating func list(_ name: String, of object: Object, atMost most: Int) -> [Field] {
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
    package mutating func value<Value>(
        _ name: String, of object: Object, _ expected: String, _ parse: (String) -> Value?
    ) -> Value? {
        guard let field = object.fields[name] else { return nil }
        return value(field, expected, parse)
    }

    /// What `parse` makes of a field's text; nil where that is wrong.
    package mutating func value<Value>(_ field: Field, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = field.json.scalar, let value = parse(text) else {
            report(field, isNot: expected)
            return nil
        }
        return value
    }

    /// The same, of a field that has to be there.
    package mutating func required<Value>(
        _ name: String, of object: Object, _ expected: String, _ parse: (String) -> Value?
    ) -> Value? {
        if object.fields[name] == nil {
            report(object.path(of: name), object.place, "has to be there: \(expected)")
        }
        return value(name, of: object, expected, parse)
    }
}
