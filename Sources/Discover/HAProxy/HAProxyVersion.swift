/// A version of HAProxy, as far as it decides what can be used.
struct HAProxyVersion: Equatable, Comparable, Sendable, CustomStringConvertible {
    /// The first number.
    let major: Int
    /// The second number; even ones are supported for long.
    let minor: Int

    /// The oldest that docker-discover works with: the first whose servers can be changed while it runs.
    static let oldest = HAProxyVersion(major: 2, minor: 4)

    /// `2.6`.
    var description: String { "\(major).\(minor)" }

    /// Makes one.
    init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Finds it in what `haproxy -v` prints: `HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/`.
    init?(output: some Sequence<String>) {
        for line in output {
            let words = line.split(separator: " ")
            guard words.count >= 3, words[0] == "HAProxy" || words[0] == "HA-Proxy", words[1] == "version" else {
                continue
            }
            // 3.3-dev4 and 2.6.12-1 alike.
            let numbers = words[2].split { !$0.isNumber }.compactMap { Int($0) }
            guard numbers.count >= 2 else { return nil }
            self.init(major: numbers[0], minor: numbers[1])
            return
        }
        return nil
    }

    /// Orders by age.
    static func < (left: HAProxyVersion, right: HAProxyVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }
}
