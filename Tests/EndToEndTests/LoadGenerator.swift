import Glibc
import Synchronization
import TestSupport

@testable import Shared

/// Clients that send requests one after another, ten on each connection, and count what fails.
final class LoadGenerator: Sendable {
    private let port: Int
    private let isOver = Atomic(false)
    private let running = Atomic(0)
    private let succeeded = Atomic(0)
    private let failures = Mutex<[String]>([])

    /// Starts clients, each on a thread of its own.
    init(port: Int, clients: Int) {
        self.port = port
        for _ in 0..<clients {
            running.add(1, ordering: .relaxed)
            _ = BackgroundThread.start { [self] in
                while !isOver.load(ordering: .relaxed) { connectAndAsk() }
                running.subtract(1, ordering: .relaxed)
            }
        }
    }

    /// How many requests were answered so far.
    var count: Int { succeeded.load(ordering: .relaxed) }

    /// Ends the clients, and gives what failed.
    func stop() async -> [String] {
        isOver.store(true, ordering: .relaxed)
        _ = await eventually { running.load(ordering: .relaxed) == 0 }
        return failures.withLock { $0 }
    }

    private func connectAndAsk() {
        do {
            let connection = try LongConnection(port: port)
            for _ in 0..<10 {
                let answer = try connection.exchange()
                guard answer.hasPrefix("HTTP/1.1 200 ") else { throw LongConnection.Failure(answer) }
                succeeded.add(1, ordering: .relaxed)
            }
        } catch {
            failures.withLock { $0.append("\(error)") }
        }
    }
}
