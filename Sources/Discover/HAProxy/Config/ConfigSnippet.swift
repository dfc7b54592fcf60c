import Shared

/// Lines that an operator adds to haproxy.cfg on this host, from a file of their own, which are put there as they are.
struct ConfigSnippet: Equatable, Sendable {
    /// Where they go.
    enum Location: String, CaseIterable, Comparable, Sendable {
        /// At the end of the global section.
        case global
        /// At the end of the defaults section.
        case defaults
        /// Whole sections, at the end of the file.
        case extra

        static func < (left: Location, right: Location) -> Bool { left.rawValue > right.rawValue }
    }

    /// The file, for messages.
    let path: String

    /// Its lines, without their ends.
    let lines: [String]

    /// Why a file cannot be used.
    enum Failure: Error, Equatable {
        /// The system refused.
        case system(FileError)
        /// There is no such file.
        case missing(path: String)
        /// A line of it is not text, or does not belong there.
        case wrong(path: String, line: Int, why: String)
    }

    /// The largest file, in bytes.
    static let largest = 1 << 20

    /// Takes lines of haproxy.cfg.
    init(path: String, lines: [String]) {
        self.path = path
        self.lines = lines
    }

    /// Reads a file.
    init(_ path: String, for place: Location) throws(Failure) {
        let bytes: [UInt8]?
        do {
            bytes = try FileContents(path, limit: Self.largest).bytes
        } catch {
            throw .system(error)
        }
        guard let bytes else { throw .missing(path: path) }
        try self.init(bytes, of: path, for: place)
    }

    /// Takes the bytes of a file: lines end with LF or CRLF, the last one also without.
    init(_ bytes: [UInt8], of path: String, for place: Location) throws(Failure) {
        var pieces = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if pieces.last?.isEmpty == true { pieces.removeLast() }
        var lines: [String] = []
        for piece in pieces {
            let line = piece.last == UInt8(ascii: "\r") ? piece.dropLast() : piece
            guard let text = String(validating: line, as: UTF8.self), line.allSatisfy({ $0 >= 0x20 || $0 == 0x09 })
            else { throw .wrong(path: path, line: lines.count + 1, why: "it is not text") }
            lines.append(text)
        }
        self.init(path: path, lines: lines)
        if let (line, why) = misplaced(in: place) { throw .wrong(path: path, line: line, why: why) }
    }

    /// The words of each line that has some, without comments.
    fileprivate var words: [(line: Int, words: [Substring])] {
        lines.enumerated().compactMap { index, line in
            let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
            return words.isEmpty ? nil : (index + 1, words)
        }
    }
}

// MARK: What belongs where

extension ConfigSnippet {
    /// What begins a section, up to HAProxy 3.4.
    private static let sections: Set<Substring> = [
        "global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "mailers", "resolvers", "cache",
        "ring", "log-forward", "log-profile", "http-errors", "fcgi-app", "program", "crt-store", "traces", "acme",
    ]

    /// What docker-discover depends on.
    private static let ownKeywords: Set<Substring> = ["description", "daemon", "server-state-file", "master-worker"]

    /// The first line that would change what docker-discover itself has written, and why.
    private func misplaced(in place: Location) -> (Int, String)? {
        var isInSection = false
        if place == .extra, let found = impossibleService { return found }
        for (line, words) in words {
            let word = words[0]
            switch place {
            case .global where Self.ownKeywords.contains(word): return (line, "'\(word)' is docker-discover's")
            case .global where Self.sections.contains(word), .defaults where Self.sections.contains(word):
                return (line, "'\(word)' begins a section, which belongs into EXTRA_FILE")
            case .extra where word == "global": return (line, "'global' is for GLOBAL_FILE")
            case .extra:
                isInSection = isInSection || Self.sections.contains(word)
                if !isInSection { return (line, "'\(word)' is in no section") }
            default: continue
            }
        }
        return nil
    }

    /// The line that has HAProxy change its root folder; nil where none does.
    var chroot: Int? { words.first { $0.words[0] == "chroot" }?.line }

