import Testing

@testable import Register

@Suite("Host identity")
struct HostIdentityTests {
    @Test func `the host has a name, and is the same each time`() {
        let identity = HostIdentity.read()
        #expect(!identity.name.isEmpty)
        #expect(HostIdentity.read() == identity)
    }

    @Test func `an id is made of the machine's, and does not give it away`() {
        let machine = "3d1219c7c4c5404aaa1f6d2a48adfda4"
        let id = HostIdentity.id(machineID: machine + "\n")
        #expect(id == HostIdentity.id(machineID: machine))
        #expect(id.hasPrefix("host-") && id.utf8.count == 21)
        #expect(HostIdentity.id(machineID: "3d1219c7c4c5404aaa1f6d2a48adfda5") != id)
    }

    @Test(arguments: ["", "\n", "uninitialized\n"])
    func `a machine without an id has none here either`(text: String) {
        #expect(HostIdentity.id(machineID: text) == "")
    }
}
