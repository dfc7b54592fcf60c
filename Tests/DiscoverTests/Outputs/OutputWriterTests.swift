import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("One output", .timeLimit(.minutes(2)))
struct OutputWriterTests {
    private let scratch: ScratchFolder
    private var folder: String { scratch.path }

    init() throws { scratch = try ScratchFolder() }

    /// An output in a folder of its own, with programs that leave traces there.
    private struct Scene {
        let folder: String
        var output: OutputDefinition
        var writer: OutputWriter

        init(_ folder: String, _ change: (inout OutputDefinition) -> Void = { _ in }) {
            self.folder = folder
            output = OutputDefinition(file: "\(folder)/out", renderer: .format(.hosts(domain: nil)))
            output.reload = ["sh", "-c", "echo reload >> \(folder)/trace; ! test -e \(folder)/deaf"]
            change(&output)
            writer = Self.writer(output, folder)
        }

        static func writer(_ output: OutputDefinition, _ folder: String) -> OutputWriter {
            OutputWriter(output, folder: "\(folder)/kept", environment: ProcessInfo.processInfo.environment)
        }

        /// As after a start of docker-discover.
        mutating func restart() { writer = Self.writer(output, folder) }

        mutating func apply(_ pairs: KeyValuePairs<String, String>) async throws -> OutputWriter.Outcome {
            try await writer.apply(CatalogFixture.catalog(pairs))
        }

        /// What an output failed with.
        mutating func failure(_ pairs: KeyValuePairs<String, String>) async -> String {
            do {
                return "\(try await apply(pairs))"
            } catch {
                return "\(error)"
            }
        }

        func read(_ name: String) -> String? { try? FileContents("\(folder)/\(name)").text }
        var reloads: Int { (read("trace") ?? "").split(separator: "\n").count }
        func touch(_ name: String) { try? Data().write(to: URL(filePath: "\(folder)/\(name)")) }
        func remove(_ name: String) { try? FileManager.default.removeItem(atPath: "\(folder)/\(name)") }
    }

    private let one: KeyValuePairs = ["web/a": "10.0.0.1:80"]
    private let two: KeyValuePairs = ["web/a": "10.0.0.2:80"]

    @Test func `a change is written and told once, and nothing is done where nothing changed`() async throws {
        var scene = Scene(folder) { $0.mode = 0o640 }
        #expect(try await scene.apply(one) == .init(written: 1, isReloaded: true, problems: []))
        #expect(scene.read("out") == "10.0.0.1 web\n")
        let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/out")[.posixPermissions] as? Int
        #expect(mode == 0o640)
        #expect(try await scene.apply(one) == .init())
        scene.restart()
        #expect(try await scene.apply(one) == .init(problems: []))
        #expect(scene.reloads == 1)
        #expect(try await scene.apply(two).written == 1)
        #expect(scene.reloads == 2)
    }

    @Test func `a reload that failed is tried again, also after a restart`() async throws {
        var scene = Scene(folder)
        scene.touch("deaf")
        #expect(await scene.failure(one) == "reload: sh ended with exit status 1")
        #expect(scene.read("out") == "10.0.0.1 web\n")
        #expect(await scene.failure(one) == "reload: sh ended with exit status 1")
        scene.remove("deaf")
        scene.restart()
        #expect(try await scene.apply(one) == .init(written: 0, isReloaded: true, problems: []))
        #expect(scene.reloads == 3)
    }

    @Test func `a candidate that its check refuses is not put in place`() async throws {
        var scene = Scene(folder) { $0.check = ["sh", "-c", "! grep 10.0.0.2 {} && echo bad >&2"] }
        scene.output.check = ["sh", "-c", "if grep -q 10.0.0.2 {}; then echo no good; exit 3; fi"]
        scene.restart()
        _ = try await scene.apply(one)
        #expect(await scene.failure(two) == "check: sh ended with exit status 3: no good")
        #expect(scene.read("out") == "10.0.0.1 web\n" && scene.reloads == 1)
        #expect(Folder.isMissing("\(folder)/out.new"))
    }

    @Test func `a file in place that its check refuses makes way for the one before`() async throws {
        var scene = Scene(folder) {
            $0.check = ["sh", "-c", "if grep -q 10.0.0.2 \(folder)/out; then exit 3; fi"]
        }
        #expect(await scene.failure(two) == "check: sh ended with exit status 3")
        #expect(scene.read("out") == nil)
        _ = try await scene.apply(one)
        #expect(await scene.failure(two) == "check: sh ended with exit status 3")
        #expect(scene.read("out") == "10.0.0.1 web\n" && scene.reloads == 1)
    }

    @Test func `a program renders: it gets the catalog, and its words are the file`() async throws {
        var scene = Scene(folder) { $0.renderer = .program(["sh", "-c", "echo warned >&2; grep -o '10\\.[.0-9]*'"]) }
        _ = try await scene.apply(one)
        #expect(scene.read("out") == "10.0.0.1\n")
    }

    @Test(arguments: [
        ("exit 7", "render: sh ended with exit status 7"),
        ("echo half; kill -9 $$", "render: sh ended with signal 9"),
        ("cat >/dev/null", "render: sh printed nothing, though there are services or keys"),
        ("echo half; sleep 60", "render: sh did not end within 300ms and was killed"),
        ("exec no-such-program", "render: sh ended with exit status 127"),
    ])
    func `a renderer that fails changes nothing`(script: String, message: String) async throws {
        var scene = Scene(folder)
        _ = try await scene.apply(one)
        scene.output.renderer = .program(["sh", "-c", script])
        scene.output.timeout = .milliseconds(300)
        scene.restart()
        #expect(await scene.failure(two).hasPrefix(message))
        #expect(scene.read("out") == "10.0.0.1 web\n" && scene.reloads == 1)
    }

    @Test func `a renderer that prints without end is ended`() async throws {
        var scene = Scene(folder) { $0.renderer = .program(["sh", "-c", "cat /dev/zero"]) }
        let failure = await scene.failure(one)
        #expect(failure.hasPrefix("render: sh"), "\(failure)")
        #expect(scene.read("out") == nil && Folder.isMissing("\(folder)/kept/%2fout.printed"))
    }

    @Test func `each service has its file, which goes with it`() async throws {
        var scene = Scene(folder) {
            $0.file = "\(folder)/s-{service}.json"
            $0.renderer = .format(.json)
        }
        let both: KeyValuePairs = ["web/a": "10.0.0.1:80", "db/a": "10.0.0.9:5432"]
        scene.touch("s-mine.json")
        #expect(try await scene.apply(both).written == 2)
        #expect(scene.read("s-web.json")?.hasPrefix("{\"endpoints\":[{\"address\":\"10.0.0.1\"") == true)
        scene.restart()
        #expect(try await scene.apply(one).written == 1)
        #expect(scene.read("s-db.json") == nil && scene.read("s-web.json") != nil)
        // It is not ours.
        #expect(scene.read("s-mine.json") == "")
        #expect(scene.reloads == 2)
    }

    @Test func `a folder that is not there is named, and is enough once it is`() async throws {
        var scene = Scene(folder) { $0.file = "\(folder)/later/out" }
        #expect(await scene.failure(one).contains("cannot create \(folder)/later/out.new: No such file"))
        try FileManager.default.createDirectory(atPath: "\(folder)/later", withIntermediateDirectories: false)
        #expect(try await scene.apply(one).isReloaded)
    }
}
