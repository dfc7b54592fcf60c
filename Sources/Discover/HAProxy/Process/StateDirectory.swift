import FoundationEssentials
import Shared

/// The folder that holds all of one docker-discover's files and sockets, and belongs to one process at a time.
struct StateDirectory: Sendable {
    /// Its absolute path, without a slash at the end.
    let path: String

    /// Why a folder cannot be used.
    enum Failure: Error, Equatable {
        /// The system refused.
        case system(FileError)
        /// Another docker-discover works in it.
        case inUse(path: String, by: String)
        /// Another account could replace what HAProxy runs.
        case exposed(path: String, Folder.Exposure)
    }

    /// Where it is unless told otherwise.
    static let standard = "/var/lib/docker-discover"

    /// What a path may be, for messages.
    static let grammar =
        "an absolute path of letters, digits and /._+~-, at most \(longest) bytes, so that sockets fit into it"

    /// Takes a path; nil where haproxy.cfg, the command line or a socket's address cannot carry it.
    init?(_ text: some StringProtocol) {
        var trimmed = text[...]
        while trimmed.count > 1 && trimmed.last == "/" { trimmed.removeLast() }
        let legal = trimmed.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/._+~-".utf8.contains(byte)
            }
        }
        guard trimmed.first == "/", trimmed.count > 1, trimmed.utf8.count <= Self.longest, legal else { return nil }
        path = String(trimmed)
    }

    /// The file that HAProxy runs.
    var configuration: AtomicFile { AtomicFile(path: path + "/haproxy.cfg") }

    /// What the registry last said.
    var catalog: AtomicFile { AtomicFile(path: path + "/catalog.json") }

    /// What a new worker of HAProxy has to know of the old one's servers; it has rows only during a reload.
    var serverStates: AtomicFile { AtomicFile(path: path + "/haproxy-servers.state") }

    /// The socket of HAProxy's master process.
    var masterSocket: String { path + "/haproxy-master.sock" }

    /// The socket of HAProxy's runtime API.
    var statsSocket: String { path + "/haproxy-stats.sock" }

    /// Another name of the same path.
    var otherNameOfStatsSocket: String { path + "//haproxy-stats.sock" }

    /// The socket on which commands to docker-discover itself are answered.
    var controlSocket: String { path + "/control.sock" }

    /// A socket's address has 107 bytes, and HAProxy binds `<path>.<pid>.tmp` first.
    private static let longest = 107 - "/haproxy-master.sock".utf8.count - ".4194304.tmp".utf8.count
}

extension StateDirectory {
    /// Makes the folder, for its owner only, where it is missing, and takes the right to work in it.
    ///
    /// Whoever may write there decides what HAProxy runs: that is this account, and root, and nobody else.
    func open() throws(Failure) -> FileLock {
        do {
            try Folder.create(path)
        } catch {
            throw .system(error)
        }
        if let exposure = Folder.exposure(of: path) { throw .exposed(path: path, exposure) }
        do {
            return try FileLock(path + "/lock")
        } catch {
            switch error {
            case .held(let holder): throw .inUse(path: path, by: holder)
            case .system(let error): throw .system(error)
            }
        }
    }

    /// Makes and takes the folder again where somebody has deleted it meanwhile.
    ///
    /// Without it no HAProxy could be started any more. The right to work in it then ends with the process.
    func restore() throws(Failure) {
        if Folder.isMissing(path) { _ = try open() }
    }

    /// The name under which this docker-discover is known to others, the same after a restart.
    ///
    /// On a disk that takes no file it is another one each time.
    func instance() -> String {
        let file = AtomicFile(path: path + "/id")
        let kept = (try? FileContents(file.path).text)?.prefix { $0 != "\n" }
        if let kept, let name = InstanceID(kept) { return name.text }
        let name = String(UInt64.random(in: (1 << 63)...(.max)), radix: 16)
        _ = try? file.replace(with: Array((name + "\n").utf8))
        return name
    }
}

extension StateDirectory.Failure: CustomStringConvertible {
    /// One sentence for the person who starts the program.
    var description: String {
        switch self {
        case .system(let error): "STATE_DIR: \(error)"
        case .inUse(let path, let holder):
            "STATE_DIR: another docker-discover (\(holder)) works in \(path); give each its own"
        case .exposed(let path, .owner(let owner)):
            "STATE_DIR: \(path) belongs to the user with id \(owner), who could replace what HAProxy runs; "
                + "change that: chown \(Folder.ownAccount) \(path)"
        case .exposed(let path, .mode(let mode)):
            "STATE_DIR: \(path) is writable for other users (mode \(String(mode, radix: 8))), who could replace what "
                + "HAProxy runs; change that: chmod go-w \(path)"
        }
    }
}

extension AtomicFile {
    /// A file that is there while a question is answered: beside the others, or where the system keeps such files.
    static func temporary(in directory: StateDirectory) -> AtomicFile {
        let folder = FileManager.default.isWritableFile(atPath: directory.path) ? directory.path : "/tmp"
        let name = String(UInt64.random(in: .min ... .max), radix: 36)
        return AtomicFile(path: "\(folder)/question-\(name).cfg")
    }
}
