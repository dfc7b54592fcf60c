import Shared

extension FieldReader {
    /// The most bytes of a key.
    private static let longestKey = 512
    /// The most bytes of a value: as many keys as one transaction takes stay below etcd's limit of 1.5 MB.
    private static let longestValue = 8192

    /// The constants of a file, by name.
    mutating func constants(of file: Object) -> [String: String] {
        guard let field = file.fields["constants"], let object = object(field, known: nil) else { return [:] }
        var constants: [String: String] = [:]
        for (name, field) in object.fields {
            if KeyTemplate.isName(name) {
                constants[name] = value(field, "a text, a number or a switch") { $0 }
            } else {
                report(field.path, field.json.place, "the name is not \(KeyTemplate.expectedName)")
            }
        }
        return constants
    }

    /// The plain keys of a file.
    mutating func keys(
        of file: Object, constants: [String: String], _ keyspace: Keyspace?
    ) -> [ServicesFile.PlainKey] {
        var keys: [ServicesFile.PlainKey] = []
        var paths: [KeyTemplate: String] = [:]
        for element in list("keys", of: file, atMost: ServicesFile.mostElements) {
            guard let object = object(element, known: ["key", "value"]) else { continue }
            let key = template("key", of: object, constants, longest: Self.longestKey)
            let value = template("value", of: object, constants, longest: Self.longestValue)
            guard let key, let value, let field = object.fields["key"] else { continue }
            if let problem = Self.problem(of: key, keyspace) {
                report(field.path, field.json.place, "\(field.json) \(problem)")
            } else if let first = paths[key] {
                report(field.path, field.json.place, "is the same key as \(first)")
            } else {
                paths[key] = field.path
                keys.append(ServicesFile.PlainKey(key: key, value: value))
            }
        }
        return keys
    }

    private mutating func template(
        _ name: String, of object: Object, _ constants: [String: String], longest: Int
    ) -> KeyTemplate? {
        let text = required(name, of: object, "a text; {host}, {address} and {<constant>} stand for values") { $0 }
        guard let text, let field = object.fields[name] else { return nil }
        do throws(KeyTemplate.UnknownPlaceholder) {
            let template = try KeyTemplate(text, constants: constants)
            guard template.mostBytes <= longest else {
                report(field.path, field.json.place, "may come to more than \(longest) bytes")
                return nil
            }
            return template
        } catch {
            let known = error.known.map { "{\($0)}" }.joined(separator: ", ")
            let suggestion = Suggestion.text(for: error.name, among: error.known)
            report(field.path, field.json.place, "{\(error.name)} is none of \(known)\(suggestion)")
            return nil
        }
    }

    /// What is wrong with a key; nil where nothing is.
    private static func problem(of key: KeyTemplate, _ keyspace: Keyspace?) -> String? {
        let shape = key.shape
        let isPlain = shape.unicodeScalars.allSatisfy {
            !$0.properties.isWhitespace && $0.properties.generalCategory != .control
        }
        let parts = shape.split(separator: "/", omittingEmptySubsequences: false)
        guard isPlain, parts.count >= 2, parts[0].isEmpty, !parts.dropFirst().contains("") else {
            return "is not a key: it begins with '/', has no empty part, no space and no '/' at its end"
        }
        guard let registry = keyspace?.prefix.dropLast() else { return nil }
        // With the names that begin like it: Sidekick's own neighbours.
        if key.beginning.hasPrefix(registry) { return "must not begin with the registry's prefix, \(registry)" }
        if !key.isConstant, registry.hasPrefix(key.beginning) {
            return "may come to lie in the registry, \(registry): a constant part has to tell it apart"
        }
        return nil
    }
}
