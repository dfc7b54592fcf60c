/// The part of etcd v3 that Sidekick uses, over etcd's JSON gateway.
///
/// The routes and encodings follow https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/.
package enum Etcd {
    /// A key with its value and history, as etcd stores it.
    ///
    /// Keys and values are bytes: they need not be UTF-8.
    package struct KeyValue: Equatable, Sendable {
        /// The key.
        package var key: [UInt8]
        /// The value.
        package var value: [UInt8]
        /// The revision at which the key came to be, counted anew after each deletion.
        package var createRevision: Int64
        /// The revision of the newest change.
        package var modRevision: Int64
        /// The lease that the key goes with; 0 for none.
        package var lease: Int64

        /// Makes one.
        package init(key: [UInt8], value: [UInt8], createRevision: Int64, modRevision: Int64, lease: Int64) {
            self.key = key
            self.value = value
            self.createRevision = createRevision
            self.modRevision = modRevision
            self.lease = lease
        }
    }

    /// All keys of a range as they were at one revision.
    package struct RangeResult: Equatable, Sendable {
        /// The revision of the whole store that the listing shows.
        package var revision: Int64
        /// Which cluster answered; another one's revisions mean nothing here.
        package var clusterID: String
        /// The keys in the order of their bytes.
        package var keyValues: [KeyValue]
        /// How many keys the range has, listed or not.
        package var count: Int64

        /// Makes one.
        package init(revision: Int64, clusterID: String, keyValues: [KeyValue], count: Int64 = 0) {
            (self.revision, self.clusterID) = (revision, clusterID)
            (self.keyValues, self.count) = (keyValues, count)
        }
    }

    /// One change that a watch delivers.
    package enum Event: Equatable, Sendable {
        /// A key was put.
        case put(KeyValue)
        /// A key was deleted, or went with its lease.
        case delete(key: [UInt8], modRevision: Int64)
    }

    /// The changes of one or more revisions, in order; a revision is never cut in two.
    package struct Changes: Equatable, Sendable {
        /// The newest revision in it.
        package var revision: Int64
        /// The changes.
        package var events: [Event]

        /// Makes one.
        package init(revision: Int64, events: [Event]) {
            self.revision = revision
            self.events = events
        }
    }
}

extension Etcd {
    /// Where etcd is and how to log in.
    package struct Configuration: Sendable {
        /// The members, at least one.
        package var members: Members
        /// The user and password; nil where etcd asks for none.
        package var credentials: Credentials?
        /// The flags and variables that said so.
        package var sources: [String] = []

        /// Takes members and, where needed, a login.
        package init(members: Members, credentials: Credentials? = nil, sources: [String] = []) {
            (self.members, self.credentials, self.sources) = (members, credentials, sources)
        }

        /// Takes members and, where needed, a login.
        package init(endpoints: [HTTPOrigin], credentials: Credentials? = nil) {
            self.init(members: Members(endpoints), credentials: credentials)
        }
    }

    /// A user of etcd's own authentication.
    package struct Credentials: Sendable, Equatable {
        /// The user's name.
        package var user: String
        /// The password, as it was at the start.
        package var password: String
        /// The file that has the password; nil where it is given otherwise.
        package var passwordFile: String?

        /// Takes a name and a password.
        package init(user: String, password: String, passwordFile: String? = nil) {
            self.user = user
            self.password = password
            self.passwordFile = passwordFile
        }

        /// The password of now, for a login: the file may have changed, and is in use while it cannot be read.
        func newestPassword() -> String { passwordFile.flatMap(Self.password(in:)) ?? password }

        /// The password that a file has; nil where it cannot be read.
        static func password(in file: String) -> String? {
            (try? FileContents(file, limit: longestPassword).text).map { String($0.trimmingASCIISpace()) }
        }

        /// In bytes.
        private static let longestPassword = 65_536
    }
}

extension Etcd.Credentials: CustomDebugStringConvertible {
    /// The user alone: whatever prints a value of which this is a part must not show the password.
    package var debugDescription: String { "user \(user)" }
}
