import FoundationEssentials
import TestSupport
import Testing

/// Holds the sources to ARCHITECTURE.md: a room uses the rooms before it, and the system's calls stand in few files.
///
/// It reads texts, not syntax trees. A reference is a capitalized name that begins a path of names, looked for in the
/// own target, then in Shared; what a type nests hides what has the same name outside.
@Suite("Architecture")
struct ArchitectureTests {
    /// Who may call the C library besides Shared/System, Shared/Network and Shared/HTTP.
    private static let callers: [String: String] = [
        "Register/Main.swift": "exit", "Discover/Main.swift": "exit",
        "Discover/HAProxy/Process/HAProxyMaster.swift": "kill",
        "Discover/HAProxy/Process/StateDirectory.swift": "flock",
        "Discover/HAProxy/Process/SupervisedHAProxy.swift": "signals", "Discover/Reconciler.swift": "",
        "Discover/Status/Snapshot.swift": "getpid", "Register/Address/AgentPlacement.swift": "",
        "Register/Address/ListeningPorts.swift": "", "Register/Address/Owner.swift": "gethostname",
        "Register/Docker/DockerClient.swift": "errno", "Register/Status/Snapshot.swift": "getpid",
        "Shared/Lifecycle/Lifecycle.swift": "signals", "Shared/Lifecycle/ShutdownStateMachine.swift": "signals",
    ]

    @Test func `no file names a type of a room above its own`() throws {
        let tree = try SourceTree()
        #expect(tree.files.count > 150)
        #expect(tree.unknownRooms == [])
        #expect(tree.upwardReferences.sorted() == [])
    }

    @Test func `a reference upwards is found`() throws {
        var tree = try SourceTree()
        tree.add(SourceFile("Register", "Docker/Probe.swift", "struct Probe { var agent: RegisterAgent? }"))
        tree.add(
            SourceFile(
                "Register", "Docker/Innocent.swift", "struct Innocent { let text = \"RegisterAgent\" } // RegisterAgent"
            ))
        tree.add(SourceFile("Register", "Docker/Inner.swift", "struct Inner { let text = \"\\(RegisterAgent.self)\" }"))
        let found = tree.upwardReferences.filter { $0.contains("RegisterAgent") }
        #expect(found.contains("Register/Docker/Probe.swift: RegisterAgent"))
        #expect(found.contains("Register/Docker/Inner.swift: RegisterAgent"))
        #expect(!found.contains { $0.contains("Innocent") })
    }

    @Test func `the system's calls and unsafe code stand where they can be counted`() throws {
        let rooms = ["Shared/System/", "Shared/Network/", "Shared/HTTP/"]
        for file in try SourceTree().files where !rooms.contains(where: file.name.hasPrefix) {
            let isAllowed = Self.callers[file.name] != nil
            #expect(isAllowed || !file.imports.contains("Glibc"), "\(file.name) imports Glibc")
            #expect(isAllowed || !file.words.contains("unsafe"), "\(file.name) has unsafe code")
        }
    }
}

/// The rooms and files of Sources.
private struct SourceTree {
    /// The files.
    private(set) var files: [SourceFile] = []
    /// The level of a room in its target, by `Target/Room`; Shared is below the agents.
    private let levels: [String: Int]

    /// Reads Sources, and the rooms in ARCHITECTURE.md: lines such as `Shared: Text Concurrency ...`, the lowest first.
    init() throws {
        var levels: [String: Int] = [:]
        for line in try Documentation("ARCHITECTURE.md").lines {
            let words = line.split(separator: " ").map(String.init)
            guard let target = words.first?.dropLast(), words[0].last == ":", Self.targets.contains(String(target))
            else { continue }
            for (level, room) in words.dropFirst().enumerated() {
                levels["\(target)/\(room)"] = level + (target == "Shared" ? 0 : 1000)
            }
        }
        self.levels = levels
        for target in Self.targets {
            let folder = "\(Laboratory.projectFolder)/Sources/\(target)"
            for path in try FileManager.default.subpathsOfDirectory(atPath: folder) where path.hasSuffix(".swift") {
                let text = try Data(contentsOf: URL(filePath: "\(folder)/\(path)"))
                files.append(SourceFile(target, path, String(decoding: text, as: UTF8.self)))
            }
        }
    }

    private static let targets = ["Shared", "Register", "Discover"]

    /// Adds a file that is not there.
    mutating func add(_ file: SourceFile) { files.append(file) }

    /// The rooms with files that ARCHITECTURE.md does not name.
    var unknownRooms: Set<String> { Set(files.map(\.room)).subtracting(levels.keys) }

    /// The references from a room to one above it, as `file: name`.
    var upwardReferences: Set<String> {
        let outer = Dictionary(grouping: files.flatMap(\.declared), by: \.name)
        let inner = Dictionary(grouping: files.flatMap(\.nested), by: \.name)
        var hidden: [String: Set<String>] = [:]
        for nested in files.flatMap(\.nested) {
            let parts = nested.name.split(separator: ".")
            hidden["\(nested.file.target) \(parts[0])", default: []].insert(String(parts[1]))
        }
        var found: Set<String> = []
        for file in files {
            let hides = file.extended.reduce(into: Set<String>()) {
                $0.formUnion(hidden["\(file.target) \($1)"] ?? [])
            }
            for path in file.paths {
                let first = String(path.prefix { $0 != "." })
                guard !hides.contains(first) || file.extended.contains(first) else { continue }
                let places = [outer[first], path == first ? nil : inner[path]].compactMap { $0 }
                for candidates in places {
                    let visible = candidates.filter { candidate in
                        candidate.file.name == file.name || !candidate.isPrivate
                    }
                    let own = visible.filter { $0.file.name == file.name }
                    let near = visible.filter { $0.file.target == file.target }
                    let shared = visible.filter { $0.file.target == "Shared" }
                    let meant = [own, near, shared].first { !$0.isEmpty } ?? []
                    let isUpward = meant.contains { (levels[$0.file.room] ?? 0) > (levels[file.room] ?? 0) }
                    if isUpward { found.insert("\(file.name): \(path)") }
                }
            }
        }
        return found
    }
}

