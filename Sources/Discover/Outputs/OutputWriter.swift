import FoundationEssentials
import Shared

/// Why an output is not what the catalog says.
///
/// Whatever it is, the last good file is in place.
enum OutputFailure: Error, Equatable {
    /// The text could not be made.
    case render(String)
    /// The check found the file bad.
    case check(String)
    /// The file could not be written.
    case write(String)
    /// The file is in place, and its reader was not told, or refused it.
    case reload(String)
}

extension OutputFailure: CustomStringConvertible {
    /// One sentence for the log.
    var description: String {
        switch self {
        case .render(let reason): "render: \(reason)"
        case .check(let reason): "check: \(reason)"
        case .write(let reason): reason
        case .reload(let reason): "reload: \(reason)"
        }
    }
}

/// Keeps one output at what the catalog says.
///
/// What is remembered, also over a restart, is the text with which check and reload last went well, so that whatever
/// failed is tried again, and nothing is done where nothing changed.
struct OutputWriter: Sendable {
    /// What came of a call.
    struct Outcome: Equatable, Sendable {
        /// How many files were written or removed.
        var written = 0
        /// Whether the reader was told.
        var isReloaded = false
        /// What was left out of the text, and why; nil where nothing was rendered.
        var problems: [String]?
    }

    private let output: OutputDefinition
    /// Where the texts are kept that were reloaded, and the renderer's input.
    private let folder: String
    private let environment: [String: String]
    /// What the output was last brought to.
    private var done: OutputCatalog?

    /// The largest text of a renderer, in bytes.
    private static let mostBytes = 64 << 20

    /// Prepares an output.
    ///
    /// - Parameter environment: the one of the output's programs.
    init(_ output: OutputDefinition, folder: String, environment: [String: String]) {
        (self.output, self.folder, self.environment) = (output, folder, environment)
    }

    /// Brings the output to a catalog.
    mutating func apply(_ catalog: OutputCatalog) async throws -> Outcome {
        let view = catalog.view(of: output)
        if let done, done.saysTheSame(as: view) { return Outcome() }
        try Self.saying(OutputFailure.write) { try Folder.create(folder) }
        let text = try await render(view)
        var outcome = Outcome(problems: text.problems)
        let before = try contents(of: Set(text.files.keys).union(reloaded()))
        let changed = before.filter { text.files[$0.key] != $0.value }
        if !changed.isEmpty {
            try await write(text.files, over: changed)
            outcome.written = changed.count
        }
        if try isReloadDue(text.files) {
            // A run that ended between the two has left a file that nobody has checked.
            if changed.isEmpty, !output.checksCandidate { try await check(output.check) }
            try await reload()
            outcome.isReloaded = output.reload != nil
            try remember(text.files)
        }
        done = view
        return outcome
    }
}

// MARK: Render

extension OutputWriter {
    /// The texts of an output's files, by path, and what was left out of them.
    struct Rendering {
        /// The texts.
        var files: [String: [UInt8]]
        /// What was left out.
        var problems: [String] = []
    }

    /// Renders the output.
    func render(_ view: OutputCatalog) async throws -> Rendering {
        switch output.renderer {
        case .format(let format): return try Self.saying(OutputFailure.render) { try rendering(view, format) }
        case .program(let words): return Rendering(files: [output.file: try await print(words, view)])
        }
    }

    private func rendering(_ view: OutputCatalog, _ format: OutputFormat) throws -> Rendering {
        guard output.isPerService else {
            let text = try format.text(of: view, after: try FileContents(output.file).bytes)
            return Rendering(files: [output.file: text.bytes], problems: text.problems)
        }
        let files = view.services.map { service in
            (path(of: service.name), service.json + [UInt8(ascii: "\n")])
        }
        return Rendering(files: Dictionary(files) { first, _ in first })
    }

    private func path(of service: ServiceName) -> String {
        output.file.replacing(OutputDefinition.placeholder, with: service.text)
    }

    /// Has the renderer print the file.
    private func print(_ words: [String], _ view: OutputCatalog) async throws -> [UInt8] {
        let (input, printed) = (kept(output.file) + ".input", kept(output.file) + ".printed")
        try Self.saying(OutputFailure.render) {
            _ = try AtomicFile(path: input).replace(with: try view.json(), isFlushed: false)
        }
        // prlimit(1) is of util-linux; a system call after the start would come too late for a program that is quick.
        var program = program(["prlimit", "--fsize=\(Self.mostBytes)", "--"] + words)
        (program.input, program.output) = (input, printed)
        defer { AtomicFile(path: printed).remove() }
        try await run(program, named: words[0], OutputFailure.render)
        let text = try Self.saying(OutputFailure.render) {
            try FileContents(printed, limit: Self.mostBytes).bytes ?? []
        }
        guard !text.isEmpty || view.isEmpty else {
            throw OutputFailure.render("\(words[0]) printed nothing, though there are services or keys")
        }
        return text
    }
}

