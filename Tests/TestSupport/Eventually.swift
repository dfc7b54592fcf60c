/// Waits until `condition` holds, asking again and again; false when it does not within `limit`.
///
/// - Parameter limit: far above what is expected, so that a slow machine fails no test.
package func eventually(
    within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async rethrows -> Bool {
    let end = ContinuousClock.now + limit
    while true {
        if try await condition() { return true }
        guard ContinuousClock.now < end, !Task.isCancelled else { return false }
        try? await Task.sleep(for: .milliseconds(10))
    }
}
