/// Why what HAProxy runs is not known to be what it was told through the runtime API.
enum RuntimeFailure: Error, Equatable, Sendable {
    /// An answer that does not mean success.
    case unexpected(answer: String, to: String)
    /// It was done, but what runs differs from what should.
    case differs(String)
    /// No answer, or none in time.
    case silent(String)

    /// Whether the answer means that this HAProxy cannot add servers with cookies while it runs, as before 3.0.
    var isForWantOfCookies: Bool {
        guard case .unexpected(let answer, _) = self else { return false }
        return answer.contains("'cookie' option is not accepted for dynamic")
    }

    /// Whether the answer means that this HAProxy cannot add or remove servers while it runs.
    ///
    /// 2.4 and 2.5 keep these commands for experiments, and 2.4 knows no checks there.
    var isForWantOfAbility: Bool {
        guard case .unexpected(let answer, let command) = self, !isForWantOfCookies else { return false }
        guard command.hasPrefix("add server") || command.hasPrefix("del server") else { return false }
        return ["Unknown command", "experimental", "not accepted for dynamic"].contains { answer.contains($0) }
    }
}

extension RuntimeFailure: CustomStringConvertible {
    /// A few words for the log.
    var description: String {
        switch self {
        case .unexpected(let answer, let command):
            answer.isEmpty ? "no answer to '\(command)'" : "HAProxy answered '\(answer)' to '\(command)'"
        case .differs(let what): what
        case .silent(let why): why
        }
    }
}
