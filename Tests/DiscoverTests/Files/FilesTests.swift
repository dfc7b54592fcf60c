import FoundationEssentials
import Shared
import TestSupport
import Testing

@testable import Discover

@Suite("Files")
struct FilesTests {
    private let folder: ScratchFolder
    private var file: AtomicFile { AtomicFile(path: folder.path + "/f") }

    init() throws { folder = try ScratchFolder() }

    private var names: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()
    }

    @Test func `contents are replaced, for the owner only, and equal ones are not written`() throws {
        #expect(try FileContents(file.path).bytes == nil)
        #expect(try file.replace(with: Array("one".utf8)))
        #expect(try !file.replace(with: Array("one".utf8)))
        #expect(try file.replace(with: []))
        #expect(try FileContents(file.path).bytes == [])
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(names == ["f"])
    }

    @Test func `a candidate changes nothing until it is committed`() throws {
        try file.replace(with: Array("old".utf8))
        let candidate = try file.candidate(Array("new".utf8))
        #expect(try FileContents(file.path).text == "old")
        #expect(try FileContents(candidate.path).text == "new")
        candidate.discard()
        #expect(names == ["f"])
        try file.candidate(Array("new".utf8)).commit()
        #expect(try FileContents(file.path).text == "new")
    }

    @Test func `what lies in the way of a candidate is not written through`() throws {
        let victim = folder.path + "/victim"
        try AtomicFile(path: victim).replace(with: Array("mine".utf8))
        try FileManager.default.createSymbolicLink(atPath: file.path + ".new", withDestinationPath: victim)
        try file.replace(with: Array("new".utf8))
        #expect(try FileContents(victim).text == "mine")
        #expect(try FileContents(file.path).text == "new")
    }

    @Test func `what cannot be written is told by its path`() throws {
        let error = #expect(throws: FileError.self) { try AtomicFile(path: "/nowhere/f").replace(with: [1]) }
        #expect(try #require(error).description == "cannot create /nowhere/f.new: No such file or directory")
    }

    @Test(
        arguments: [
            ("/var/lib/d", "/var/lib/d"), ("/a/", "/a"), ("", nil), ("/", nil), ("relative", nil), ("/a b", nil),
            ("/a,mode,777", nil), ("/a\n", nil), ("/$HOME", nil), ("/" + String(repeating: "x", count: 75), nil),
            ("/" + String(repeating: "x", count: 74), "/" + String(repeating: "x", count: 74)),
        ] as [(String, String?)])
    func `a state directory's path is parsed or refused`(text: String, expected: String?) {
        #expect(StateDirectory(text)?.path == expected)
    }

    @Test func `what cannot be written whole leaves nothing behind`() throws {
        struct Full: Error {}
        #expect(throws: Full.self) {
            try file.replace { write in
                try write(Array("half".utf8))
                throw Full()
            }
        }
        #expect(names == [])
    }

    @Test func `a state directory is made, and belongs to one at a time`() async throws {
        let directory = try #require(StateDirectory(folder.path + "/a/b"))
        let lock = try directory.open()
        let error = #expect(throws: StateDirectory.Failure.self) { _ = try directory.open() }
        #expect(try #require(error).description.contains("another docker-discover (process "))
        lock.release()
        // A program that another test starts at this moment has all that is open, the lock too, until it executes itself.
        #expect(await eventually { (try? directory.open())?.release() != nil })
        let mode = try FileManager.default.attributesOfItem(atPath: directory.path)[.posixPermissions] as? Int
        #expect(mode == 0o700)
    }

    @Test(arguments: [0o777, 0o770, 0o1777, 0o702])
    func `a state directory in which others may write is refused`(mode: Int) throws {
        let directory = try #require(StateDirectory(folder.path + "/state"))
        try directory.open().release()
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: directory.path)
        let error = #expect(throws: StateDirectory.Failure.self) { _ = try directory.open() }
        let told = try #require(error).description
        #expect(told.contains("(mode \(String(mode, radix: 8)))") && told.hasSuffix("chmod go-w \(directory.path)"))
        // As the message says.
        let right = mode & ~0o022
        try FileManager.default.setAttributes([.posixPermissions: right], ofItemAtPath: directory.path)
        #expect(Folder.exposure(of: directory.path) == nil)
    }

    @Test(.enabled(if: RealParts.canRun("chown", asRoot: true), "needs root"))
    func `a state directory that is another account's is refused`() throws {
        let directory = try #require(StateDirectory(folder.path + "/state"))
        try directory.open().release()
        try FileManager.default.setAttributes([.ownerAccountID: 65534], ofItemAtPath: directory.path)
        let error = #expect(throws: StateDirectory.Failure.self) { _ = try directory.open() }
        let told = try #require(error).description
        #expect(told.contains("user with id 65534") && told.hasSuffix("chown 0 \(directory.path)"))
    }

    @Test func `a state directory that cannot be made is told`() throws {
        try file.replace(with: [1])
        let directory = try #require(StateDirectory(file.path + "/x"))
        #expect(throws: StateDirectory.Failure.self) { _ = try directory.open() }
    }
}
