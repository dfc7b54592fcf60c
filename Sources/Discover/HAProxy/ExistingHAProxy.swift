import Shared

/// An HAProxy that somebody else starts, supervises and stops, such as the system's haproxy.service.
struct ExistingHAProxy: Equatable, Sendable {
    /// How it is told to read its file anew.
    enum Reload: Equatable, Sendable {
        /// By `reload` at the socket of its master.
        case master(socket: String)
        /// By a command for `/bin/sh -c`.
        case command(String)
    }

    /// The file that it reads.
    let path: String
    /// How it is told to.
    let reload: Reload

    /// Where Debian's haproxy.service reads its file.
    static let standardPath = "/etc/haproxy/haproxy.cfg"

    /// Why a reload was not to be had.
    enum Failure: Error, Equatable {
        /// The file is somebody else's.
        case foreignFile(path: String)
        /// An HAProxy that docker-discover started itself still runs.
        case ownRuns(pid: Int32)
        /// The master does not answer.
        case noMaster(reason: String)
        /// It was told to stop, and only finishes its connections.
        case stopping
        /// The command failed, and no new worker serves.
        case commandFailed(reason: String)
    }

    /// Whether a file with these contents may be replaced: it has nothing in it, or docker-discover's mark at its begin.
    static func isOurs(_ contents: [UInt8]) -> Bool {
        let begin = String(decoding: contents.prefix(4096), as: UTF8.self)
        if contents.count <= 4096, begin.allSatisfy(\.isWhitespace) { return true }
        return begin.split(separator: "\n").contains(where: HAProxyConfiguration.isMark)
    }

    /// Throws where the file is there and somebody else's.
    func checkFile() throws {
        if let contents = try WholeFile(path).bytes, !Self.isOurs(contents) { throw Failure.foreignFile(path: path) }
    }
}

extension ExistingHAProxy.Failure: CustomStringConvertible {
    /// One sentence for the person who runs that HAProxy.
    var description: String {
        switch self {
        case .foreignFile(let path):
            "HAPROXY_CONFIG: \(path) was not written by docker-discover, which would replace it; move it away "
                + "(mv \(path) \(path).before), what is needed of it into GLOBAL_FILE, DEFAULTS_FILE or EXTRA_FILE"
        case .ownRuns(let pid):
            "the HAProxy that docker-discover started itself before still serves; stop it first (kill \(pid))"
        case .noMaster(let reason): "HAPROXY_MASTER: no HAProxy answers: \(reason)"
        case .stopping: "it is being stopped"
        case .commandFailed(let reason): "RELOAD_COMMAND \(reason)"
        }
    }
}
