import Glibc

/// What happens, in which order, when a program is asked to stop: the rules of ``Lifecycle`` without their effects.
struct ShutdownStateMachine {
    /// Something that the program hears of.
    enum Input: Equatable {
        case signal(Int32)
        case bodyEnded(BodyResult)
        case graceOver
    }

    /// How the program's work ended.
    enum BodyResult: Equatable {
        case returned
        case cancelled
        case failed(String)
    }

    /// What is to be done about it.
    enum Action: Equatable {
        case nothing
        /// The signal that asks for a reload came.
        case hangup
        /// Cancel the work and start the grace period, for this signal.
        case stop(Int32)
        /// Leave at once, without any cleaning up.
        case exitNow(Int32)
        /// The program is over.
        case finish(Verdict)
    }

    /// How a program is over.
    enum Verdict: Equatable {
        /// The work was done without anybody asking to stop.
        case done
        /// The work ended as asked.
        case stopped
        /// The work ended as asked, but with an error, which may only be what the cancellation made of it.
        case stoppedWithError(String)
        /// The work failed without anybody asking to stop.
        case failed(String)
        /// The work did not end within its grace period.
        case graceRanOut

        /// The exit status.
        var status: Int32 {
            switch self {
            case .done, .stopped, .stoppedWithError: ExitStatus.success
            case .failed, .graceRanOut: ExitStatus.failure
            }
        }
    }

    private enum Phase {
        case running
        case stopping
        case over
    }

    private var phase = Phase.running

    /// Takes what happened next and says what to do.
    mutating func handle(_ input: Input) -> Action {
        switch input {
        case .signal(SIGHUP): return phase == .running ? .hangup : .nothing
        case .signal(let number): return asked(by: number)
        case .bodyEnded(let result): return over(verdict(on: result))
        case .graceOver: return phase == .stopping ? over(.graceRanOut) : .nothing
        }
    }

    private mutating func asked(by signal: Int32) -> Action {
        guard phase == .running else { return .exitNow(ExitStatus.signalled(signal)) }
        phase = .stopping
        return .stop(signal)
    }

    private mutating func over(_ verdict: Verdict) -> Action {
        guard phase != .over else { return .nothing }
        phase = .over
        return .finish(verdict)
    }

    private func verdict(on result: BodyResult) -> Verdict {
        switch (result, phase) {
        case (.returned, .running): .done
        case (.cancelled, .running): .failed("cancelled")
        case (.failed(let text), .running): .failed(text)
        case (.failed(let text), _): .stoppedWithError(text)
        case (.returned, _), (.cancelled, _): .stopped
        }
    }
}
