import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Shared

@Suite("ShutdownStateMachine")
struct ShutdownStateMachineTests {
    private typealias Order = (inputs: [ShutdownStateMachine.Input], actions: [ShutdownStateMachine.Action])

    private static let orders: [Order] = [
        ([.bodyEnded(.returned)], [.finish(.done)]),
        ([.bodyEnded(.failed("x"))], [.finish(.failed("x"))]),
        ([.bodyEnded(.cancelled)], [.finish(.failed("cancelled"))]),
        ([.signal(SIGTERM), .bodyEnded(.returned)], [.stop(SIGTERM), .finish(.stopped)]),
        ([.signal(SIGINT), .bodyEnded(.cancelled)], [.stop(SIGINT), .finish(.stopped)]),
        ([.signal(SIGTERM), .bodyEnded(.failed("x"))], [.stop(SIGTERM), .finish(.stoppedWithError("x"))]),
        ([.signal(SIGTERM), .graceOver], [.stop(SIGTERM), .finish(.graceRanOut)]),
        (
            [.signal(SIGTERM), .graceOver, .bodyEnded(.returned)],
            [.stop(SIGTERM), .finish(.graceRanOut), .nothing]
        ),
        (
            [.signal(SIGTERM), .bodyEnded(.returned), .graceOver],
            [.stop(SIGTERM), .finish(.stopped), .nothing]
        ),
        ([.signal(SIGTERM), .signal(SIGTERM)], [.stop(SIGTERM), .exitNow(143)]),
        ([.signal(SIGTERM), .signal(SIGINT)], [.stop(SIGTERM), .exitNow(130)]),
        ([.signal(SIGHUP), .signal(SIGHUP)], [.hangup, .hangup]),
        ([.signal(SIGTERM), .signal(SIGHUP)], [.stop(SIGTERM), .nothing]),
        ([.graceOver], [.nothing]),
    ]

    @Test(arguments: orders)
    func `each order of events has its actions`(
        inputs: [ShutdownStateMachine.Input], actions: [ShutdownStateMachine.Action]
    ) {
        var sequence = ShutdownStateMachine()
        #expect(inputs.map { sequence.handle($0) } == actions)
    }

    @Test(arguments: [
        (ShutdownStateMachine.Verdict.done, Int32(0)), (.stopped, 0), (.stoppedWithError("x"), 0), (.failed("x"), 1),
        (.graceRanOut, 1),
    ])
    func `each way to be over has its exit status`(verdict: ShutdownStateMachine.Verdict, status: Int32) {
        #expect(verdict.status == status)
    }
}

/// Signals concern the whole process, so one test follows another; each sends them only while they are listened to.
@Suite("Lifecycle", .timeLimit(.minutes(1)), .serialized)
struct LifecycleTests {
    private let lines = CapturedLines()
    private var logger: Logger { Logger(level: .info, format: .logfmt, write: lines.add) }

    @Test func `a body that returns gives status 0`() async {
        #expect(await Lifecycle.run(logger: logger, grace: .seconds(30)) {} == 0)
        #expect(lines.all.isEmpty)
    }

    @Test func `a body that throws gives status 1 and its error is logged`() async {
        let status = await Lifecycle.run(logger: logger, grace: .seconds(30)) { throw Failure() }
        #expect(status == 1)
        #expect(lines.all == [#"level=error msg="exiting" error="no luck""#])
    }

    @Test(arguments: [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")])
    func `a signal cancels the body, and status 0 comes without waiting for the grace period`(
        number: Int32, name: String
    ) async {
        let asked = Mutex(ContinuousClock.now)
        let status = await Lifecycle.run(logger: logger, grace: .seconds(30)) {
            asked.withLock { $0 = .now }
            kill(getpid(), number)
            try await Task.sleep(for: .seconds(3_600))
        }
        #expect(status == 0)
        // Far below the grace period.
        #expect(ContinuousClock.now - asked.withLock { $0 } < .seconds(15))
        #expect(lines.all == [#"level=info msg="stopping" signal=\#(name) grace=30s"#, #"level=info msg="stopped""#])
    }

    /// The signal is sent again and again until somebody takes it for good, and so comes as soon as one is listened to.
    @Test func `a signal that comes before the body has begun is not forgotten`() async throws {
        for _ in 0..<300 {
            Signals.listen(to: [SIGTERM]) { kill(getpid(), $0) }
            kill(getpid(), SIGTERM)
            let status = await Lifecycle.run(logger: logger, grace: .seconds(20)) {
                try await Task.sleep(for: .seconds(3_600))
            }
            try #require(status == 0)
        }
    }

    @Test func `a body that fails on its way out still gives status 0, and the error is logged`() async {
        let status = await Lifecycle.run(logger: logger, grace: .seconds(30)) {
            kill(getpid(), SIGTERM)
            try? await Task.sleep(for: .seconds(3_600))
            throw Failure()
        }
        #expect(status == 0)
        #expect(lines.all.last == #"level=warning msg="stopped with errors" error="no luck""#)
    }

    @Test func `a body that does not end is left after the grace period with status 1`() async {
        let release = AsyncStream<Void>.makeStream()
        let status = await Lifecycle.run(logger: logger, grace: .milliseconds(50)) {
            kill(getpid(), SIGTERM)
            // Deaf to cancellation until the test lets it go.
            await Task.detached { for await _ in release.stream {} }.value
        }
        release.continuation.finish()
        #expect(status == 1)
        #expect(lines.all.last == #"level=error msg="shutdown timed out" grace=50ms"#)
    }

    @Test func `SIGHUP rings and stops nothing, and SIGPIPE is ignored`() async {
        let bell = Doorbell<Int>()
        let ring: @Sendable () -> Void = { bell.ring(1) }
        let status = await Lifecycle.run(logger: logger, grace: .seconds(30), onHangup: ring) {
            kill(getpid(), SIGPIPE)
            for _ in 0..<3 {
                kill(getpid(), SIGHUP)
                _ = await bell.answer()
            }
        }
        #expect(status == 0)
        #expect(lines.all.isEmpty)
    }

    @Test func `without anybody to call SIGHUP is ignored`() async {
        let status = await Lifecycle.run(logger: logger, grace: .seconds(30)) {
            kill(getpid(), SIGHUP)
            kill(getpid(), SIGTERM)
            try await Task.sleep(for: .seconds(3_600))
        }
        #expect(status == 0)
    }

    @Test func `a promise gives its first value to all, and a cancelled wait ends`() async throws {
        let promise = Future<Int>()
        let waiting = (0..<10).map { _ in Task { try await promise.get() } }
        let cancelled = Task { try await promise.get() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        promise.complete(1)
        promise.complete(2)
        for task in waiting { #expect(try await task.value == 1) }
        #expect(try await promise.get() == 1)
    }
}

private struct Failure: Error, CustomStringConvertible {
    var description: String { "no luck" }
}
