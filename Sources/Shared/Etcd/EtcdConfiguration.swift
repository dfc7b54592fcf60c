extension Etcd {
    /// Where etcd is and how to log in.
    package struct Configuration: Sendable {
        /// The members, at least one.
        package var endpoints: [HTTPOrigin]
        /// The user and password; nil where etcd asks for none.
        package var credentials: Credentials?

        /// Takes members and, where needed, a login.
        package init(endpoints: [HTTPOrigin], credentials: Credentials? = nil) {
            self.endpoints = endpoints
            self.credentials = credentials
        }
    }

    /// A user of etcd's own authentication.
    package struct Credentials: Sendable, Equatable {
        /// The user's name.
        package var user: String
        /// The password.
        package var password: String

        /// Takes a name and a password.
        package init(user: String, password: String) {
            self.user = user
            self.password = password
        }
    }
}

extension Etcd.Credentials: CustomDebugStringConvertible {
    /// The user alone: whatever prints a value of which this is a part must not show the password.
    package var debugDescription: String { "user \(user)" }
}
