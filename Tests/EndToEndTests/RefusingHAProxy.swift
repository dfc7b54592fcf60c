import FoundationEssentials
import Shared
import TestSupport

/// A program that is HAProxy, but may refuse all files, or take its time to check them.
struct RefusingHAProxy {
    /// Its path.
    let path: String
    private let mark: String

    init(in folder: ScratchFolder) async throws {
        path = folder.path + "/haproxy"
        mark = folder.path + "/refuse"
        let check = "while [ -e \(mark).wait ]; do touch \(mark).waits; sleep 0.02; done; [ ! -e \(mark) ] || exit 1"
        let lines = "if [ \"$1\" = -c ]; then \(check); fi"
        let program = RealParts.path(of: RealParts.haproxy) ?? RealParts.haproxy
        let script = "#!/bin/sh\n\(lines)\nexec \(program) \"$@\"\n"
        // Written by another process: a program that a test starts at this moment could inherit the open file from
        // this one, and as long as it lives the system would not run it.
        let writing = Program("/bin/sh", ["-c", "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh", script, path])
        guard try await writing.run(deadline: .seconds(20)).isSuccess else {
            throw LongConnection.Failure("no program")
        }
    }

    /// Says whether it refuses all files from now on.
    func refuse(_ isRefusing: Bool) throws { try set(mark, isRefusing) }

    /// Says whether checks wait from now on.
    func wait(_ isWaiting: Bool) throws { try set(mark + ".wait", isWaiting) }

    /// Whether a check has waited.
    var hasWaited: Bool { FileManager.default.fileExists(atPath: mark + ".waits") }

    private func set(_ path: String, _ isThere: Bool) throws {
        if isThere {
            try Data().write(to: URL(filePath: path))
        } else {
            try FileManager.default.removeItem(atPath: path)
        }
    }
}
