import FoundationEssentials
import Shared

/// All that an operator adds to haproxy.cfg on this host.
struct Additions: Equatable, Sendable {
    private var parts: [Addition.Place: Addition] = [:]

    /// Makes none.
    init() {}

    /// What is added at a place; nil for nothing.
    subscript(place: Addition.Place) -> Addition? {
        get { parts[place] }
        set { parts[place] = newValue }
    }

    /// The lines for a place.
    func lines(_ place: Addition.Place) -> [String] { parts[place]?.lines ?? [] }

    /// Whether there are none.
    var isEmpty: Bool { parts.isEmpty }

    /// The names of the proxies that it defines: no service can have one of them.
    var proxies: Set<String> { parts[.extra]?.proxies ?? [] }

    /// Why an HAProxy with these rights would end at the start although it finds the file right; nil where it would not.
    ///
    /// With a worker that ends at the start, its master ends all others too.
    func excess(over rights: ProcessRights) -> String? {
        guard !rights.mayChroot, let global = parts[.global], let line = global.chroot else { return nil }
        return "\(global.path), line \(line): HAProxy has not the right to 'chroot' here (CAP_SYS_CHROOT)"
    }

    /// Where it listens: no service can listen there.
    var binds: Set<BindAddress> { parts[.extra]?.binds ?? [] }
}

// MARK: On the disk

extension Additions {
    /// The newest that HAProxy has accepted, which stand in at the next start where a file has become wrong.
    struct Copy: Sendable {
        /// Where it is.
        let file: AtomicFile

        /// Reads it; nil where there is none that can be used.
        func load() -> Additions? {
            guard let bytes = try? WholeFile(file.path).bytes,
                let parts = try? JSONDecoder().decode([String: Addition].self, from: Data(bytes))
            else { return nil }
            var additions = Additions()
            for (name, part) in parts { if let place = Addition.Place(rawValue: name) { additions[place] = part } }
            return additions
        }

        /// Replaces it.
        func save(_ additions: Additions) throws {
            let named = Dictionary(uniqueKeysWithValues: additions.parts.map { ($0.rawValue, $1) })
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try file.replace(with: [UInt8](try encoder.encode(named)))
        }
    }
}

/// The files from which additions are read, by place.
struct AdditionFiles: Equatable, Sendable {
    /// Their paths.
    var paths: [Addition.Place: String] = [:]

    /// What they say, and which of them cannot be used.
    struct Offer: Sendable {
        /// The files that can be used.
        var additions = Additions()
        /// The others.
        var failures: [Addition.Place: Addition.Failure] = [:]
    }

    /// Reads them all.
    func read() -> Offer {
        paths.reduce(into: Offer()) { offer, file in
            do throws(Addition.Failure) {
                offer.additions[file.key] = try Addition(file.value, for: file.key)
            } catch {
                offer.failures[file.key] = error
            }
        }
    }
}
