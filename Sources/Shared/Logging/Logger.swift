/// Writes one line for each thing that happened: a constant message, and the facts as fields.
///
/// Levels: debug, each request; info, something changed; warning, degraded and being retried; error, a person must
/// act. A line below the logger's level costs one comparison: its fields are not even computed.
package struct Logger: Sendable {
    /// How much a line matters.
    package enum Level: String, CaseIterable, Comparable, Sendable {
        case debug
        case info
        case warning
        case error

        package static func < (one: Level, other: Level) -> Bool { one.rank < other.rank }

        private var rank: Int {
            switch self {
            case .debug: 0
            case .info: 1
            case .warning: 2
            case .error: 3
            }
        }

        /// The level as sd-daemon(3) wants it before a line.
        fileprivate var priority: String {
            switch self {
            case .debug: "<7>"
            case .info: "<6>"
            case .warning: "<4>"
            case .error: "<3>"
            }
        }
    }

    /// How a line is written.
    package enum Format: String, CaseIterable, Sendable {
        case logfmt
        case json
    }

    /// A fact of a line; one that is nil is left out.
    package typealias Value = (any CustomStringConvertible & Sendable)?
    /// The facts of a line, in the order in which they are written.
    package typealias Fields = KeyValuePairs<String, Value>

    /// The lowest level that is written.
    package let level: Level
    private let encoding: LogEncoding
    private let tellsPriorities: Bool
    private let now: (@Sendable () -> Duration)?
    private let write: @Sendable (String) -> Void

    /// Makes a logger that hands each line, without its newline, to `write`: by default standard error.
    ///
    /// `program` is a field of every line, where one stream carries several programs. `now` is the time since 1970.
    /// `priorities` begins each line with its level as journald reads and removes it, so that `journalctl -p` knows it.
    package init(
        level: Level,
        format: Format,
        program: String? = nil,
        timestamps: Bool = false,
        priorities: Bool = false,
        now: @escaping @Sendable () -> Duration = Timestamp.now,
        write: @escaping @Sendable (String) -> Void = StandardError.write
    ) {
        self.level = level
        encoding = LogEncoding(format: format, program: program)
        self.now = timestamps ? now : nil
        tellsPriorities = priorities
        self.write = write
    }

    /// A logger that writes nothing.
    package static let discard = Logger(level: .error, format: .logfmt, write: { _ in })

    /// Each request and answer: for whoever looks for a fault.
    package func debug(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        log(.debug, message, fields)
    }

    /// Something changed.
    package func info(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        log(.info, message, fields)
    }

    /// Something is degraded, and the program itself tries again.
    package func warning(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        log(.warning, message, fields)
    }

    /// A person must act.
    package func error(_ message: StaticString, _ fields: @autoclosure () -> Fields = [:]) {
        log(.error, message, fields)
    }

    private func log(_ level: Level, _ message: StaticString, _ fields: () -> Fields) {
        guard level >= self.level else { return }
        let line = encoding.line(
            time: now.map { Timestamp.text($0()) }, level: level, message: message, fields: fields())
        write(tellsPriorities ? level.priority + line : line)
    }
}

extension Logger {
    /// Whether lines need a time of our own: not where journald or Docker gives each one its time already.
    ///
    /// On a terminal they always do, also in a container.
    package static func needsTimestamps(
        isJournal: Bool, isTerminal: Bool = StandardError.isTerminal, isInDocker: Bool = StandardError.isInDocker
    ) -> Bool {
        isTerminal || !isJournal && !isInDocker
    }
}

/// The settings that say what is logged and how, the same for both agents.
package enum LogSettings {
    static let level = Setting(
        flag: "--log-level", variable: "LOG_LEVEL", placeholder: "LEVEL", fallback: "info",
        help: "minimum log level: debug, info, warning, or error")
    static let format = Setting(
        flag: "--log-format", variable: "LOG_FORMAT", placeholder: "FORMAT", fallback: "logfmt",
        help: "logfmt or json")
    static let time = Setting(
        flag: "--log-time", variable: "LOG_TIME", placeholder: "WHEN", fallback: "auto",
        help: "whether lines have a timestamp: always, never, or auto, where neither journald nor Docker adds one")

    /// All of them, in the order of the help.
    package static let settings = [level, format, time]

    private enum Time: String, CaseIterable { case auto, always, never }

    /// Reads them; nil where one is wrong, which is then recorded.
    package static func logger(from reading: inout ParsedSettings, environment: [String: String]) -> Logger? {
        let level: Logger.Level? = reading.choice(level)
        let format: Logger.Format? = reading.choice(format)
        let time: Time? = reading.choice(time)
        guard let level, let format, let time else { return nil }
        let isJournal = StandardError.isJournal(environment)
        let isTimed = time == .auto ? Logger.needsTimestamps(isJournal: isJournal) : time == .always
        return Logger(level: level, format: format, timestamps: isTimed, priorities: isJournal)
    }
}
