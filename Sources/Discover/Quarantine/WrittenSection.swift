import Shared

/// A service's section as it stands in a file that HAProxy has accepted.
struct WrittenSection: Equatable, Sendable {
    /// All of it but the servers.
    let head: String
    /// Where it listens.
    let bind: BindAddress
    /// Its servers.
    let servers: [ServerLine]
}

extension HAProxyConfiguration {
    /// The section of a service; nil where there is none.
    func section(of service: ServiceName) -> WrittenSection? {
        let title = "listen \(service)"
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let servers = sections[service], let begin = lines.firstIndex(where: { $0 == title }) else { return nil }
        let body = lines[begin...].dropFirst().prefix { $0.hasPrefix("    ") && !$0.hasPrefix("    server ") }
        let bind = body.lazy.compactMap { line -> BindAddress? in
            let words = line.split(separator: " ")
            return words.count > 1 && words[0] == "bind" ? BindAddress(words[1]) : nil
        }.first
        guard let bind else { return nil }
        let own = body.filter { !$0.hasPrefix("    \(RenderedSection.common) ") }
        let head = ([title] + own.map(String.init)).map { $0 + "\n" }.joined()
        return WrittenSection(head: head, bind: bind, servers: servers)
    }

    /// The services that lines of this file belong to, each with the text of such a line.
    func services(atLines numbers: Set<Int>) -> [Int: (service: ServiceName, line: String)] {
        var found: [Int: (service: ServiceName, line: String)] = [:]
        var service: ServiceName?
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            if line.hasPrefix(Self.extraMark) { break }
            if let first = line.first, first != " ", first != "#" {
                let words = line.split(separator: " ")
                service = words.count == 2 && words[0] == "listen" ? ServiceName(words[1]) : nil
            }
            if let service, numbers.contains(index + 1) {
                found[index + 1] = (service, line.drop { $0 == " " }.description)
            }
        }
        return found
    }
}
