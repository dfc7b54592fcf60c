import Shared

extension FieldReader {
    /// The labels that are fields of a service as well, by the field's name.
    ///
    /// `port` is where the service itself listens; the listener at consumers is `listen_port`.
    static let labels: [String: Label] = {
        let names = ServiceOptions.fields.map { $0.name.uppercased() } + Label.checks.map(\.name)
        return Dictionary(
            names.compactMap { Label.named[$0] }.map { ($0.name == "PORT" ? "listen_port" : $0.name.lowercased(), $0) }
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
        let name = required("name", of: object, ServiceName.expected) { ServiceName($0) }
        let port = required("port", of: object, Port.expected) { Port(text: $0) }
        let address = value("address", of: object, "an address of one host that others reach") { text in
            IPAddress(text).flatMap { $0.isLoopback || $0.isUnspecified || $0.isMulticast ? nil : $0 }
        }
        let id = value("id", of: object, Self.expectedID) { text in
            InstanceID(text).flatMap { $0.isOfContainer ? nil : $0 }
        }
        var fields = Labels.Fields()
        fields.tags = tags(of: object)
        for (name, label) in Self.labels {
            let said: Labels.Fields? = value(name, of: object, label.expected) { text in
                var (fields, whole) = (fields, Labels.ContainerFields())
                return label.set(text, &fields, &whole) == nil ? nil : fields
            }
            if let said { fields = said }
        }
        guard let name, let port else { return nil }
        return StaticService(name: name, port: port, address: address, id: id, fields: fields)
    }

    private static let expectedID =
        "\(ServiceName.expected), except config, port, and what looks like a container's id (12 hexadecimal digits)"

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
