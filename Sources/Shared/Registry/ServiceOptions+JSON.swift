extension ServiceOptions {
    /// Reads the options among the fields of an object.
    init(_ fields: inout LenientFields) {
        // Few of the many are said.
        for place in fields.names.compactMap({ Self.places[$0] }).sorted() {
            let field = Self.fields[place]
            guard let text = fields.scalar(field.name, field.expected) else { continue }
            if !field.set(text, &self) { fields.report(field.name, field.expected) }
        }
    }

    /// Writes those that are said.
    func encode(to object: inout KeyedEncodingContainer<FieldName>) throws {
        for field in Self.fields {
            guard let text = field.text(self) else { continue }
            switch field.kind {
            case .number: try object.encode(Int(text), forKey: FieldName(field.name))
            case .boolean: try object.encode(text == "true", forKey: FieldName(field.name))
            case .string: try object.encode(text, forKey: FieldName(field.name))
            }
        }
    }

    /// The table of the documentation: fields, values and defaults.
    package static var markdownTable: String {
        let rows = fields.map { field in
            let cells = [
                "`\(field.name)`", field.scope == .service ? "service" : "endpoint", field.kind.rawValue,
                field.expected, field.standard, field.meaning,
            ]
            return "| " + cells.joined(separator: " | ") + " |"
        }
        let head = ["| field | of | JSON | allowed | default | what it says |", "|---|---|---|---|---|---|"]
        return (head + rows).joined(separator: "\n")
    }
}