    /// The names of the proxies that it defines: no service can have one of them.
    var proxies: Set<String> {
        Set(
            words.compactMap { _, words in
                guard ["frontend", "backend", "listen"].contains(words[0]), words.count > 1 else { return nil }
                return String(words[1])
            })
    }

    /// What leads to a section, by the name that follows.
    private static let leads: Set<Substring> = ["use_backend", "default_backend"]

    /// What asks for the state of a section, by the name in parentheses.
    private static let fetches: Set<Substring> = [
        "avg_queue", "be_conn", "be_conn_free", "be_sess_rate", "connslots", "nbsrv", "queue",
    ]

    /// The sections to which its own ones lead, each with the line and the mode of the section that does.
    ///
    /// A name that HAProxy makes up for each request, such as `%[path,map(...)]`, is none.
    ///
    /// - Parameter mode: that of sections which do not say theirs.
    fileprivate func references(_ mode: ServiceMode) -> [(line: Int, name: Substring, mode: ServiceMode)] {
        var (standard, found) = (mode, [(line: Int, name: Substring, mode: ServiceMode)]())
        let words = words
        let begins = words.indices.filter { Self.sections.contains(words[$0].words[0]) }
        for (begin, end) in zip([0] + begins, begins + [words.count]) where begin < end {
            let section = words[begin..<end]
            let mode = Self.mode(section.map(\.words)) ?? standard
            if section.first?.words.first == "defaults" { standard = mode }
            found += section.flatMap { line, words in Self.names(in: words).map { (line, $0, mode) } }
        }
        return found
    }

    /// The mode that lines of a section give it; nil where they do not.
    private static func mode(_ lines: [[Substring]]) -> ServiceMode? {
        lines.last { $0.count > 1 && $0[0] == "mode" }.flatMap { ServiceMode(rawValue: String($0[1])) }
    }

    /// The mode that it gives a defaults section; nil where it does not.
    fileprivate var mode: ServiceMode? { Self.mode(words.map(\.words)) }

    /// The names of sections in the words of a line.
    private static func names(in words: [Substring]) -> [Substring] {
        let named = words.count > 1 && leads.contains(words[0]) ? [words[1]] : []
        let asked = words.flatMap { word in
            word.indices.filter { word[$0] == "(" }.compactMap { open -> Substring? in
                let keyword = word[..<open].reversed().prefix { $0.isLetter || $0 == "_" }.reversed()
                guard fetches.contains(Substring(String(keyword))) else { return nil }
                return word[open...].dropFirst().prefix { $0 != ")" && $0 != "," }
            }
        }
        return (named + asked).filter { name in !name.isEmpty && !name.contains { "%$\"'\\".contains($0) } }
    }

    /// The first line that leads to a section which it does not have, and which no service can be; and why.
    private var impossibleService: (Int, String)? {
        let proxies = proxies
        return references(.tcp).first { !proxies.contains(String($0.name)) && ServiceName($0.name) == nil }
            .map { ($0.line, "'\($0.name)' is no section of this file, and no service can have that name") }
    }

    /// Where it listens, as far as it says so with an address and a port.
    var binds: Set<BindAddress> {
        Set(
            words.filter { $0.words[0] == "bind" && $0.words.count > 1 }.flatMap { _, words in
                words[1].split(separator: ",").compactMap { BindAddress($0) }
            })
    }
}

extension ConfigSnippet.Failure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .system(let error): error.description
        case .missing(let path): "there is no file \(path)"
        case .wrong(let path, let line, let why): "\(path), line \(line): \(why)"
        }
    }
}

/// All that an operator adds to haproxy.cfg on this host.
struct ConfigSnippets: Equatable, Sendable {
    private var parts: [ConfigSnippet.Location: ConfigSnippet] = [:]

    /// Makes none.
    init() {}

    /// The snippet of a location; nil for none.
    subscript(place: ConfigSnippet.Location) -> ConfigSnippet? {
        get { parts[place] }
        set { parts[place] = newValue }
    }

    /// The lines of a location.
    func lines(_ place: ConfigSnippet.Location) -> [String] { parts[place]?.lines ?? [] }

    /// Whether there are none.
    var isEmpty: Bool { parts.isEmpty }

