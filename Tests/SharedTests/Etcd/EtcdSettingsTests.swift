import FoundationEssentials
import TestSupport
import Testing

@testable import Shared

@Suite("etcd options")
struct EtcdSettingsTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    /// The configuration or the problems that an environment leads to.
    private func read(_ environment: [String: String]) -> (configuration: Etcd.Configuration?, problems: [String]) {
        let options = CommandLineParser(program: "p", summary: "", settings: EtcdSettings.settings)
        guard case .run(var reading) = options.parse(arguments: [], environment: environment) else {
            return (nil, ["no run"])
        }
        let configuration = EtcdSettings.configuration(from: &reading)
        do {
            try reading.finish()
            return (configuration, [])
        } catch {
            return (nil, error.problems)
        }
    }

    private func file(_ name: String, _ contents: String = "x") throws -> String {
        let path = "\(folder.path)/\(name)"
        try Data(contents.utf8).write(to: URL(filePath: path))
        return path
    }

    @Test(arguments: ["http://root:s3cret@10.0.0.1:2379", "root:s3cret@etcd", "http://a:s3cret@x,http://b:s3@cret@y"])
    func `a password in a URL is not shown`(host: String) {
        let problems = read(["ETCD_HOST": host]).problems.joined()
        #expect(problems.contains("ETCD_USER"))
        #expect(!problems.contains("s3"))
        // Other settings may have one as well.
        let other = read(["ETCD_HOST": "etcd", "ETCD_PREFIX": host]).problems.joined()
        #expect(!other.contains("s3"))
    }

    // MARK: Members

    @Test(arguments: [
        ("10.0.0.1", ["http://10.0.0.1:2379"]), ("10.0.0.1:4001", ["http://10.0.0.1:4001"]),
        ("etcd", ["http://etcd:2379"]),
        ("etcd-1.example.com:2379", ["http://etcd-1.example.com:2379"]), ("fd00::5", ["http://[fd00::5]:2379"]),
        ("[fd00::5]", ["http://[fd00::5]:2379"]), ("[fd00::5]:4001", ["http://[fd00::5]:4001"]),
        ("http://10.0.0.1:2379", ["http://10.0.0.1:2379"]), ("https://etcd", ["https://etcd:2379"]),
        ("HTTPS://etcd:2379/", ["https://etcd:2379"]), ("http://[fd00::5]:2379/", ["http://[fd00::5]:2379"]),
        ("a,b:1,https://c", ["http://a:2379", "http://b:1", "https://c:2379"]),
        (" a , b ", ["http://a:2379", "http://b:2379"]),
        ("a,", ["http://a:2379"]),
    ])
    func `members are hosts with or without scheme and port`(text: String, bases: [String]) {
        let (configuration, problems) = read(["ETCD_HOST": text])
        #expect(problems == [])
        #expect(configuration?.members.names == bases)
        #expect(configuration?.credentials == nil)
    }

    @Test(arguments: [
        ",", " ", ":2379", "a:", "a:0", "a:99999", "a:http", "a:2379:1", "a b", "a\nb", "a\0", "a/b", "http://",
        "http://a/v3", "ftp://a",
        "unix:///x", "http://user:pw@a", "a@b", "http://http://a", "[10.0.0.1]:1", "[fd00::5", "[fd00::5]:",
        "[fe80::1%eth0]", "a,,b c",
        "10.0.0.1:2379;10.0.0.2", "\u{e9}", "http://a?x", "http://a#x", "[]", String(repeating: "a", count: 300),
    ])
    func `anything else is refused by the setting's name`(text: String) {
        let (configuration, problems) = read(["ETCD_HOST": text])
        #expect(configuration == nil)
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix("ETCD_HOST: ") == true)
        #expect(problems.first?.contains("\n") == false)
    }

    @Test func `without members the problem says what is missing`() {
        #expect(read([:]).problems.first?.hasPrefix("ETCD_HOST (--etcd): must be set") == true)
        #expect(read(["ETCD_HOST": ""]).problems.first?.hasPrefix("ETCD_HOST (--etcd): must be set") == true)
    }

    // MARK: TLS

    @Test func `with files for TLS, members without scheme are reached by https, and the others as they say`() throws {
        let files = ["ETCD_CACERT": try file("ca"), "ETCD_CERT": try file("cert"), "ETCD_KEY": try file("key")]
        let (configuration, problems) = read(files.merging(["ETCD_HOST": "a,http://b,https://c"]) { $1 })
        #expect(problems == [])
        #expect(configuration?.members.names == ["https://a:2379", "http://b:2379", "https://c:2379"])
        let tls = HTTPOrigin.TLS(
            authorities: files["ETCD_CACERT"], certificate: files["ETCD_CERT"], key: files["ETCD_KEY"])
        #expect(configuration?.members.tls == tls)
    }

    @Test(arguments: [("ETCD_CERT", "ETCD_KEY"), ("ETCD_KEY", "ETCD_CERT")])
    func `certificate and key go together`(given: String, missing: String) throws {
        let problems = read(["ETCD_HOST": "a", given: try file("one")]).problems
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix("\(missing) (") == true)
        #expect(problems.first?.contains("must be set") == true)
    }

    @Test(arguments: ["ETCD_CACERT", "ETCD_CERT", "ETCD_KEY", "ETCD_PASSWORD_FILE"])
    func `a file that cannot be read is named, once`(setting: String) throws {
        var environment = [
            "ETCD_HOST": "a", "ETCD_CERT": try file("cert"), "ETCD_KEY": try file("key"), "ETCD_USER": "u",
            "ETCD_PASSWORD_FILE": try file("password"),
        ]
        environment[setting] = "\(folder.path)/nowhere"
        #expect(read(environment).problems == ["\(setting): cannot be read: \(folder.path)/nowhere"])
    }

    // MARK: Login

    @Test func `a file that is too long for a password is refused before it is read to its end`() throws {
        let path = try file("password", String(repeating: "x", count: 70_000))
        for path in [path, "/dev/zero"] {
            let read = read(["ETCD_HOST": "a", "ETCD_USER": "u", "ETCD_PASSWORD_FILE": path])
            #expect(read.problems == ["ETCD_PASSWORD_FILE: cannot be read: \(path)"])
        }
    }

    @Test(arguments: ["pw", "pw\n", "pw\r\n"])
    func `the password file's line end is no part of the password`(contents: String) throws {
        let path = try file("password", contents)
        let read = read(["ETCD_HOST": "a", "ETCD_USER": "u", "ETCD_PASSWORD_FILE": path])
        #expect(read.configuration?.credentials == Etcd.Credentials(user: "u", password: "pw", passwordFile: path))
    }

    @Test func `the file counts before the variable`() throws {
        let path = try file("password", "file")
        let environment = ["ETCD_HOST": "a", "ETCD_USER": "u", "ETCD_PASSWORD": "variable"]
        #expect(read(environment).configuration?.credentials?.password == "variable")
        #expect(
            read(environment.merging(["ETCD_PASSWORD_FILE": path]) { $1 }).configuration?.credentials?.password
                == "file")
    }

    @Test func `a user needs a password and a password a user`() throws {
        #expect(
            read(["ETCD_HOST": "a", "ETCD_USER": "u"]).problems
                == ["ETCD_PASSWORD_FILE (--etcd-password-file): must be set, as ETCD_USER is"])
        #expect(
            read(["ETCD_HOST": "a", "ETCD_PASSWORD": "geheim"]).problems
                == ["ETCD_USER (--etcd-user): must be set, as there is a password"])
    }

    @Test func `a password is shown neither in the help nor in a message`() throws {
        let options = CommandLineParser(program: "p", summary: "", settings: EtcdSettings.settings)
        let path = try file("password", "geheim")
        for environment in [
            ["ETCD_PASSWORD": "geheim"], ["ETCD_PASSWORD": "geheim", "ETCD_HOST": ":"], ["ETCD_PASSWORD_FILE": path],
        ] {
            let problems = read(environment).problems
            #expect(!problems.isEmpty)
            #expect(problems.allSatisfy { !$0.contains("geheim") })
        }
        #expect(!options.help.contains("geheim"))
        let configuration = read(["ETCD_HOST": "a", "ETCD_USER": "u", "ETCD_PASSWORD": "geheim"]).configuration
        #expect(configuration != nil)
        #expect(!"\(configuration as Any)".contains("geheim"))
    }

    @Test func `all mistakes are told together`() {
        let problems = read([
            "ETCD_HOST": ":", "ETCD_CACERT": "/nowhere/ca", "ETCD_CERT": "/nowhere/cert", "ETCD_PASSWORD": "geheim",
        ]).problems
        #expect(problems.count == 5)
    }

    // MARK: Prefix

    @Test(arguments: [("/backends", "/backends/"), ("/a/b/", "/a/b/")])
    func `the prefix is a path`(text: String, prefix: String) throws {
        let options = CommandLineParser(program: "p", summary: "", settings: EtcdSettings.settings)
        guard case .run(var reading) = options.parse(arguments: ["--etcd-prefix", text], environment: [:]) else {
            return
        }
        #expect(EtcdSettings.keyspace(from: &reading)?.prefix == prefix)
        #expect(throws: Never.self) { try reading.finish() }
    }

    @Test(arguments: [
        ("10.0.0.1", "10.0.0.1", 2379), ("etcd1:1", "etcd1", 1), ("[fd00::1]:2", "fd00::1", 2),
        ("https://etcd.example/", "etcd.example", 2379),
    ])
    func `a member has a host and a port`(text: String, host: String, port: Int) throws {
        let member = try #require(EtcdSettings.endpoint(text, isSecure: false, tls: HTTPOrigin.TLS()))
        #expect(member.host == host)
        #expect(member.port == Port(port))
        #expect(HTTPOrigin.unix("/socket").host == nil && HTTPOrigin.unix("/socket").port == nil)
    }
}
