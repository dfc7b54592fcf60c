extension Docker {
    /// How a container is asked to stop: its image's `STOPSIGNAL`, or what `docker run --stop-signal` says.
    struct StopSignal: Hashable, Sendable {
        /// The signal's number.
        let number: Int32

        /// What containers get that say nothing.
        static let standard = StopSignal(number: 15)

        /// Parses `SIGINT`, `INT`, `SIGRTMIN+3` or a number; nil for what is no signal.
        init?(_ text: String) {
            if let number = Int32(text) {
                guard (1...64).contains(number) else { return nil }
                self.number = number
                return
            }
            let upper = text.uppercased()
            let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
            if let number = Self.numbers[name] {
                self.number = number
            } else if name.hasPrefix("RTMIN+"), let offset = Int32(name.dropFirst(6)), (1...30).contains(offset) {
                number = 34 + offset
            } else {
                return nil
            }
        }

        private init(number: Int32) { self.number = number }

        /// Whether this signal, sent to the container, is the beginning of its end.
        ///
        /// SIGKILL always is.
        func isMeant(by signal: Int32) -> Bool { signal == number || signal == 9 }

        /// The names of signal(7) that have the same number on every machine that runs Docker.
        private static let numbers: [String: Int32] = [
            "HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "USR1": 10, "USR2": 12, "PIPE": 13, "ALRM": 14,
            "TERM": 15, "CONT": 18, "STOP": 19, "TSTP": 20, "WINCH": 28, "PWR": 30, "RTMIN": 34,
        ]
    }
}
