import Shared

extension FieldReader {
    /// The most bytes of a key.
    private static let longestKey = 512
    /// The most bytes of a value: as many keys as one transaction holds stay below etcd's limit of 1.5 MB.
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
    ) -> [ServicesFile.HostKey] {
        var keys: [ServicesFile.HostKey] = []
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
                keys.append(ServicesFile.HostKey(key: key, value: value))
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
        // With the names that begin like it: Sidekick's own neighbors.
        if key.beginning.hasPrefix(registry) { return "must not begin with the registry's prefix, \(registry)" }
        if !key.isConstant, registry.hasPrefix(key.beginning) {
            return "may come to lie in the registry, \(registry): a constant part has to tell it apart"
        }
        return nil
    }
}

extension FieldReader {
    /// The labels that are fields of a service as well, by the field's name.
    ///
    /// `port` is where the service itself listens; the listener at consumers is `listen_port`.
    static let labels: [String: LabelDefinition] = {
        let names = ServiceOptions.fields.map { $0.name.uppercased() } + LabelDefinition.checks.map(\.name)
        return Dictionary(
            names.compactMap { LabelDefinition.named[$0] }.map {
                ($0.name == "PORT" ? "listen_port" : $0.name.lowercased(), $0)
            }
        ) { first, _ in first }
    }()

    private static let own = ["name", "port", "address", "id", "tags"]
    private static let known = own + labels.keys.sorted()

    /// The instances of a file.
    mutating func services(of file: Object) -> [StaticService] {
        var services: [StaticService] = []
        var paths: [[String]: String] = [:]
        for element in list("services", of: file, atMost: ServicesFile.mostElements) {
            guard let object = object(element, known: Self.known), let service = service(object) else { continue }
            let identity =
                [service.name.text]
                + (service.id.map { [$0.text] } ?? [service.address?.text ?? "", "\(service.port)"])
            if let first = paths[identity] {
                let what = service.id == nil ? "service, address and port" : "service and id"
                report(element.path, element.json.place, "has the same \(what) as \(first)")
            } else {
                paths[identity] = element.path
                services.append(service)
            }
        }
        return services
    }

    private mutating func service(_ object: Object) -> StaticService? {
        let name = required("name", of: object, ServiceName.grammar) { ServiceName($0) }
        let port = required("port", of: object, Port.grammar) { Port(text: $0) }
        let address = value("address", of: object, "an address of one host that others reach") { text in
            IPAddress(text).flatMap { $0.isLoopback || $0.isUnspecified || $0.isMulticast ? nil : $0 }
        }
        let id = value("id", of: object, Self.expectedID) { text in
            InstanceID(text).flatMap { $0.isOfContainer ? nil : $0 }
        }
        var fields = Labels.Fields()
        fields.tags = tags(of: object)
        for (name, label) in Self.labels {
            let said: Labels.Fields? = value(name, of: object, label.grammar) { text in
                var (fields, whole) = (fields, Labels.ContainerFields())
                return label.set(text, &fields, &whole) == nil ? nil : fields
            }
            if let said { fields = said }
        }
        guard let name, let port else { return nil }
        return StaticService(name: name, port: port, address: address, id: id, fields: fields)
    }

    private static let expectedID =
        "\(ServiceName.grammar), except config, port, and what looks like a container's id (12 hexadecimal digits)"

    private mutating func tags(of object: Object) -> [String]? {
        guard let field = object.fields["tags"] else { return nil }
        let tags = list("tags", of: object, atMost: 64).compactMap { tag in
            value(tag, "a word of 1 to 128 bytes") { (1...128).contains($0.utf8.count) ? $0 : nil }
        }
        // They are in the entry's meta, which every consumer reads.
        if tags.reduce(0, { $0 + $1.utf8.count }) > 1024 {
            report(field.path, field.json.place, "has more than 1024 bytes")
        }
        return tags
    }
}

/// Reads values out of JSON, and collects every mistake with its place and field.
///
/// `null` counts as absent.
struct FieldReader {
    /// What was wrong.
    private(set) var mistakes: [LocatedJSON.Diagnostic] = []

    /// A value that has a name and a place.
    struct Field {
        /// Which one, such as `services[1].port`; empty for the whole text.
        var path: String
        /// The value.
        var json: LocatedJSON
    }

    /// An object whose fields are known.
    struct Object {
        /// Which one.
        var path: String
        /// Where it begins.
        var place: LocatedJSON.Location
        /// Its fields by name, without those that are null.
        var fields: [String: Field]

        /// Which of its fields, such as `services[1].port`.
        func path(of field: String) -> String { path.isEmpty ? field : "\(path).\(field)" }
    }

    /// Records a mistake.
    mutating func report(_ path: String, _ place: LocatedJSON.Location, _ text: String) {
        mistakes.append(LocatedJSON.Diagnostic(place: place, path: path, text: text))
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
