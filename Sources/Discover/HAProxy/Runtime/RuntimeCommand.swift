import Shared

/// One command of HAProxy's runtime API that changes a server, a map or a certificate
/// (https://docs.haproxy.org/2.6/management.html#9.3).
enum RuntimeCommand: Equatable, Sendable {
    /// Makes a server, in maintenance and unchecked.
    case add(EntryID, ServerLine)
    /// Begins to check a server.
    case enableHealth(EntryID)
    /// Lets it take connections.
    case ready(EntryID)
    /// Gives it no new connection.
    case drain(EntryID)
    /// Takes it out altogether; connections that are open go on.
    case maintenance(EntryID)
    /// Declares it up, until a check says otherwise.
    case up(EntryID)
    /// Declares it down, until its checks pass.
    case down(EntryID)
    /// Moves it.
    case address(EntryID, Endpoint)
    /// Changes its share.
    case weight(EntryID, Int)
    /// Changes its limit of connections.
    case maxConnections(EntryID, Int)
    /// Removes a server that is in maintenance and has no connection.
    case delete(EntryID)
    /// Cuts all connections to a server.
    case cut(EntryID)
    /// Changes a row of a map.
    case map(MapChange)
    /// Changes a certificate, by several commands.
    case certificate(CertificateChange)

    /// As HAProxy takes it.
    var text: String {
        switch self {
        case .add(let name, let line): "add server \(name) \(line.words)"
        case .enableHealth(let name): "enable health \(name)"
        case .ready(let name): "set server \(name) state ready"
        case .drain(let name): "set server \(name) state drain"
        case .maintenance(let name): "set server \(name) state maint"
        case .up(let name): "set server \(name) health up"
        case .down(let name): "set server \(name) health down"
        case .address(let name, let endpoint):
            "set server \(name) addr \(endpoint.address) port \(endpoint.port)"
        case .weight(let name, let weight): "set server \(name) weight \(weight)"
        case .maxConnections(let name, let limit): "set maxconn server \(name) \(limit)"
        case .delete(let name): "del server \(name)"
        case .cut(let name): "shutdown sessions server \(name)"
        case .map(let change): change.text
        case .certificate(let change): change.text
        }
    }

    /// The command without its keywords, for messages.
    var summary: String {
        if case .add(let name, _) = self { return "add server \(name)" }
        return text
    }

    /// Whether an answer means that it was done; what HAProxy says of success differs among its versions.
    func isDone(by answer: String) -> Bool {
        switch self {
        case .add: answer == "New server registered."
        case .delete: answer == "Server deleted."
        case .address: ["changed from", "no need to change", "nothing changed"].contains { answer.contains($0) }
        default: answer.isEmpty
        }
    }

    /// Whether it cannot share a line.
    var isAlone: Bool { if case .certificate = self { true } else { false } }

    /// Whether an empty line ends its answer in every version; 2.6 ends that of `del server` without one.
    var endsWithEmptyLine: Bool {
        if case .delete = self { return false }
        return true
    }
}

extension RuntimeCommand {
    /// What brings a new server into service.
    ///
    /// Where it has to pass a check before, it is made known as drained and declared down, which HAProxy ignores in
    /// maintenance, and then made ready: there is no moment at which it could be given a connection.
    static func adding(_ name: EntryID, _ line: ServerLine) -> [RuntimeCommand] {
        let check = line.isChecked ? [enableHealth(name)] : []
        let proof = line.startsDown ? [drain(name), down(name)] : []
        return [add(name, line)] + check + proof + [ready(name)]
    }

    /// What changes a server that runs by one line to another one that has the same fixed keywords.
    static func changing(_ name: EntryID, from old: ServerLine, to new: ServerLine) -> [RuntimeCommand] {
        var commands: [RuntimeCommand] = []
        if old.endpoint != new.endpoint {
            commands.append(.address(name, new.endpoint))
            // What the checks have found holds for the old address.
            if new.isChecked { commands.append(new.startsDown ? .down(name) : .up(name)) }
        }
        if old.weight != new.weight { commands.append(.weight(name, new.weight)) }
        if old.maxConnections != new.maxConnections { commands.append(.maxConnections(name, new.maxConnections)) }
        return commands
    }

    /// What takes a server out of service: no new connection from then on.
    ///
    /// The weight tells that this was no operator's wish, ``ServerState/isLeaving``.
    static func draining(_ name: EntryID) -> [RuntimeCommand] { [.weight(name, 0), .drain(name)] }

    /// What gives a server other fixed keywords, if it has no connection at that moment; otherwise HAProxy refuses.
    static func replacing(_ name: EntryID, by line: ServerLine) -> [RuntimeCommand] {
        [.weight(name, 0), .maintenance(name), .delete(name)] + adding(name, line)
    }
}
