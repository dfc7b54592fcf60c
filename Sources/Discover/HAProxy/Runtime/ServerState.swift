import Shared

/// What HAProxy tells of a server: one row of `show servers state`
/// (https://docs.haproxy.org/2.6/management.html#9.3).
struct ServerState: Equatable, Sendable {
    /// The section's name.
    let section: String
    /// The server's name.
    let server: String
    /// Where it leads; nil for an address that is none.
    let endpoint: Endpoint?
    /// Whether HAProxy's checks have found it down.
    let isDown: Bool
    /// HAProxy's flags of what was told to it, ``Admin``; 0 for a server that takes connections.
    let admin: Int
    /// Its share as it is now.
    let weight: Int
    /// All columns.
    private let columns: [String]

    /// The bits of ``admin`` that somebody sets by a command.
    enum Admin {
        /// It is in maintenance.
        static let maintenance = 1
        /// It is given no new connection.
        static let drain = 8
    }

    /// Whether it was drained or put into maintenance.
    var isOut: Bool { admin & (Admin.maintenance | Admin.drain) != 0 }

    /// Whether docker-discover did that, because the server is to go; an operator leaves the weight as it is.
    var isLeaving: Bool { isOut && weight == 0 }

    /// Whether the next worker has to know of it.
    ///
    /// HAProxy calls a server in maintenance down as well, whatever its checks have found.
    var isKept: Bool {
        isLeaving ? isDown && admin & Admin.maintenance == 0 : isDown || isOut
    }

    /// Parses one row; nil for what is none.
    init?(_ row: Substring) {
        let columns = row.split(separator: " ").map(String.init)
        guard columns.count >= 19, let operation = Int(columns[5]), let admin = Int(columns[6]),
            let weight = Int(columns[7])
        else { return nil }
        section = columns[1]
        server = columns[3]
        endpoint = Self.endpoint(columns[4], columns[18])
        isDown = operation == 0
        self.admin = admin
        self.weight = weight
        self.columns = columns
    }

    /// Parses an answer of `show servers state`; nil where it is none.
    static func table(_ answer: String) -> [ServerState]? {
        let lines = answer.split(separator: "\n")
        guard lines.count >= 2, lines[0] == "1", lines[1].hasPrefix("# be_id") else { return nil }
        let states = lines.dropFirst(2).map { ServerState($0) }
        return states.contains { $0 == nil } ? nil : states.compactMap(\.self)
    }

    private static func endpoint(_ address: String, _ port: String) -> Endpoint? {
        guard let address = IPAddress(address), let port = Port(text: port) else { return nil }
        return Endpoint(address: address, port: port)
    }
}

extension ServerState {
    /// The first lines of a file of states, as HAProxy writes it itself.
    static let fileHead = """
        1
        # be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
        srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
        bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
        srv_agent_addr srv_agent_port

        """

    /// The row for a new worker, with the line's weight, and with one flag at most: HAProxy takes no two at once.
    func row(for line: ServerLine) -> String {
        var columns = columns
        let flag = admin & Admin.maintenance != 0 ? Admin.maintenance : admin & Admin.drain
        columns[6] = String(isLeaving ? 0 : flag)
        if !line.isChecked { columns[5] = "2" }
        (columns[7], columns[8]) = (String(line.weight), String(line.weight))
        return columns.joined(separator: " ") + "\n"
    }

    /// The row of a server that is new and has to pass a check first.
    static func downRow(_ name: EntryID, _ line: ServerLine) -> String {
        let (address, port) = (line.endpoint.address, line.endpoint.port)
        return "1 \(name.service) 1 \(name.id) \(address) 0 0 \(line.weight) \(line.weight) "
            + "0 1 0 0 6 0 0 0 - \(port) - 0 0 - - 0\n"
    }
}

/// What is kept of the servers' states over a reload.
///
/// HAProxy takes more from such a file than is good: also addresses and weights. So it is written for one reload, of
/// the states just before it, and has only what a new worker could not know: which servers of the same name and address
/// were down, drained or in maintenance, and which new ones have to pass a check first.
enum ServerStateFile {
    /// The file's text.
    static func text(_ states: [ServerState], for configuration: HAProxyConfiguration) -> String {
        var known: [String: [String: ServerState]] = [:]
        for state in states { known[state.section, default: [:]][state.server] = state }
        var text = ServerState.fileHead
        for (service, lines) in configuration.sections {
            let section = known[service.text] ?? [:]
            for line in lines {
                if let state = section[line.id.text], state.endpoint == line.endpoint {
                    // No check would ever find a server up again that is no longer checked.
                    if state.isKept, line.isChecked || state.isOut && !state.isLeaving { text += state.row(for: line) }
                } else if line.startsDown {
                    text += ServerState.downRow(EntryID(service: service, id: line.id), line)
                }
            }
        }
        return text
    }
}
