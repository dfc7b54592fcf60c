import Shared

/// A file that docker-discover writes for another program, as the outputs file says it.
///
/// docs/outputs.md has the schema.
struct OutputDefinition: Equatable, Sendable {
    /// What makes the file's text.
    enum Renderer: Equatable, Sendable {
        /// A program with its arguments: it gets the catalog on standard input, and prints the file.
        case program([String])
        /// One of the built-in formats.
        case format(OutputFormat)
    }

    /// Where the file is; `{service}` in its last part makes one file for each service.
    var file: String
    /// What makes its text.
    var renderer: Renderer
    /// Which services are in it: names, with `*` for any letters; empty for all.
    var services: [NamePattern] = []
    /// What the keys begin with that are in it.
    var keys: [String] = []
    /// The program that says whether a file is good, with its arguments; `{}` stands for the file before it is in place.
    var check: [String]?
    /// The program that has somebody read the file, with its arguments.
    var reload: [String]?
    /// The permissions of the file.
    var mode: UInt32 = 0o644
    /// The shortest time between two renderings.
    var wait: Duration = .milliseconds(100)
    /// How long each program may take.
    var timeout: Duration = .seconds(10)

    /// Stands for the name of a service in ``file``, so that there is one for each.
    static let placeholder = "{service}"
    /// Stands for the candidate file in ``check``.
    static let candidate = "{}"

    /// Whether there is a file for each service.
    var isPerService: Bool { file.contains(Self.placeholder) }
    /// Whether the check looks at a file before it is in place.
    var checksCandidate: Bool { check?.contains { $0.contains(Self.candidate) } ?? false }
}

/// A pattern of names, in which `*` stands for any letters.
struct NamePattern: Equatable, Sendable {
    private let parts: [Substring]

    /// Reads a pattern; nil for one that no service name matches.
    init?(_ text: String) {
        guard !text.isEmpty, text.utf8.allSatisfy({ NameGrammar.isLetterOrDigit($0) || "._-*".utf8.contains($0) })
        else { return nil }
        parts = text.split(separator: "*", omittingEmptySubsequences: false)
    }

    /// What a pattern may be, for messages.
    static let grammar = "a service's name, in which * stands for any letters, such as web or web-*"

    /// Whether a name matches: its beginning, its end, and the parts between them in their order.
    func matches(_ name: ServiceName) -> Bool {
        guard let first = parts.first, let last = parts.last else { return false }
        guard parts.count > 1 else { return name.text == first }
        guard name.text.hasPrefix(first), name.text.utf8.count >= first.utf8.count + last.utf8.count else {
            return false
        }
        var rest = name.text.dropFirst(first.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let found = rest.firstRange(of: part) else { return false }
            rest = rest[found.upperBound...]
        }
        return rest.hasSuffix(last)
    }
}

/// The outputs file as docker-discover follows it: what it said when it was last right.
struct OutputsFile: Sendable {
    /// Where it is.
    let path: String
    /// The outputs, in the order of the file.
    let outputs: [OutputDefinition]

    /// The most outputs.
    private static let mostOutputs = 100

    /// Reads a file.
    ///
    /// It names programs that run with this process's rights, so nobody with fewer may have written it.
    init(_ path: String) throws(JSONFile.Failure) {
        self.path = path
        if let exposure = Folder.exposure(of: path) {
            throw .wrong(path: path, Mistakes(whole: Self.problem(exposure, path)))
        }
        outputs = try JSONFile.read(path) { text throws(Mistakes) in try Self.outputs(in: text) }
    }

    private static func problem(_ exposure: Folder.Exposure, _ path: String) -> String {
        switch exposure {
        case .owner(let owner):
            "it belongs to user \(owner); it has to be root's or this program's user's (chown \(Folder.ownAccount) \(path))"
        case .mode(let mode):
            "others may write it (mode \(String(mode, radix: 8))); only its owner may (chmod go-w \(path))"
        }
    }

    /// The outputs in a text.
    static func outputs(in text: some Collection<UInt8>) throws(Mistakes) -> [OutputDefinition] {
        try FieldReader.read(text, known: ["outputs"]) { reader, file in
            var outputs: [OutputDefinition] = []
            var paths: [String: String] = [:]
            for element in reader.list("outputs", of: file, atMost: mostOutputs) {
                guard let object = reader.object(element, known: FieldReader.outputFields),
                    let output = reader.output(object)
                else { continue }
                if let first = paths[output.file] {
                    reader.report(element.path, element.json.place, "writes the same file as \(first)")
                } else {
                    paths[output.file] = element.path
                    outputs.append(output)
                }
            }
            return outputs
        }
    }
}

extension FieldReader {
    /// The fields of an output.
    static let outputFields = [
        "file", "render", "format", "domain", "ttl", "services", "keys", "check", "reload", "mode", "wait", "timeout",
    ]

