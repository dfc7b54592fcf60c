import Shared

/// The services file as the agent follows it: what it said when it was last right.
struct StaticEntries: Sendable {
    /// Where it is.
    let path: String
    /// What counts.
    private(set) var file: ServicesFile

    private let keyspace: Keyspace?

    /// Why a file does not count.
    enum Failure: Error, Equatable {
        /// It cannot be read.
        case unreadable(FileError)
        /// There are mistakes in it.
        case wrong(path: String, ServicesFile.Mistakes)
    }

    /// Reads a file for the first time.
    init(path: String, keyspace: Keyspace?) throws(Failure) {
        self.path = path
        self.keyspace = keyspace
        file = try Self.read(path, keyspace)
    }

    private static func read(_ path: String, _ keyspace: Keyspace?) throws(Failure) -> ServicesFile {
        let bytes: [UInt8]
        do throws(FileError) {
            guard let found = try WholeFile(path, limit: ServicesFile.mostBytes).bytes else {
                throw FileError("open", path, code: FileError.noSuchFile)
            }
            bytes = found
        } catch {
            throw .unreadable(error)
        }
        do {
            return try ServicesFile(bytes, keyspace: keyspace)
        } catch {
            throw .wrong(path: path, error)
        }
    }

    /// Reads the file again; one that cannot be used changes nothing.
    mutating func readAgain(owner: Owner, logger: Logger) {
        let before = file
        do {
            file = try Self.read(path, keyspace)
        } catch {
            return logger.error(
                "the services file cannot be used; what it said before counts",
                ["file": path, "mistakes": error.count, "reason": error.problems.joined(separator: "; ")])
        }
        var changes = Changes()
        changes.note(
            from: before.registrations(by: owner, zone: nil), to: file.registrations(by: owner, zone: nil))
        changes.note(from: before.plainKeys(of: owner), to: file.plainKeys(of: owner))
        logger.info(
            "services file read",
            [
                "file": path, "services": file.services.count, "keys": file.keys.count, "added": changes.added,
                "changed": changes.changed, "removed": changes.removed,
            ])
    }

    /// How many things a file says that another one does not.
    private struct Changes {
        var added = 0
        var changed = 0
        var removed = 0

        mutating func note<Name: Hashable, Value: Equatable>(from old: [Name: Value], to new: [Name: Value]) {
            added += new.keys.count { old[$0] == nil }
            removed += old.keys.count { new[$0] == nil }
            changed += new.count { name, value in old[name].map { $0 != value } ?? false }
        }
    }
}

extension StaticEntries.Failure {
    /// Mistakes that are told; whoever makes more has to try again in any case.
    private static let mostTold = 50

    /// How many mistakes there are.
    var count: Int { if case .wrong(_, let mistakes) = self { mistakes.all.count } else { 1 } }

    /// One text for each mistake, with the file's path, line, column and field.
    var problems: [String] {
        switch self {
        case .unreadable(let error): return [error.description]
        case .wrong(let path, let mistakes):
            let told = mistakes.all.prefix(Self.mostTold).map { "\(path):\($0)" }
            let rest = mistakes.all.count - told.count
            return rest > 0 ? told + ["\(path): and \(rest) more mistakes"] : told
        }
    }
}