/// A declaration, `Name` or `Name.Nested`.
private struct Declaration {
    let name: String
    let file: (target: String, room: String, name: String)
    let isPrivate: Bool
}

/// One file, without comments and the words of strings.
private struct SourceFile {
    let target: String
    let room: String
    /// Its path below Sources.
    let name: String
    /// What it imports.
    let imports: Set<String>
    /// All words.
    let words: Set<String>
    /// Capitalized names that begin a path, and the first two parts of longer paths.
    let paths: Set<String>
    /// The types at its top level.
    let declared: [Declaration]
    /// The types in them, and in extensions.
    let nested: [Declaration]
    /// The types that it declares or extends.
    let extended: Set<String>

    init(_ target: String, _ path: String, _ text: String) {
        let folder = path.split(separator: "/").dropLast().joined(separator: "/")
        let place = (target: target, room: "\(target)/\(folder.isEmpty ? "." : folder)", name: "\(target)/\(path)")
        (self.target, room, name) = (target, place.room, place.name)
        var (imports, words, paths) = (Set<String>(), Set<String>(), Set<String>())
        var (declared, nested, extended) = ([Declaration](), [Declaration](), Set<String>())
        var (current, depth) = ("", 0)
        for line in Self.code(text).split(separator: "\n") {
            let tokens = Self.tokens(line)
            let found = tokens.flatMap { $0.split(separator: ".").map(String.init) }
            words.formUnion(found)
            if let index = tokens.firstIndex(of: "import"), index + 1 < tokens.count {
                imports.insert(tokens[index + 1])
            }
            let kinds = ["struct", "class", "enum", "actor", "protocol", "typealias", "extension"]
            if depth < 2, let index = tokens.firstIndex(where: kinds.contains), index + 1 < tokens.count {
                let name = tokens[index + 1]
                let isPrivate = tokens[..<index].contains { $0 == "private" || $0 == "fileprivate" }
                if depth == 0 {
                    current = String(name.prefix { $0 != "." })
                    extended.insert(current)
                    if tokens[index] != "extension" {
                        declared.append(Declaration(name: name, file: place, isPrivate: isPrivate))
                    }
                } else {
                    nested.append(Declaration(name: "\(current).\(name)", file: place, isPrivate: isPrivate))
                }
            }
            // A field may be called like a type: the JSON of others has such names.
            let names = zip([""] + tokens, tokens).filter { !["let", "var", "case"].contains($0.0) }.map(\.1)
            for token in names where token.first?.isUppercase == true {
                let parts = token.split(separator: ".")
                paths.insert(String(parts[0]))
                if parts.count > 1, parts[1].first?.isUppercase == true { paths.insert("\(parts[0]).\(parts[1])") }
            }
            depth += line.count { $0 == "{" } - line.count { $0 == "}" }
        }
        (self.imports, self.words, self.paths) = (imports, words, paths)
        (self.declared, self.nested, self.extended) = (declared, nested, extended)
    }

    /// Paths of names; one that a dot precedes is a member and no type of its own.
    private static func tokens(_ line: Substring) -> [String] {
        line.split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == ".") }.compactMap { word in
            word.first == "." ? nil : String(word)
        }
    }

    /// The text with blanks for comments and the words of strings; what is interpolated stays.
    private static func code(_ text: String) -> String {
        let (quote, slash, backslash, newline) = (
            UInt8(ascii: "\""), UInt8(ascii: "/"), UInt8(ascii: "\\"), UInt8(ascii: "\n")
        )
        let bytes = Array(text.utf8)
        var code: [UInt8] = []
        code.reserveCapacity(bytes.count)
        var index = 0
        // The number of quotes that end a string, and of parentheses that are open in what is interpolated.
        var strings: [(quotes: Int, depth: Int)] = []
        func quotes(at index: Int) -> Int {
            guard bytes[index] == quote else { return 0 }
            return index + 2 < bytes.count && bytes[index + 1] == quote && bytes[index + 2] == quote ? 3 : 1
        }
        while index < bytes.count {
            let byte = bytes[index]
            let next = index + 1 < bytes.count ? bytes[index + 1] : 0
            if let top = strings.last, top.depth == 0 {
                if byte == quote, top.quotes == 1 || quotes(at: index) == 3 {
                    index += top.quotes
                    strings.removeLast()
                } else if byte == backslash, next == UInt8(ascii: "(") {
                    index += 2
                    strings[strings.count - 1].depth = 1
                    code.append(UInt8(ascii: " "))
                } else {
                    index += byte == backslash ? 2 : 1
                    if byte == newline { code.append(byte) }
                }
            } else if byte == slash, next == slash {
                while index < bytes.count, bytes[index] != newline { index += 1 }
            } else if byte == quote {
                strings.append((quotes(at: index), 0))
                index += quotes(at: index)
                code.append(UInt8(ascii: " "))
            } else {
                if !strings.isEmpty, byte == UInt8(ascii: "(") { strings[strings.count - 1].depth += 1 }
                if !strings.isEmpty, byte == UInt8(ascii: ")") { strings[strings.count - 1].depth -= 1 }
                code.append(byte)
                index += 1
            }
        }
        return String(decoding: code, as: UTF8.self)
    }
}
