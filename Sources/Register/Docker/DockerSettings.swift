import FoundationEssentials
import Shared

/// The settings that say where the engine is; they are those of Docker's own client
/// (https://docs.docker.com/reference/cli/docker/#environment-variables).
enum DockerSettings {
    private static let host = Setting(
        flag: "--docker", variable: "DOCKER_HOST", placeholder: "URL", fallback: "unix:///var/run/docker.sock",
        help: "Docker Engine: unix:///path or tcp://host:port; none on a host without one, with SERVICES_FILE")
    private static let verify = Setting(
        flag: "--docker-tls", variable: "DOCKER_TLS_VERIFY", help: "use TLS for tcp://, and verify the engine")
    private static let certificates = Setting(
        flag: "--docker-cert-path", variable: "DOCKER_CERT_PATH", placeholder: "FOLDER",
        help: "folder with ca.pem, cert.pem, and key.pem for TLS; ~/.docker by default")

    /// All of them, in the order of the help.
    static let settings = [host, verify, certificates]

    /// Whether there is no engine, and only the services file counts.
    static func isNone(_ reading: inout ParsedSettings) -> Bool { reading.text(host) == "none" }

    /// Records that without an engine there is nothing to register.
    static func reportNone(_ reading: inout ParsedSettings) {
        reading.problem(host, "none leaves nothing to register; set SERVICES_FILE, or say where the engine is")
    }

    /// Reads them; nil where something is wrong, which is then recorded.
    static func origin(from reading: inout ParsedSettings, home: String) -> HTTPOrigin? {
        var tls: HTTPOrigin.TLS?
        if reading.isOn(verify) {
            let folder = reading.text(certificates) ?? "\(home)/.docker"
            let files = ["ca.pem", "cert.pem", "key.pem"].map { "\(folder)/\($0)" }
            for file in files where !FileManager.default.isReadableFile(atPath: file) {
                reading.problem(certificates, "cannot be read: \(file)")
            }
            tls = HTTPOrigin.TLS(authorities: files[0], certificate: files[1], key: files[2])
        }
        return reading.value(host, "unix:///path or tcp://host:port") { origin($0, tls: tls) }
    }

    /// Parses `unix:///path` or `tcp://host:port`; nil for anything else.
    static func origin(_ text: String, tls: HTTPOrigin.TLS?) -> HTTPOrigin? {
        if text.hasPrefix("unix://") {
            let path = text.dropFirst("unix://".count)
            // The kernel's limit for the path of a unix socket is 107 bytes.
            return path.hasPrefix("/") && path.utf8.count <= 107 ? .unix(String(path)) : nil
        }
        guard text.hasPrefix("tcp://") else { return nil }
        let rest = text.dropFirst("tcp://".count)
        let authority = rest.last == "/" ? rest.dropLast() : rest
        guard let colon = authority.lastIndex(of: ":"), colon > authority.startIndex,
            Port(text: authority[authority.index(after: colon)...]) != nil,
            authority.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-._:[]".contains($0)) })
        else { return nil }
        return .tcp("\(tls == nil ? "http" : "https")://\(authority)", tls: tls ?? HTTPOrigin.TLS())
    }
}