    /// The names of the proxies that it defines: no service can have one of them.
    var proxies: Set<String> { parts[.extra]?.proxies ?? [] }

    /// The services that its sections lead to, with the mode in which they do: what is not a section of its own.
    ///
    /// Where it leads to one from both modes, that is http, to which HAProxy also connects what is in mode tcp.
    var services: [ServiceName: ServiceMode] {
        let standard = parts[.defaults]?.mode ?? ServiceOptions.mode.defaultValue
        let proxies = proxies
        let references = [ConfigSnippet.Location.defaults, .extra].flatMap { parts[$0]?.references(standard) ?? [] }
        return references.reduce(into: [:]) { services, reference in
            guard !proxies.contains(String(reference.name)), let service = ServiceName(reference.name) else { return }
            if services[service] != .http { services[service] = reference.mode }
        }
    }

    /// Why an HAProxy with these rights would end at the start although it finds the file right; nil where it would not.
    ///
    /// With a worker that ends at the start, its master ends all others too.
    func missingCapability(of rights: ProcessCapabilities) -> String? {
        guard !rights.mayChroot, let global = parts[.global], let line = global.chroot else { return nil }
        return "\(global.path), line \(line): HAProxy lacks CAP_SYS_CHROOT, needed by 'chroot'"
    }

    /// Where it listens: no service can listen there.
    var binds: Set<BindAddress> { parts[.extra]?.binds ?? [] }
}

/// The files from which snippets are read, by location.
struct SnippetFiles: Equatable, Sendable {
    /// Their paths.
    var paths: [ConfigSnippet.Location: String] = [:]

    /// What they say, and which of them cannot be used.
    struct Candidate: Sendable {
        /// The files that can be used.
        var snippets = ConfigSnippets()
        /// Why the others cannot.
        var failures: [ConfigSnippet.Location: ConfigSnippet.Failure] = [:]
    }

    /// Reads them all.
    func read() -> Candidate {
        paths.reduce(into: Candidate()) { candidate, file in
            do throws(ConfigSnippet.Failure) {
                candidate.snippets[file.key] = try ConfigSnippet(file.value, for: file.key)
            } catch {
                candidate.failures[file.key] = error
            }
        }
    }
}

extension HAProxyConfiguration {
    /// What tells where sections begin that are not docker-discover's.
    static let extraMark = "# Sections from "

    /// The lines that an operator adds at a place, below a comment that names their file.
    static func added(_ snippets: ConfigSnippets, at place: ConfigSnippet.Location) -> String {
        guard let snippet = snippets[place] else { return "" }
        return ([mark(of: snippet, at: place)] + snippet.lines).map { $0 + "\n" }.joined()
    }

    private static func mark(of snippet: ConfigSnippet, at place: ConfigSnippet.Location) -> String {
        place == .extra ? extraMark + snippet.path : "    # From \(snippet.path)"
    }

    /// HAProxy's words about this file, with the lines of snippets named as their own files count them.
    ///
    /// HAProxy names a line as `[/path/haproxy.cfg.new:12]`.
    func explain(_ words: String, _ snippets: ConfigSnippets) -> String {
        var told = ""
        var rest = words[...]
        while let open = rest.firstIndex(of: "["), let close = rest[open...].firstIndex(of: "]") {
            let inside = rest[rest.index(after: open)..<close]
            let number = inside.split(separator: ":").last.flatMap { Int($0) }
            let place = number.flatMap { origin(ofLine: $0, snippets) } ?? String(inside)
            told += "\(rest[..<open])[\(place)]"
            rest = rest[close...].dropFirst()
        }
        return told + rest
    }

    /// The file and line from which a line of this file comes; nil for docker-discover's own.
    private func origin(ofLine number: Int, _ snippets: ConfigSnippets) -> String? {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for place in ConfigSnippet.Location.allCases {
            guard let snippet = snippets[place],
                let begin = lines.firstIndex(of: Self.mark(of: snippet, at: place)[...])
            else { continue }
            // Lines count from one, so that of the comment is `begin + 1`.
            let line = number - begin - 1
            if (1...max(snippet.lines.count, 1)).contains(line) { return "\(snippet.path):\(line)" }
        }
        return nil
    }
}