    private static let expectedProgram = "a program with its arguments: [\"nginx\", \"-t\"]"

    /// Reads one output; nil where something is wrong, which is then recorded.
    fileprivate mutating func output(_ object: Object) -> OutputDefinition? {
        let file = required("file", of: object, "an absolute path") { text in
            Folder.isPath(text) && text.last != "/" ? text : nil
        }
        let renderer = renderer(of: object)
        let services: [NamePattern] = list("services", of: object, atMost: 1000).compactMap { field in
            value(field, NamePattern.grammar) { NamePattern($0) }
        }
        let keys: [String] = list("keys", of: object, atMost: 100).compactMap { field in
            value(field, "the beginning of keys, such as /infrastructure/") { $0.hasPrefix("/") ? $0 : nil }
        }
        let check = program("check", of: object)
        let reload = program("reload", of: object)
        let mode: UInt32? = value("mode", of: object, "permissions in octal, such as \"0644\"") { text in
            UInt32(text, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil }
        }
        let wait = duration("wait", of: object, in: .zero...(.seconds(3600)))
        let timeout = duration("timeout", of: object, in: .milliseconds(100)...(.seconds(3600)))
        guard let file, let renderer else { return nil }
        var output = OutputDefinition(file: file, renderer: renderer, services: services, keys: keys)
        (output.check, output.reload) = (check, reload)
        output.mode = mode ?? output.mode
        output.wait = wait ?? output.wait
        output.timeout = timeout ?? output.timeout
        checkPlaceholders(of: output, object)
        return output
    }

    /// One file for each service is only made of a format that one service has, and there is no check of one alone.
    private mutating func checkPlaceholders(of output: OutputDefinition, _ object: Object) {
        guard output.isPerService, let field = object.fields["file"] else { return }
        let name = output.file.split(separator: "/").last ?? ""
        let placeholder = OutputDefinition.placeholder
        if !name.contains(placeholder) || output.file.components(of: placeholder) != 2 {
            report(field.path, field.json.place, "\(placeholder) may stand in it once, in the last part of the path")
        }
        if output.renderer != .format(.json) {
            report(field.path, field.json.place, "\(placeholder) needs \"format\": \"json\"")
        }
        if let check = object.fields["check"] {
            report(check.path, check.json.place, "does not go together with \(placeholder) in file")
        }
    }

    private mutating func renderer(of object: Object) -> OutputDefinition.Renderer? {
        let program = program("render", of: object)
        let name: OutputFormat.Name? = value("format", of: object, OutputFormat.Name.grammar) { .init(rawValue: $0) }
        let domain: DomainName? = value("domain", of: object, DomainName.grammar) { DomainName($0) }
        let ttl: Int? = value("ttl", of: object, "seconds from 0 to 86400") { text in
            Int(text).flatMap { (0...86400).contains($0) ? $0 : nil }
        }
        switch (object.fields["render"], object.fields["format"]) {
        case (nil, nil):
            report(
                object.path, object.place,
                "needs render, \(Self.expectedProgram), or format, \(OutputFormat.Name.grammar)")
        case (let render?, _?):
            report(render.path, render.json.place, "does not go together with format")
        case (_?, nil):
            for name in ["domain", "ttl"] { object.fields[name].map { refuse($0, "is for the formats of DNS") } }
            return program.map { .program($0) }
        case (nil, _?):
            let format = name.map { OutputFormat($0, domain: domain, ttl: ttl) }
            if let format, !format.hasDomain { object.fields["domain"].map { refuse($0, "is for zone and hosts") } }
            if let format, !format.hasTTL { object.fields["ttl"].map { refuse($0, "is for zone") } }
            return format.map { .format($0) }
        }
        return nil
    }

    private mutating func refuse(_ field: Field, _ reason: String) { report(field.path, field.json.place, reason) }

    private mutating func program(_ name: String, of object: Object) -> [String]? {
        guard let field = object.fields[name] else { return nil }
        let before = mistakes.count
        let words: [String] = list(name, of: object, atMost: 1000).compactMap { word in
            value(word, "a text") { $0.utf8.contains(0) ? nil : $0 }
        }
        guard mistakes.count == before else { return nil }
        guard let first = words.first, !first.isEmpty else {
            report(field, isNot: Self.expectedProgram)
            return nil
        }
        return words
    }

    private mutating func duration(_ name: String, of object: Object, in range: ClosedRange<Duration>) -> Duration? {
        let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
        return value(name, of: object, "a time from \(least) to \(most), such as \"500ms\"") { text in
            DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}

extension String {
    /// How many parts a text has that a separator separates.
    fileprivate func components(of separator: String) -> Int { ranges(of: separator).count + 1 }
}
