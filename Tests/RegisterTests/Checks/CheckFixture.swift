// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared

@testable import Register

/// Targets and times for the tests of checks.
enum CheckFixture {
    static let refused = CheckFailure.noConnection("Connection refused")
    static let unavailable = CheckFailure.status(503)
    static let hangs = CheckFailure.noAnswer(within: .seconds(1))
    static let start = CheckState.Instant.now

    /// A target; each number is another one.
    static func target(
        _ number: Int = 0, check: String = "tcp", port: Int = 80, interval: Duration = .seconds(2), rise: Int = 1,
        fall: Int = 3, timeout: Duration = .seconds(1), _ options: ServiceOptions = ServiceOptions()
    ) -> CheckTarget {
        CheckTarget(
            life: "life \(number)", endpoint: Endpoint(address: IPAddress("127.0.0.1")!, port: Port(port)!),
            RegistrationCheck(
                check: ServiceCheck(check), interval: interval, timeout: timeout, rise: rise, fall: fall), options)!
    }
}
