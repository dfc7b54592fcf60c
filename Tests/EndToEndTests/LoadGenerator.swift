import Glibc
import Synchronization
import TestSupport

@testable import Shared

/// Clients that send requests one after another on connections of their own, and count what fails.
final class LoadGenerator: Sendable {
    private let port: Int
    private let requests: Int
    private let pause: Duration
    private let isOver = Atomic(false)
    private let running = Atomic(0)
    private let succeeded = Atomic(0)
    private let slowest = Mutex(Duration.zero)
    private let failures = Mutex<[String]>([])

    /// Starts clients, each on a thread of its own.
    ///
    /// - Parameters:
    ///   - requests: how many requests each connection carries, unless the clients are stopped before.
    ///   - rate: how many requests all clients together send in a second; nil for as many as are answered.
    init(port: Int, clients: Int, requests: Int = 10, rate: Int? = nil) {
        self.port = port
        self.requests = requests
        pause = rate.map { .seconds(1) * clients / $0 } ?? .zero
        for _ in 0..<clients {
            running.add(1, ordering: .relaxed)
            _ = BackgroundThread.start { [self] in
                var due = ContinuousClock.now
                while !isOver.load(ordering: .relaxed) { connectAndAsk(&due) }
                running.subtract(1, ordering: .relaxed)
            }
        }
    }

    /// How many requests were answered so far.
    var count: Int { succeeded.load(ordering: .relaxed) }

    /// The longest that an answer took, its connection included.
    var longest: Duration { slowest.withLock { $0 } }

    /// Ends the clients, and gives what failed.
    func stop() async -> [String] {
        isOver.store(true, ordering: .relaxed)
        _ = await eventually { running.load(ordering: .relaxed) == 0 }
        return failures.withLock { $0 }
    }

    private func connectAndAsk(_ due: inout ContinuousClock.Instant) {
        do {
            wait(until: &due)
            var begin = ContinuousClock.now
            let connection = try LongConnection(port: port)
            var left = requests
            repeat {
                let answer = try connection.exchange()
                guard answer.hasPrefix("HTTP/1.1 200 ") else { throw LongConnection.Failure(answer) }
                succeeded.add(1, ordering: .relaxed)
                let took = begin.duration(to: .now)
                slowest.withLock { $0 = max($0, took) }
                left -= 1
                guard left > 0, !isOver.load(ordering: .relaxed) else { return }
                wait(until: &due)
                begin = .now
            } while true
        } catch {
            failures.withLock { $0.append("\(error)") }
        }
    }

    /// Waits for the moment of the next request; one that comes too late is not made up for.
    private func wait(until due: inout ContinuousClock.Instant) {
        guard pause > .zero else { return }
        let left = ContinuousClock.now.duration(to: due)
        if left > .zero { usleep(UInt32(left / .microseconds(1))) }
        due = max(due, .now - pause) + pause
    }
}
