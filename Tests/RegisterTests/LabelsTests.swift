// Literals of the tests are right, or the tests are not.
// swift-format-ignore-file: NeverForceUnwrap

import Shared
import Testing

@testable import Register

@Suite("Labels")
struct LabelsTests {
    @Test func `labels are matched without regard to case and win over variables`() {
        let labels = Labels(
            labels: ["service_name": "web", "Service_8000_Port": "80"],
            environment: ["SERVICE_NAME": "other", "SERVICE_TAGS": "a, b,,c", "SERVICE_IGNORE": "no"])
        #expect(labels.container.names == [ServiceName("web")!])
        #expect(labels.container.tags == ["a", "b", "c"])
        #expect(labels.container.isIgnored == false)
        #expect(labels.ports[Port(8000)!]?.options.port == Port(80))
        #expect(labels.problems == [])
    }

    @Test(arguments: [
        ("true", true), ("1", true), ("YES", true), ("", true), ("0", false), ("false", false), ("off", false),
    ])
    func `a switch is on or off`(value: String, isOn: Bool) {
        let labels = Labels(labels: ["SERVICE_IGNORE": value, "SERVICE_80_IGNORE": value], environment: [:])
        #expect(labels.container.isIgnored == isOn)
        #expect(labels.ports[Port(80)!]?.isIgnored == isOn)
    }

    @Test(arguments: [
        ("SERVICE_NAME", "two words"), ("SERVICE_NAME", ""), ("SERVICE_NAME", "a/b"), ("SERVICE_NAME", "-x"),
        ("SERVICE_NAME", String(repeating: "x", count: 129)), ("SERVICE_PORT", "0"), ("SERVICE_PORT", "65536"),
        ("SERVICE_PORT", "http"), ("SERVICE_80_PORT", "-1"), ("SERVICE_IGNORE", "perhaps"), ("SERVICE_NAEM", "web"),
        ("SERVICE_80_FOO", "x"), ("SERVICE_0_NAME", "x"), ("SERVICE_99999_NAME", "x"), ("SERVICE_PRIMARY_PORT", "x"),
        ("SERVICE_TAGS", String(repeating: "t", count: 2000)), ("SERVICE_", "x"), ("SERVICE_NAME", "web,"),
        ("SERVICE_NAME", "web,two words"), ("SERVICE_WEIGHT", "257"), ("SERVICE_80_CHECK", "http:x"),
        ("SERVICE_HEALTH", "perhaps"), ("SERVICE_80_HEALTH", "ignore"), ("SERVICE_REGISTER_CHECK_RISE", "0"),
        ("SERVICE_REGISTER_CHECK_TIMEOUT", "2h"), ("SERVICE_MODE", "udp"), ("SERVICE_NETWORK", ""),
    ])
    func `a wrong label is named with its value, and counts as absent`(name: String, value: String) {
        let labels = Labels(labels: [name: value, "SERVICE_8080_NAME": "fine"], environment: [:])
        #expect(labels.problems.count == 1)
        #expect(labels.problems.first?.text.hasPrefix("\(name)=\(value.prefix(100)) is not understood; ") == true)
        var container = Labels.Fields()
        (container.isMisnamed, container.isIgnored) = (name == "SERVICE_NAME", name == "SERVICE_IGNORE")
        #expect(labels.container == container)
        #expect(labels.whole == Labels.ContainerFields())
        #expect(labels.ports[Port(8080)!]?.names == [ServiceName("fine")!])
    }

    @Test(arguments: [
        ("SERVICE_WIEGHT", "5", "there is no such label; did you mean SERVICE_WEIGHT?"),
        ("SERVICE_80_CHEKC", "tcp", "there is no such label; did you mean SERVICE_80_CHECK?"),
        ("SERVICE_SOMETHING", "1", "there is no such label"),
        ("SERVICE_80_HEALTH", "ignore", "SERVICE_HEALTH cannot be said of one port"),
        ("SERVICE_99999_NAME", "x", "99999 is not a port from 1 to 65535"),
        ("SERVICE_WEIGHT", "x", "expected a whole number from 0 to 256"),
        ("SERVICE_IGNORE", "always", "expected true or false; it counts as true"),
        ("SERVICE_80_IGNORE", "yes!", "expected true or false; it counts as true"),
        (
            "SERVICE_8000_CHECK_HTTP", "/health?x=1",
            "it is a label of registrator; write SERVICE_8000_CHECK=http:/health?x=1"
        ),
        ("SERVICE_CHECK_HTTP", "health", "it is a label of registrator; write SERVICE_CHECK=http:/health"),
        ("SERVICE_CHECK_HTTP", "a b", "it is a label of registrator; write SERVICE_CHECK=http:/path"),
        ("SERVICE_CHECK_TCP", "true", "it is a label of registrator; write SERVICE_CHECK=tcp"),
        (
            "SERVICE_CHECK_HTTPS", "/",
            "it is a label of registrator; write SERVICE_CHECK=tcp: checks by HTTPS are not supported"
        ),
        ("SERVICE_80_CHECK_HTTP_METHOD", "head", "it is a label of registrator; write SERVICE_80_CHECK_METHOD=HEAD"),
        (
            "SERVICE_CHECK_SCRIPT", "curl $SERVICE_IP",
            "it is a label of registrator; commands run as the HEALTHCHECK of the image, which is respected"
        ),
    ])
    func `what is wrong with a label is told in a few words`(name: String, value: String, reason: String) {
        let labels = Labels(labels: [name: value], environment: [:])
        #expect(labels.problems.map(\.text) == ["\(name)=\(value) is not understood; \(reason)"])
        // Variables of these names are no application's own.
        let isOfRegistrator = reason.contains("registrator")
        let variables = Labels(labels: [:], environment: [name: value])
        #expect(!isOfRegistrator || variables.problems == labels.problems)
    }

