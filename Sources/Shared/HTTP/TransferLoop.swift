import CCurl
import Glibc
import Synchronization

/// The one thread that owns libcurl's multi handle and all its transfers.
///
/// Everything else only leaves commands and wakes it; `curl_multi_wakeup` is the one call that libcurl allows from
/// other threads (https://curl.se/libcurl/c/threadsafe.html). While nothing happens it sleeps in `curl_multi_poll`.
final class TransferLoop: Sendable {
    private enum Command {
        case start(Transfer)
        case cancel(Transfer)
        case resume(Transfer)
        case stop
    }

    private struct Inbox {
        var commands: [Command] = []
        /// The multi handle's address while the thread runs.
        var multi: UInt?
    }
    private let inbox = Mutex(Inbox())

    /// Starts the thread; nil where libcurl or the system refuses.
    init?() {
        guard Self.isReady, let multi = unsafe curl_multi_init() else { return nil }
        inbox.withLock { $0.multi = UInt(bitPattern: multi) }
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let failed = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<TransferLoop>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        guard failed == 0 else {
            unsafe context.release()
            unsafe curl_multi_cleanup(multi)
            return nil
        }
        pthread_detach(thread)
    }

    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// Begins an exchange.
    func start(_ transfer: Transfer) { send(.start(transfer)) }

    /// Gives an exchange up and closes its connection.
    func cancel(_ transfer: Transfer) { send(.cancel(transfer)) }

    /// Goes on with an exchange that was paused.
    func resume(_ transfer: Transfer) { send(.resume(transfer)) }

    /// Ends the thread; exchanges under way fail.
    func stop() { send(.stop) }

    private func send(_ command: Command) {
        inbox.withLock { inbox in
            guard let multi = unsafe inbox.multi.flatMap({ unsafe UnsafeMutableRawPointer(bitPattern: $0) }) else {
                if case .start(let transfer) = command { transfer.finish(.failure(CancellationError())) }
                return
            }
            inbox.commands.append(command)
            unsafe curl_multi_wakeup(multi)
        }
    }

    // MARK: On the thread

    private func run() {
        guard
            let multi = unsafe inbox.withLock({
                unsafe $0.multi.flatMap { unsafe UnsafeMutableRawPointer(bitPattern: $0) }
            })
        else { return }
        var active = unsafe ActiveTransfers(multi: multi)
        while unsafe obey(&active) {
            var running: Int32 = 0
            unsafe curl_multi_perform(multi, &running)
            unsafe active.collectFinished()
            // Any command ends the wait, and libcurl ends it for its own timers.
            unsafe curl_multi_poll(multi, nil, 0, 3_600_000, nil)
        }
        unsafe active.abandonAll()
        unsafe curl_multi_cleanup(multi)
    }

    /// Carries the commands out; false after a stop.
    private func obey(_ active: inout ActiveTransfers) -> Bool {
        let commands = inbox.withLock { inbox in
            defer { inbox.commands = [] }
            return inbox.commands
        }
        for command in commands {
            switch command {
            case .start(let transfer): unsafe active.start(transfer)
            case .cancel(let transfer): unsafe active.cancel(transfer)
            case .resume(let transfer): unsafe active.resume(transfer)
            case .stop:
                inbox.withLock { $0.multi = nil }
                return false
            }
        }
        return true
    }
}
