extension ServiceOptions {
    /// One option: its name, its grammar, its default, and how it is read and written.
    ///
    /// The name is that of the JSON field; a label is `SERVICE_` and the name in capitals.
    package struct Field: Sendable {
        /// What an option is about.
        package enum Scope: Sendable {
            /// The service as a whole; of endpoints that disagree the newest decides.
            case service
            /// One endpoint, that is, one port of a container.
            case endpoint
            /// One endpoint; a container's label without a port is about all of its ports.
            case host
        }

        /// How a value stands in JSON.
        package enum Kind: String, Sendable {
            case number
            case boolean
            case string
        }

        /// The name, such as `check_interval`.
        package let name: String
        /// What it is about.
        package let scope: Scope
        /// How it stands in JSON.
        package let kind: Kind
        /// What a value may be, for messages and for the documentation.
        package let expected: String
        /// What counts where nothing is said, for the documentation.
        package let standard: String
        /// What it means, for the documentation.
        package let meaning: String
        /// Sets it from a text; false where that is not what is ``expected``, and nothing changes then.
        package let set: @Sendable (_ text: String, _ options: inout ServiceOptions) -> Bool
        /// The value's text, which ``set`` reads again; nil where nothing is said.
        package let text: @Sendable (_ options: ServiceOptions) -> String?
        /// Makes the second options say what the first ones do.
        package let copy: @Sendable (_ from: ServiceOptions, _ to: inout ServiceOptions) -> Void

        /// The name of the label, such as `SERVICE_CHECK_INTERVAL`.
        package var label: String { "SERVICE_" + name.uppercased() }
    }
}

extension ServiceOptions.Field {
    typealias Path<Value> = WritableKeyPath<ServiceOptions, Value?> & Sendable

    /// An option with a grammar of its own.
    static func value<Value: Sendable & CustomStringConvertible>(
        _ name: String, _ scope: Scope, _ path: any Path<Value>, _ expected: String,
        _ parse: @escaping @Sendable (String) -> Value?, kind: Kind = .string, standard: String, _ meaning: String
    ) -> Self {
        make(name, scope, kind, path, expected, standard, meaning, parse, \.description)
    }

    /// One of the words of a type.
    static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
        _ name: String, _ scope: Scope, _ path: any Path<Value>, standard: String, _ meaning: String
    ) -> Self where Value.RawValue == String {
        let words = Value.allCases.map(\.rawValue)
        let expected = words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
        let parse: @Sendable (String) -> Value? = { text in
            Value(rawValue: text) ?? Value.allCases.first { $0.rawValue.lowercased() == text.lowercased() }
        }
        return make(name, scope, .string, path, expected, standard, meaning, parse, \.rawValue)
    }

    /// A whole number within a range.
    static func number(
        _ name: String, _ scope: Scope, _ path: any Path<Int>, _ range: ClosedRange<Int>, standard: String,
        _ meaning: String
    ) -> Self {
        let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        let parse: @Sendable (String) -> Int? = { Int($0).flatMap { range.contains($0) ? $0 : nil } }
        return make(name, scope, .number, path, expected, standard, meaning, parse, \.description)
    }

    /// A time within a range.
    static func time(
        _ name: String, _ scope: Scope, _ path: any Path<Duration>, _ range: ClosedRange<Duration>, standard: String,
        _ meaning: String
    ) -> Self {
        let (least, most) = (DurationText.text(range.lowerBound), DurationText.text(range.upperBound))
        let parse: @Sendable (String) -> Duration? = { text in
            DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil }
        }
        let expected = "a time from \(least) to \(most), such as 15s or 500ms"
        return make(name, scope, .string, path, expected, standard, meaning, parse, DurationText.text)
    }

    /// A switch.
    static func flag(
        _ name: String, _ scope: Scope, _ path: any Path<Bool>, standard: String, _ meaning: String
    ) -> Self {
        make(name, scope, .boolean, path, Truth.expected, standard, meaning, { Truth.of($0) }, \.description)
    }

    private static func make<Value: Sendable>(
        _ name: String, _ scope: Scope, _ kind: Kind, _ path: any Path<Value>, _ expected: String, _ standard: String,
        _ meaning: String, _ parse: @escaping @Sendable (String) -> Value?,
        _ write: @escaping @Sendable (Value) -> String
    ) -> Self {
        Self(
            name: name, scope: scope, kind: kind, expected: expected, standard: standard, meaning: meaning,
            set: { text, options in
                guard let value = parse(text) else { return false }
                options[keyPath: path] = value
                return true
            },
            text: { $0[keyPath: path].map(write) },
            copy: { $1[keyPath: path] = $0[keyPath: path] })
    }
}

/// Switches as people write them.
package enum Truth {
    /// What may be written, for messages.
    package static let expected = "true or false"

    /// What a text means; nil for what is no switch.
    ///
    /// The empty text counts as on, as a label without value is meant so.
    package static func of(_ text: some StringProtocol) -> Bool? {
        switch text.lowercased() {
        case "", "1", "true", "yes", "on": true
        case "0", "false", "no", "off": false
        default: nil
        }
    }
}