// MARK: Write

extension OutputWriter {
    /// Replaces files, or removes those that have no text any more; where the check is against it, all stay as they were.
    private func write(_ texts: [String: [UInt8]], over before: [String: [UInt8]?]) async throws {
        var candidates: [AtomicFile.Candidate] = []
        do {
            for path in before.keys.sorted() {
                guard let text = texts[path] else { continue }
                candidates.append(try AtomicFile(path: path, mode: output.mode).candidate(text))
            }
            if output.checksCandidate, let candidate = candidates.first {
                try await check(output.check?.map { $0.replacing(OutputDefinition.candidate, with: candidate.path) })
            }
            for candidate in candidates { try candidate.commit() }
        } catch {
            for candidate in candidates { candidate.discard() }
            throw error is OutputFailure || error is CancellationError ? error : OutputFailure.write("\(error)")
        }
        for path in before.keys where texts[path] == nil { AtomicFile(path: path).remove() }
        guard !output.checksCandidate else { return }
        do {
            try await check(output.check)
        } catch {
            restore(before)
            throw error
        }
    }

    /// Puts back what was there before.
    private func restore(_ before: [String: [UInt8]?]) {
        for (path, text) in before {
            let file = AtomicFile(path: path, mode: output.mode)
            if let text { _ = try? file.replace(with: text) } else { file.remove() }
        }
    }

    private func check(_ words: [String]?) async throws {
        if let words { try await run(program(words), named: words[0], OutputFailure.check) }
    }

    private func reload() async throws {
        if let words = output.reload { try await run(program(words), named: words[0], OutputFailure.reload) }
    }
}

// MARK: What is remembered

extension OutputWriter {
    /// Where the text of a file is kept that was last reloaded.
    private func kept(_ path: String) -> String {
        "\(folder)/" + path.replacing("%", with: "%25").replacing("/", with: "%2f")
    }

    /// The files of the output that were reloaded.
    private func reloaded() -> [String] {
        guard output.isPerService else { return [] }
        let parts = output.file.split(separator: OutputDefinition.placeholder, omittingEmptySubsequences: false)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.map { $0.replacing("%2f", with: "/").replacing("%25", with: "%") }.filter { path in
            guard let first = parts.first, let last = parts.last, path.hasPrefix(first), path.hasSuffix(last) else {
                return false
            }
            return ServiceName(path.dropFirst(first.count).dropLast(last.count)) != nil
        }
    }

    private func contents(of paths: Set<String>) throws -> [String: [UInt8]?] {
        try Self.saying(OutputFailure.write) {
            try paths.reduce(into: [:]) { contents, path in
                contents.updateValue(try FileContents(path).bytes, forKey: path)
            }
        }
    }

    /// Whether the reader has not been told of all texts yet.
    private func isReloadDue(_ texts: [String: [UInt8]]) throws -> Bool {
        let known = try contents(of: Set(texts.keys.map(kept)))
        return texts.contains { path, text in known[kept(path)] != text } || reloaded().contains { texts[$0] == nil }
    }

    private func remember(_ texts: [String: [UInt8]]) throws {
        try Self.saying(OutputFailure.write) {
            for path in reloaded() where texts[path] == nil { AtomicFile(path: kept(path)).remove() }
            for (path, text) in texts { try AtomicFile(path: kept(path)).replace(with: text, isFlushed: false) }
        }
    }
}

// MARK: Programs

extension OutputWriter {
    private func program(_ words: [String]) -> Program {
        Program(words[0], Array(words.dropFirst()), environment: environment)
    }

    /// Runs a program to its end.
    private func run(
        _ program: Program, named name: String, _ failure: (String) -> OutputFailure
    ) async throws {
        let outcome: Program.Outcome
        do {
            outcome = try await program.run(deadline: output.timeout)
        } catch ProgramError.tookTooLong(_, let limit) {
            throw failure("\(ProgramError.tookTooLong(name, limit: limit))")
        } catch {
            try Task.checkCancellation()
            throw failure("\(error)")
        }
        guard !outcome.isSuccess else { return }
        let words = outcome.lines.suffix(5).joined(separator: "; ")
        throw failure("\(name) ended with \(outcome.ending.explanation)" + (words.isEmpty ? "" : ": \(words)"))
    }

    private static func saying<Value>(
        _ failure: (String) -> OutputFailure, _ work: () throws -> Value
    ) throws -> Value {
        do {
            return try work()
        } catch {
            throw failure("\(error)")
        }
    }
}
