import CCurl
import Glibc

/// The transfers that libcurl works on, with what each needs as long as it lives.
///
/// Used by one thread only.
@unsafe
struct ActiveTransfers {
    @unsafe
    private struct Active {
        let transfer: Transfer
        let headers: UnsafeMutablePointer<curl_slist>?
        let errorText: UnsafeMutablePointer<CChar>
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
        let headers = unsafe CurlOptions.apply(transfer, to: easy, errorText: errorText)
        unsafe byHandle[easy] = unsafe Active(transfer: transfer, headers: headers, errorText: errorText)
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
        unsafe curl_slist_free_all(active.headers)
        unsafe active.errorText.deallocate()
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
