import FoundationEssentials
import Shared
import TestSupport

/// A program that is HAProxy, but may refuse all files.
struct RefusingHAProxy {
    /// Its path.
    let path: String
    private let mark: String

    init(in folder: ScratchFolder) async throws {
        path = folder.path + "/haproxy"
        mark = folder.path + "/refuse"
        let lines = "if [ \"$1\" = -c ] && [ -e \(mark) ]; then exit 1; fi"
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
    func refuse(_ isRefusing: Bool) throws {
        if isRefusing {
            try Data().write(to: URL(filePath: mark))
        } else {
            try FileManager.default.removeItem(atPath: mark)
        }
    }
}
