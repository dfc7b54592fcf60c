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
        try Data("#!/bin/sh\n\(lines)\nexec \(program) \"$@\"\n".utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        // A program that another test starts at this moment may hold the file open for writing until it runs itself.
        let path = path
        _ = await eventually { (try? await Program(path, ["-v"]).run(deadline: .seconds(10)))?.isSuccess ?? false }
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
