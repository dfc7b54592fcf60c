import Shared

/// Brings the files that HAProxy reads for routes to what a configuration needs, before HAProxy is told anything.
struct RouteMapWriter {
    private let isFlushed: Bool
    private var written: RouteMaps?
    private var records = PartitionedTable<String>()
    /// The text of each part of the records.
    private var texts: [[UInt8]] = []

    /// Has written nothing.
    ///
    /// - Parameter isFlushed: whether files have to outlive a power failure.
    init(isFlushed: Bool) { self.isFlushed = isFlushed }

    /// Writes what differs from what was written last.
    mutating func write(_ next: HAProxyConfiguration) throws {
        guard let maps = next.maps, let files = next.routeFiles else { return }
        if Folder.isMissing(files.routes) { (written, texts) = (nil, []) }
        guard maps != written else { return }
        written = nil
        if records != maps.records || texts.isEmpty { try write(maps.records, files.routes) }
        try AtomicFile(path: files.shares).replace(with: Array(maps.sharesText.utf8), isFlushed: isFlushed)
        let list = maps.certificates.keys.sorted().map { files.certificate($0) + "\n" }.joined()
        try AtomicFile(path: files.certificateList).replace(with: Array(list.utf8), isFlushed: isFlushed)
        written = maps
    }

    /// Writes the records part by part: few of them changed, and there may be tens of thousands.
    private mutating func write(_ next: PartitionedTable<String>, _ path: String) throws {
        if texts.count != next.parts.count { (texts, records) = (next.parts.map { Self.text($0) }, next) }
        for (place, part) in next.parts.enumerated() where part !== records.parts[place] {
            texts[place] = Self.text(part)
        }
        let bytes = texts.reduce(into: [UInt8]()) { $0 += $1 }
        try AtomicFile(path: path).replace(isFlushed: isFlushed) { write in try write(bytes) }
        records = next
    }

    private static func text(_ part: PartitionedTable<String>.Part) -> [UInt8] {
        Array(part.values.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined().utf8)
    }
}

extension HAProxyAccess {
    /// The files that HAProxy reads for routes.
    var routeFiles: RouteFiles { RouteFiles(folder: directory.path) }

    /// What the maps of the worker say that runs a file; nil where that routes nothing, or it does not say.
    func runningMaps(of file: HAProxyConfiguration, _ files: RouteFiles) async -> RouteMaps? {
        guard file.hasRoutes, var maps = try? await runtime.maps(files) else { return nil }
        // What was accepted is in the folder, and the worker has it from there.
        maps.certificates = CertificateCopies(files).digests
        return maps
    }
}