    @Test func `thousands of labels that nobody knows are named, the first ones with a suggestion`() {
        let many = (0..<5000).map { ("SERVICE_WIEGHT\($0)", "x") }
        let labels = Labels(labels: Dictionary(uniqueKeysWithValues: many), environment: [:])
        #expect(labels.problems.count == 5000)
        #expect(labels.problems.count { $0.text.contains("did you mean SERVICE_WEIGHT?") } <= 32)
        #expect(labels.problems.first?.text.contains("did you mean SERVICE_WEIGHT?") == true)
    }

    @Test(arguments: ["always", "yes please", "2"])
    func `who writes that something is to be ignored has it ignored, whatever the word for that`(value: String) {
        let labels = Labels(labels: ["SERVICE_IGNORE": value, "SERVICE_80_IGNORE": value], environment: [:])
        #expect(labels.container.isIgnored)
        #expect(labels.ports[Port(80)!]?.isIgnored == true)
        #expect(labels.problems.count == 2)
    }

    @Test func `too many names are told by their limit`() {
        let names = (1...17).map { "web\($0)" }.joined(separator: ",")
        let problem = Labels(labels: ["SERVICE_NAME": names], environment: [:]).problems.first
        #expect(problem?.text.contains("expected up to 16 names") == true)
    }

    @Test(arguments: [
        ("SERVICE_NAME", "web , web,api", "api, web"), ("SERVICE_IGNORE", "", "true"),
        ("SERVICE_CHECK_INTERVAL", "120000ms", "2m"), ("SERVICE_MODE", "HTTP", "http"), ("SERVICE_WEIGHT", "007", "7"),
        ("SERVICE_TAGS", " a,, b", "a, b"), ("SERVICE_80_REGISTER_CHECK_TIMEOUT", "2", "2s"),
    ])
    func `a label counts as the value that was understood`(name: String, value: String, counts: String) {
        let labels = Labels(labels: [name: value], environment: [:])
        #expect(labels.problems == [])
        guard case .means(_, counts)? = labels.said[name]?.outcome else {
            Issue.record("\(name) counts as \(String(describing: labels.said[name]?.outcome))")
            return
        }
    }

    @Test func `a container's labels are about the port with the bare name, but those about the host about all`() {
        let labels = Labels(
            labels: [
                "SERVICE_CHECK": "http:/health", "SERVICE_MODE": "http", "SERVICE_WEIGHT": "50", "SERVICE_TAGS": "a",
                "SERVICE_REGISTER_CHECK": "tcp", "SERVICE_9000_WEIGHT": "10", "SERVICE_9000_CHECK_PORT": "9001",
            ], environment: [:])
        #expect(labels.problems == [])
        let primary = labels.fields(of: Port(8000)!, isPrimary: true)
        #expect(primary.options.check == ServiceCheck("http:/health"))
        #expect(primary.options.mode == .http)
        #expect(primary.options.weight == 50)
        #expect(primary.registerCheck.check == .tcp)
        let other = labels.fields(of: Port(9000)!, isPrimary: false)
        #expect(other.options.check == nil)
        #expect(other.options.weight == 10)
        #expect(other.options.checkPort == Port(9001))
        #expect(other.tags == ["a"])
        #expect(other.registerCheck == RegistrationCheck())
        #expect(labels.fields(of: Port(1)!, isPrimary: false).options.weight == 50)
    }

    @Test func `variables that only look alike are an application's own`() {
        let labels = Labels(
            labels: ["com.example": "x"],
            environment: ["SERVICE_HOST": "x", "SERVICE_8000_HOST": "y", "SERVICE_80_HEALTH": "ignore", "PATH": "/"])
        #expect(labels == Labels(labels: [:], environment: [:]))
    }
}
