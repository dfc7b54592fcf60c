/// The release that this is built from; both programs carry the same one.
package enum Version {
    /// The number, as https://semver.org has it.
    package static let current = "0.1.0"

    /// What `--version` prints.
    package static func text(program: String) -> String { "\(program) \(current)" }
}
