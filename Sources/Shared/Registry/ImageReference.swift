/// An image reference taken apart: `[registry[:port]/]path[:tag][@digest]`.
///
/// It follows https://pkg.go.dev/github.com/distribution/reference.
package struct ImageReference: Equatable, Sendable {
    /// The reference without tag and digest, such as `registry:5000/team/whoami`.
    package let repository: String

    /// The last component of the path, such as `whoami`.
    package let name: String

    /// Parses a reference; nil where it has no name: an image id, with or without `sha256:`, or nothing at all.
    package init?(_ text: String) {
        let undigested = text.prefix { $0 != "@" }
        let slash = undigested.lastIndex(of: "/")
        let last = slash.map { undigested[undigested.index(after: $0)...] } ?? undigested
        // A colon before the last slash belongs to the registry's port.
        let name = last.prefix { $0 != ":" }
        guard !name.isEmpty, !Self.isImageID(undigested) else { return nil }
        self.name = String(name)
        repository = String(undigested[..<name.endIndex])
    }

    private static func isImageID(_ text: Substring) -> Bool {
        let digest = text.hasPrefix("sha256:") ? text.dropFirst(7) : text
        let isHexadecimal = digest.allSatisfy { $0.isHexDigit && $0.isASCII }
        return isHexadecimal && (digest.count == 64 || text.hasPrefix("sha256:"))
    }
}
