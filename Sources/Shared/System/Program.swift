import Glibc
import Synchronization

/// A program to be started, with its arguments and environment.
///
/// It runs in a session of its own, so that neither a terminal's Ctrl-C nor its end reaches it. Its input is `/dev/null`,
/// and its standard output and standard error are one pipe, whose lines this process gets, unless files take their place.
package struct Program: Sendable, Hashable {
    /// How a program ended.
    package enum Ending: Sendable, Hashable {
        /// It exited with a status.
        case exited(Int32)
        /// A signal ended it.
        case signalled(Int32)
    }

    /// What came of a program that ran to its end.
    package struct Outcome: Sendable, Hashable {
        /// How it ended.
        package let ending: Ending
        /// What it printed, in order, up to a megabyte.
        package let lines: [String]
        /// How many further lines it printed.
        package let omitted: Int

        /// Whether it exited with status 0.
        package var isSuccess: Bool { ending == .exited(ExitStatus.success) }
    }

    /// Its path, or its name, to be looked up in PATH.
    package let executable: String
    /// Its arguments, without its name.
    package let arguments: [String]
    /// Its whole environment; nil is that of this process.
    package let environment: [String: String]?

    /// The file that it reads as standard input; nil for `/dev/null`.
    package var input: String?
    /// The file that its standard output goes to, made anew; nil for the pipe.
    package var output: String?

    /// Describes a program.
    package init(_ executable: String, _ arguments: [String] = [], environment: [String: String]? = nil) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
    }

    /// Runs it to its end and gives what it printed.
    ///
    /// At the deadline, and when the calling task is cancelled, it is killed with all processes of its group.
    /// Processes that it leaves behind are not waited for.
    package func run(deadline: Duration) async throws -> Outcome {
        try Task.checkCancellation()
        let printed = PrintedLines()
        let running = try RunningProgram(self, stopsReading: true, onLine: printed.add)
        do {
            let ending = try await withDeadline(deadline) { try await running.wait() }
            return printed.outcome(ending)
        } catch {
            running.signalGroup(SIGKILL)
            throw error is DeadlineExceeded ? ProgramError.tookTooLong(executable, limit: deadline) : error
        }
    }

    /// Starts it and hands over each line that it and its children print, in order, on a thread of the system's choice.
    ///
    /// It goes on when this process ends; nobody reads its output then, and writing more gives it SIGPIPE, which a
    /// program that is to live on (as HAProxy) ignores.
    package func start(onLine: @escaping @Sendable (String) -> Void) throws -> RunningProgram {
        try RunningProgram(self, stopsReading: false, onLine: onLine)
    }
}

/// Why a program did not do its work.
package enum ProgramError: Error, Equatable, CustomStringConvertible {
    /// The system could not start it.
    case cannotStart(String, reason: String)
    /// It was killed at its deadline.
    case tookTooLong(String, limit: Duration)

    package var description: String {
        switch self {
        case .cannotStart(let executable, let reason): "cannot start \(executable): \(reason)"
        case .tookTooLong(let executable, let limit):
            "\(executable) did not end within \(DurationText.text(limit)) and was killed"
        }
    }
}

/// What a program printed, as far as it is kept.
private final class PrintedLines: Sendable {
    private struct Kept {
        var lines: [String] = []
        var omitted = 0
        var room = 1_048_576
    }

    private let kept = Mutex(Kept())

    @Sendable func add(_ line: String) {
        kept.withLock { kept in
            // An empty line has its cost, too.
            kept.room -= line.utf8.count + 1
            if kept.room >= 0 {
                kept.lines.append(line)
            } else {
                kept.room = 0
                kept.omitted += 1
            }
        }
    }

    func outcome(_ ending: Program.Ending) -> Program.Outcome {
        kept.withLock { Program.Outcome(ending: ending, lines: $0.lines, omitted: $0.omitted) }
    }
}

/// What a program's end says to whoever started it.
package enum ExitStatus {
    /// It was asked to stop, or to print its help or version, and did.
    package static let success: Int32 = 0
    /// It could not start, failed, or did not stop within its grace period.
    package static let failure: Int32 = 1
    /// The command line or the environment is wrong (`EX_USAGE` of sysexits.h): trying again changes nothing.
    package static let wrongUsage: Int32 = 64

    /// It was told twice to stop by a signal: the status that a shell reports for a death by it.
    package static func signalled(_ signal: Int32) -> Int32 { 128 + signal }
}
