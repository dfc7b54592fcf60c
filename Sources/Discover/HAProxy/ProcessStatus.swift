import Shared

/// What /proc tells of a process: enough to know it again although process ids are used anew.
struct ProcessStatus: Equatable, Sendable {
    /// Its id.
    let pid: Int32
    /// Its command's name, at most 15 bytes.
    let command: String
    /// When it started, in clock ticks since the machine did; it keeps that when it executes itself anew.
    let startTime: UInt64

    /// Reads it; nil for a process that does not exist, or has ended and only waits to be reaped.
    init?(_ pid: Int32) {
        guard let text = try? WholeFile("/proc/\(pid)/stat").text else { return nil }
        self.init(pid, stat: text)
    }

    /// Parses the text of /proc/<pid>/stat.
    init?(_ pid: Int32, stat: String) {
        // The command stands in parentheses and may itself contain some.
        guard let opening = stat.firstIndex(of: "("), let closing = stat.lastIndex(of: ")"), opening < closing
        else { return nil }
        // The third field of proc(5), the state, is the first one here; the 22nd is the start time.
        let fields = stat[closing...].dropFirst().split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X", let startTime = UInt64(fields[19])
        else { return nil }
        self.pid = pid
        self.startTime = startTime
        command = String(stat[opening..<closing].dropFirst())
    }
}
