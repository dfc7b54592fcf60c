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
