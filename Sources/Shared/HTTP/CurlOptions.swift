import CCurl
import Glibc

/// What every transfer tells libcurl (https://curl.se/libcurl/c/curl_easy_setopt.html).
enum CurlOptions {
    /// Sets all options of a transfer.
    ///
    /// - Returns: lists that must live as long as the transfer.
    static func apply(
        _ transfer: Transfer, to easy: UnsafeMutableRawPointer, errorText: UnsafeMutablePointer<CChar>
    ) -> [UnsafeMutablePointer<curl_slist>] {
        let request = transfer.request
        unsafe ccurl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText)
        unsafe ccurl_set_string(easy, CURLOPT_URL, transfer.origin.base + request.path)
        // A watch and a keep-alive must not share one connection, as they would over HTTP/2.
        unsafe ccurl_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        unsafe ccurl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        // A listing has megabytes; libcurl keeps one such buffer for all transfers.
        unsafe ccurl_set_long(easy, CURLOPT_BUFFERSIZE, 128 << 10)
        // Registry and engine are reached directly, whatever http_proxy says.
        unsafe ccurl_set_string(easy, CURLOPT_PROXY, "")
        // A server that has moved is found by the first connection after that, not up to a minute later.
        unsafe ccurl_set_long(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0)
        // A transfer that is given up while its name is looked up would stop all others until the resolver answers.
        unsafe ccurl_set_quick_exit(easy)
        unsafe applyLimits(transfer.limits, to: easy)
        unsafe applyOrigin(transfer.origin, to: easy)
        var fields = request.headers
        switch request.method {
        case .get: break
        case .head: unsafe ccurl_set_long(easy, CURLOPT_NOBODY, 1)
        case .options: unsafe ccurl_set_string(easy, CURLOPT_CUSTOMREQUEST, "OPTIONS")
        case .post(let body): fields += unsafe applyPost(body, to: easy, errorText)
        }
        if transfer.isConnectionOnly {
            unsafe ccurl_set_long(easy, CURLOPT_CONNECT_ONLY, 1)
            unsafe ccurl_set_long(easy, CURLOPT_FRESH_CONNECT, 1)
        }
        unsafe installCallbacks(transfer, on: easy)
        var list: UnsafeMutablePointer<curl_slist>?
        for field in fields {
            let line = field.value.isEmpty ? "\(field.name):" : "\(field.name): \(field.value)"
            unsafe list = unsafe curl_slist_append(list, line) ?? list
        }
        unsafe ccurl_set_pointer(easy, CURLOPT_HTTPHEADER, list)
        var lists = unsafe [list]
        if let place = transfer.origin.place {
            let destination = unsafe curl_slist_append(nil, "::\(place)")
            unsafe ccurl_set_pointer(easy, CURLOPT_CONNECT_TO, destination)
            unsafe lists.append(destination)
        }
        return unsafe lists.compactMap { unsafe $0 }
    }

    /// Sets the body of a POST.
    ///
    /// - Returns: the header fields that go with it.
    private static func applyPost(
        _ body: [UInt8], to easy: UnsafeMutableRawPointer, _ anyPointer: UnsafeMutablePointer<CChar>
    ) -> [(name: String, value: String)] {
        unsafe ccurl_set_long(easy, CURLOPT_POSTFIELDSIZE, body.count)
        _ = unsafe body.withUnsafeBytes { bytes in
            // Without a body any pointer will do: the size is 0.
            unsafe ccurl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, bytes.baseAddress ?? UnsafeRawPointer(anyPointer))
        }
        // No "100 Continue" round trip for long bodies.
        return [("Content-Type", "application/json"), ("Expect", "")]
    }

    private static func applyLimits(_ limits: Transfer.Limits, to easy: UnsafeMutableRawPointer) {
        unsafe ccurl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, limits.connect.wholeMilliseconds)
        if let whole = limits.whole {
            unsafe ccurl_set_long(easy, CURLOPT_TIMEOUT_MS, whole.wholeMilliseconds)
        }
        if let silence = limits.silence {
            unsafe ccurl_set_long(easy, CURLOPT_LOW_SPEED_LIMIT, 1)
            unsafe ccurl_set_long(easy, CURLOPT_LOW_SPEED_TIME, max(1, silence.wholeMilliseconds / 1000))
        }
        unsafe ccurl_set_long(easy, CURLOPT_TCP_KEEPALIVE, 1)
        unsafe ccurl_set_long(easy, CURLOPT_TCP_KEEPIDLE, Int(keepAliveSeconds))
        unsafe ccurl_set_long(easy, CURLOPT_TCP_KEEPINTVL, Int(keepAliveSeconds))
    }

    private static func applyOrigin(_ origin: HTTPOrigin, to easy: UnsafeMutableRawPointer) {
        if let socket = origin.socket {
            unsafe ccurl_set_string(easy, CURLOPT_UNIX_SOCKET_PATH, socket)
        }
        if let authorities = origin.tls.authorities {
            unsafe ccurl_set_string(easy, CURLOPT_CAINFO, authorities)
            // Some builds of libcurl trust the system's folder besides.
            unsafe ccurl_set_string(easy, CURLOPT_CAPATH, nil)
        }
        if let certificate = origin.tls.certificate {
            unsafe ccurl_set_string(easy, CURLOPT_SSLCERT, certificate)
        }
        if let key = origin.tls.key {
            unsafe ccurl_set_string(easy, CURLOPT_SSLKEY, key)
        }
    }

    /// Seconds between probes of a silent connection.
    private static let keepAliveSeconds: Int32 = 5

    private static func installCallbacks(_ transfer: Transfer, on easy: UnsafeMutableRawPointer) {
        let context = unsafe Unmanaged.passUnretained(transfer).toOpaque()
        unsafe ccurl_set_write(
            easy,
            { bytes, size, count, context in
                guard let context = unsafe context else { return 0 }
                let transfer = unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                let body = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
                return unsafe transfer.receive(body: body) ? size * count : Int(CURL_WRITEFUNC_PAUSE)
            }, context)
        unsafe ccurl_set_header(
            easy,
            { bytes, size, count, context in
                guard let context = unsafe context else { return 0 }
                let transfer = unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                let line = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
                unsafe transfer.receive(headLine: String(decoding: line, as: UTF8.self))
                return size * count
            }, context)
        unsafe ccurl_set_sockopt(
            easy,
            { _, socket, _ in
                // libcurl 7 cannot set the number of probes. A peer that is gone is noticed after 5 + 3 x 5 seconds.
                var probes: Int32 = 3
                unsafe setsockopt(socket, Int32(IPPROTO_TCP), TCP_KEEPCNT, &probes, socklen_t(MemoryLayout<Int32>.size))
                return CURL_SOCKOPT_OK
            }, nil)
    }
}

extension Duration {
    /// Whole milliseconds, at least 1 and at most what fits into libcurl's and the kernel's 32 bits.
    package var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        let milliseconds = min(seconds, 2_000_000) * 1000 + attoseconds / 1_000_000_000_000_000
        return Int(max(1, milliseconds))
    }
}
