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

/// The transfers that libcurl works on, with what each needs as long as it lives.
///
/// Used by one thread only.
@unsafe
struct ActiveTransfers {
    @unsafe
    private struct Active {
        let transfer: Transfer
        let lists: [UnsafeMutablePointer<curl_slist>]
        let errorText: UnsafeMutablePointer<CChar>
        /// The errno with which the system gave no socket; 0 where it gave one.
        let socketError: UnsafeMutablePointer<Int32>
        let since = ContinuousClock.now

        /// Which limit a transfer that timed out has met: that of the connection comes long before the whole one.
        var limitThatPassed: Duration {
            let limits = unsafe transfer.limits
            guard let whole = limits.whole else { return limits.connect }
            let age = unsafe since.duration(to: .now)
            return age < whole * 0.9 ? limits.connect : whole
        }
    }

    private let multi: UnsafeMutableRawPointer
    private var byHandle: [UnsafeMutableRawPointer: Active]

    init(multi: UnsafeMutableRawPointer) {
        unsafe self.multi = unsafe multi
        unsafe byHandle = [:]
    }

    /// Hands a transfer to libcurl.
    mutating func start(_ transfer: Transfer) {
        guard let easy = unsafe curl_easy_init() else {
            transfer.finish(.failure(HTTPError.broken(transfer.origin.name, reason: "libcurl has no memory")))
            return
        }
        let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        let lists = unsafe CurlOptions.apply(transfer, to: easy, errorText: errorText)
        let socketError = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        unsafe socketError.initialize(to: 0)
        unsafe ccurl_keep_socket_error(easy, socketError)
        unsafe byHandle[easy] = unsafe Active(
            transfer: transfer, lists: lists, errorText: errorText, socketError: socketError)
        let code = unsafe curl_multi_add_handle(multi, easy)
        if code != CURLM_OK {
            unsafe forget(easy)
            transfer.finish(
                .failure(HTTPError.broken(transfer.origin.name, reason: "libcurl refused: \(code.rawValue)")))
        }
    }

    /// Gives a transfer up.
    mutating func cancel(_ transfer: Transfer) {
        guard let easy = unsafe handle(of: transfer) else { return }
        unsafe forget(easy)
        transfer.finish(.failure(CancellationError()))
    }

    /// Goes on with a paused transfer.
    func resume(_ transfer: Transfer) {
        guard let easy = unsafe handle(of: transfer) else { return }
        unsafe curl_easy_pause(easy, CURLPAUSE_CONT)
    }

    /// Ends the transfers that libcurl says are done.
    mutating func collectFinished() {
        while true {
            let message = unsafe ccurl_next_message(multi)
            guard let easy = unsafe message.easy else { return }
            guard unsafe message.done != 0, let active = unsafe byHandle[easy] else { continue }
            let result = unsafe outcome(of: active, easy, message.result)
            unsafe forget(easy)
            unsafe active.transfer.finish(result)
        }
    }

    /// Gives everything up.
    mutating func abandonAll() {
        for transfer in unsafe byHandle.values.map({ unsafe $0.transfer }) {
            unsafe cancel(transfer)
        }
    }

    private func handle(of transfer: Transfer) -> UnsafeMutableRawPointer? {
        unsafe byHandle.first { unsafe $0.value.transfer === transfer }?.key
    }

    private mutating func forget(_ easy: UnsafeMutableRawPointer) {
        guard let active = unsafe byHandle.removeValue(forKey: easy) else { return }
        unsafe curl_multi_remove_handle(multi, easy)
        unsafe curl_easy_cleanup(easy)
        for index in unsafe active.lists.indices { unsafe curl_slist_free_all(active.lists[index]) }
        unsafe active.errorText.deallocate()
        unsafe active.socketError.deallocate()
    }

    private func outcome(
        of active: Active, _ easy: UnsafeMutableRawPointer, _ code: CURLcode
    ) -> Result<Void, any Error> {
        if code == CURLE_OK { return .success(()) }
        let transfer = unsafe active.transfer
        let server = transfer.origin.name
        var reason = unsafe String(cString: active.errorText)
        if reason.isEmpty { reason = unsafe String(cString: curl_easy_strerror(code)) }
        switch code {
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST:
            var systemError = 0
            unsafe ccurl_get_long(easy, CURLINFO_OS_ERRNO, &systemError)
            if unsafe active.socketError.pointee != 0 { systemError = unsafe Int(active.socketError.pointee) }
            if systemError != 0 { reason = unsafe String(cString: strerror(Int32(systemError))) }
            return .failure(HTTPError.unreachable(server, reason: reason, code: Int32(truncatingIfNeeded: systemError)))
        case CURLE_OPERATION_TIMEDOUT:
            if let silence = transfer.limits.silence, transfer.hasHead {
                return .failure(HTTPError.silent(server, for: silence))
            }
            return .failure(HTTPError.timedOut(server, after: unsafe active.limitThatPassed))
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR:
            return .failure(HTTPError.insecure(server, reason: reason))
        case CURLE_RECV_ERROR where reason.contains("SSL routines") && reason.contains("alert"):
            // From TLS 1.3 on a server says after the handshake that it wants another certificate of ours, or any.
            return .failure(HTTPError.insecure(server, reason: reason))
        default:
            return .failure(HTTPError.broken(server, reason: reason))
        }
    }
}
