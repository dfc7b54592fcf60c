import Shared

/// The commands that ask: what they are called, and what they answer from what is known.
enum StatusCommands {
    private static let json = Setting(flag: "--json", help: "print one JSON object, for programs")

    /// Shows everything.
    static let status = Command(
        "status", flags: [json],
        help: "Shows each container of this host and what is registered for it, or why not.")
    /// Shows one container.
    static let why = Command(
        "why", operands: ["CONTAINER"], flags: [json],
        help: """
            Shows one container in full, by its name or id: what each label and port decides, and what etcd has; or a \
            service of the services file, by its name or id.
            """)

    /// The line that asks a running agent.
    static func line(_ call: Command.Call, _ reading: inout ParsedSettings) -> String {
        let flags = call.command.flags.filter { reading.isOn($0) }.map(\.flag)
        return ([call.command.name] + flags + call.operands).joined(separator: " ")
    }

    /// What each of them does with the words after its name.
    static func handlers(_ snapshot: @escaping @Sendable () -> Snapshot) -> [String: CommandRouter.Handler] {
        [status.name: { status($0, snapshot()) }, why.name: { why($0, snapshot()) }]
    }

    /// Answers `status`.
    static func status(_ words: [String], _ snapshot: Snapshot) -> CommandResponse {
        guard words.allSatisfy({ $0 == json.flag }) else { return wrongUsage(status, words) }
        return answer { words.isEmpty ? StatusReport(snapshot).text : try ReportJSON.text(StatusReport(snapshot)) }
    }

    /// Answers `why`.
    static func why(_ words: [String], _ snapshot: Snapshot) -> CommandResponse {
        let names = words.filter { $0 != json.flag }
        guard names.count == 1 else { return wrongUsage(why, words) }
        return answer {
            let report = StatusReport(snapshot)
            let isText = words == names
            do {
                let container = try report.container(names[0])
                return isText ? container.text(report) : try ReportJSON.text(container)
            } catch StatusReport.NotFound.none {
                let services = try report.servicesFile(names[0])
                return isText ? services.text(report) : try ReportJSON.text(services)
            }
        }
    }

    private static func answer(_ text: () throws -> String) -> CommandResponse {
        do {
            return CommandResponse(try text())
        } catch {
            return CommandResponse(status: ExitStatus.failure, "\(error)\n")
        }
    }

    private static func wrongUsage(_ command: Command, _ words: [String]) -> CommandResponse {
        let line = ([command.name] + words).joined(separator: " ").prefix(100)
        return CommandResponse(status: ExitStatus.wrongUsage, "\"\(line)\" is not \(command.usage)\n")
    }
}

extension StatusReport {
    /// Why no container could be found.
    enum NotFound: Error, Equatable {
        /// None has that name or id.
        case none(String)
        /// No container has it, and no service of the services file.
        case neither(String)
        /// Several ids begin like that.
        case several(String, [String])
        /// The services file has several instances of the service.
        case severalInstances(String, [String])
    }

    /// What the services file has of one service, or the instance with an id.
    func servicesFile(_ text: String) throws(NotFound) -> ServicesFileReport {
        let found = services.filter { $0.service == text || $0.key.hasSuffix("/\(text)") }
        guard !found.isEmpty else { throw services.isEmpty ? NotFound.none(text) : NotFound.neither(text) }
        return ServicesFileReport(services: found)
    }

    /// The container of a name, or of an id or its beginning.
    func container(_ text: String) throws(NotFound) -> ContainerReport {
        // Docker's own answers write names with a slash in front.
        let name = text.hasPrefix("/") ? text.dropFirst() : text[...]
        let named = containers.filter { $0.name == name }
        if named.count == 1 { return named[0] }
        let matching = containers.filter {
            !text.isEmpty && ($0.id.hasPrefix(text) || $0.id == text.prefix($0.id.count))
        }
        switch matching.count {
        case 0: throw .none(text)
        case 1: return matching[0]
        default: throw .several(text, matching.map { "\($0.name) (\($0.id))" })
        }
    }
}

extension StatusReport.NotFound: CustomStringConvertible {
    /// One sentence for the person who asks.
    var description: String {
        switch self {
        case .none(let text): "no container of this host has the name or id \(OneLine.text(text))"
        case .neither(let text):
            "no container of this host, and no service of its services file, has the name or id \(OneLine.text(text))"
        case .several(let text, let names):
            "\(OneLine.text(text)) is the beginning of several ids: \(names.joined(separator: ", "))"
        case .severalInstances(let text, let ids):
            "the services file has several instances of \(OneLine.text(text)); name one: \(ids.joined(separator: ", "))"
        }
    }
}
