import Shared

/// The capabilities that a process has, and hands on to the programs that it starts.
struct ProcessRights: Equatable, Sendable {
    /// CAP_SYS_CHROOT of capabilities(7).
    private static let chroot = 18

    private let effective: UInt64

    /// Reads those of this process; nil where /proc does not tell.
    static var own: ProcessRights? {
        (try? WholeFile("/proc/self/status").text).flatMap { ProcessRights(status: $0) }
    }

    /// Parses the text of /proc/<pid>/status.
    init?(status: String) {
        let name = "CapEff:"
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }),
            let digits = line.dropFirst(name.count).split(whereSeparator: \.isWhitespace).first,
            let effective = UInt64(digits, radix: 16)
        else { return nil }
        self.effective = effective
    }

    /// Whether it may change its root folder.
    var mayChroot: Bool { effective & (1 << Self.chroot) != 0 }
}
