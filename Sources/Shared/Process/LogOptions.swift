/// The settings that say what is logged and how, the same for both agents.
package enum LogOptions {
    static let level = Setting(
        flag: "--log-level", variable: "LOG_LEVEL", placeholder: "LEVEL", fallback: "info",
        help: "the least that is logged: debug, info, warning or error")
    static let format = Setting(
        flag: "--log-format", variable: "LOG_FORMAT", placeholder: "FORMAT", fallback: "logfmt",
        help: "logfmt or json")

    /// All of them, in the order of the help.
    package static let settings = [level, format]

    /// Reads them; nil where one is wrong, which is then recorded.
    package static func logger(from reading: inout Reading, environment: [String: String]) -> Logger? {
        let level: Logger.Level? = reading.choice(level)
        let format: Logger.Format? = reading.choice(format)
        guard let level, let format else { return nil }
        let isJournal = StandardError.isJournal(environment)
        return Logger(
            level: level, format: format, timestamps: Logger.needsTimestamps(isJournal: isJournal),
            priorities: isJournal)
    }
}
