import Shared

/// What HAProxy says of one server at this moment: one row of `show stat`
/// (https://docs.haproxy.org/2.6/management.html#9.1).
struct ServerStats: Equatable, Sendable {
    /// HAProxy's own word, such as `UP`, `UP 1/2`, `DOWN`, `MAINT`, `DRAIN` or `no check`.
    var status: String
    /// Where it leads; nil where HAProxy does not say.
    var endpoint: Endpoint?
    /// Its share.
    var weight = 100
    /// Whether it is used only when no other server works.
    var isBackup = false
    /// How many connections it has, or wait for it.
    var connections = 0
    /// For how many seconds it has been as it is.
    var age = 0
    /// The last check in one sentence; nil where there was none.
    var lastCheck: String?
    /// What came of it.
    var checkResult: CheckResult?

    /// What came of a check.
    struct CheckResult: Equatable, Sendable {
        /// HAProxy's word, such as `L4CON` or `L7STS`.
        var word: String
        /// The status of an HTTP response.
        var status: Int?
    }

    /// Whether checks have found it down.
    var isDown: Bool { status.hasPrefix("DOWN") }
    /// Whether somebody put it into maintenance.
    var isInMaintenance: Bool { status.hasPrefix("MAINT") }
    /// Whether it is given no new connection, by its weight or by somebody's command.
    var isDrained: Bool { status.hasPrefix("DRAIN") || weight == 0 }
    /// Whether connections go to it, as far as only it decides.
    var isUsable: Bool { !isDown && !isInMaintenance && !isDrained && !status.hasPrefix("NOLB") }
}

extension ServerStats {
    private static let columns = [
        "pxname", "svname", "qcur", "scur", "status", "weight", "bck", "lastchg", "check_status", "check_code",
        "check_duration", "last_chk", "check_desc", "addr",
    ]

    /// Parses an answer of `show stat -1 4 -1`, by section and server; nil where it is none.
    static func table(_ answer: Substring) -> [String: [String: ServerStats]]? {
        guard let rows = CommaTable.rows(answer, columns) else { return nil }
        return rows.reduce(into: [:]) { table, row in
            let endpoint = Endpoint(row[13])
            let connections = (Int(row[2]) ?? 0) + (Int(row[3]) ?? 0)
            table[row[0], default: [:]][row[1]] = ServerStats(
                status: row[4], endpoint: endpoint, weight: Int(row[5]) ?? 0, isBackup: row[6] == "1",
                connections: connections, age: Int(row[7]) ?? 0, lastCheck: lastCheck(row),
                checkResult: checkWord(row).map { CheckResult(word: $0, status: Int(row[9])) })
        }
    }

    /// Such as `L7STS`; a `*` marks a check that is going on.
    private static func checkWord(_ row: [String]) -> String? {
        let word = row[8].drop { $0 == "*" || $0 == " " }
        return word.isEmpty || word == "INI" ? nil : String(word)
    }

    /// Such as `L7STS/404 in 3ms: HTTP status check returned code <404>`.
    private static func lastCheck(_ row: [String]) -> String? {
        guard let status = checkWord(row) else { return nil }
        let code = row[9].isEmpty ? "" : "/\(row[9])"
        let time = row[10].isEmpty ? "" : " in \(row[10])ms"
        let words = row[11].isEmpty ? row[12] : row[11]
        return "\(status)\(code)\(time)" + (words.isEmpty ? "" : ": \(words)")
    }
}

/// HAProxy's tables of values with commas between them.
///
/// There are a hundred columns and may be thousands of rows, so only what is wanted becomes text.
enum CommaTable {
    /// The values of some columns, row by row; nil for a text that does not begin with their names.
    static func rows(_ text: Substring, _ columns: [String]) -> [[String]]? {
        guard text.hasPrefix("# "), let end = text.firstIndex(of: "\n") else { return nil }
        let names = text[..<end].dropFirst(2).split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let places = columns.map { names.firstIndex(of: $0) }
        guard !places.contains(nil) else { return nil }
        var wanted = [Int?](repeating: nil, count: names.count)
        for (index, place) in places.enumerated() { if let place { wanted[place] = index } }
        var reader = Reader(bytes: Array(text[end...].utf8.dropFirst()))
        var rows: [[String]] = []
        while !reader.isAtEnd {
            var row = [String](repeating: "", count: columns.count)
            if reader.readRow(into: &row, wanted) { rows.append(row) }
        }
        return rows
    }

    private struct Reader {
        let bytes: [UInt8]
        private var index = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        var isAtEnd: Bool { index >= bytes.count }

        /// Reads to the end of the line; returns whether there was anything.
        mutating func readRow(into row: inout [String], _ wanted: [Int?]) -> Bool {
            let start = index
            var column = 0
            while index < bytes.count, bytes[index] != UInt8(ascii: "\n") {
                let place = column < wanted.count ? wanted[column] : nil
                if let place { row[place] = field() } else { skipField() }
                if index < bytes.count, bytes[index] == UInt8(ascii: ",") { index += 1 }
                column += 1
            }
            let isEmpty = index == start
            index += 1
            return !isEmpty
        }

        private mutating func skipField() {
            if index < bytes.count, bytes[index] == UInt8(ascii: "\"") {
                _ = field()
                return
            }
            while index < bytes.count, bytes[index] != UInt8(ascii: ","), bytes[index] != UInt8(ascii: "\n") {
                index += 1
            }
        }

        /// One value; in quotes it may have commas and line ends, and quotes are doubled.
        private mutating func field() -> String {
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else {
                let start = index
                skipField()
                return String(decoding: bytes[start..<index], as: UTF8.self)
            }
            var value: [UInt8] = []
            index += 1
            while index < bytes.count {
                if bytes[index] == UInt8(ascii: "\"") {
                    index += 1
                    guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { break }
                }
                value.append(bytes[index])
                index += 1
            }
            return String(decoding: value, as: UTF8.self)
        }
    }
}

/// What HAProxy says of itself and of all its servers at this moment.
struct ProxyStats: Equatable, Sendable {
    /// The worker that answered.
    var worker: Int32
    /// Its version as it says it.
    var version: String
    /// The master; nil where it does not say.
    var master: Int32?
    /// How many workers of earlier configurations finish their connections; nil where the master does not say.
    var oldWorkers: Int?
    /// Its servers, by section and name.
    var servers: [String: [String: ServerStats]]
}

extension ProxyStats {
    /// Parses the answer to ``question``; nil where it is none.
    init?(_ answer: String) {
        // Only the table has empty lines within it, in what a check got for an answer.
        guard let gap = answer.firstRange(of: "\n\n") else { return nil }
        let info = answer[..<gap.lowerBound]
        guard let worker = HAProxyWorker(String(info)), let servers = ServerStats.table(answer[gap.upperBound...])
        else { return nil }
        let version = info.split(separator: "\n").first { $0.hasPrefix("Version: ") }?.dropFirst("Version: ".count)
        self.init(worker: worker.pid, version: version.map(String.init) ?? "", servers: servers)
    }

    /// Type 4 is servers; -1 any of them.
    static let question = "show info;show stat -1 4 -1"
}
