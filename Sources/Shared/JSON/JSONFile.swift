/// All that is wrong with a text, in its order.
package struct Mistakes: Error, Equatable {
    /// At least one.
    package var all: [LocatedJSON.Diagnostic]

    /// Takes at least one.
    package init(all: [LocatedJSON.Diagnostic]) { self.all = all }

    /// Takes one of a text as a whole.
    package init(whole problem: String) {
        all = [LocatedJSON.Diagnostic(place: LocatedJSON.Location(line: 1, column: 1), path: "", text: problem)]
    }
}

/// A file of JSON that people write.
package enum JSONFile {
    /// The most bytes of a file.
    package static let mostBytes = 1 << 20

    /// Why a file does not count.
    package enum Failure: Error, Equatable {
        /// It cannot be read.
        case unreadable(FileError)
        /// There are mistakes in it.
        case wrong(path: String, Mistakes)
    }

    /// Reads a file; `parse` makes of its text what it stands for.
    package static func read<Value>(
        _ path: String, _ parse: ([UInt8]) throws(Mistakes) -> Value
    ) throws(Failure) -> Value {
        let bytes: [UInt8]
        do throws(FileError) {
            guard let found = try FileContents(path, limit: mostBytes).bytes else {
                throw FileError.missing("open", path)
            }
            bytes = found
        } catch {
            throw .unreadable(error)
        }
        do {
            return try parse(bytes)
        } catch {
            throw .wrong(path: path, error)
        }
    }
}

extension JSONFile.Failure {
    /// Mistakes that are told; whoever makes more has to try again in any case.
    private static let mostTold = 50

    /// How many mistakes there are.
    package var count: Int { if case .wrong(_, let mistakes) = self { mistakes.all.count } else { 1 } }

    /// One text for each mistake, with the file's path, line, column and field.
    package var problems: [String] {
        switch self {
        case .unreadable(let error): return [error.description]
        case .wrong(let path, let mistakes):
            let told = mistakes.all.prefix(Self.mostTold).map { "\(path):\($0)" }
            let rest = mistakes.all.count - told.count
            return rest > 0 ? told + ["\(path): and \(rest) more mistakes"] : told
        }
    }
}
