import Testing

@testable import Shared

@Suite("Image reference")
struct ImageReferenceTests {
    @Test(arguments: [
        ("whoami", "whoami", "whoami"),
        ("whoami:1.2", "whoami", "whoami"),
        ("team/whoami", "whoami", "team/whoami"),
        ("registry:5000/team/whoami:1.2", "whoami", "registry:5000/team/whoami"),
        ("registry:5000/whoami", "whoami", "registry:5000/whoami"),
        ("localhost/whoami@sha256:\(String(repeating: "a", count: 64))", "whoami", "localhost/whoami"),
        ("reg.example.com/a/b/web-app_1.x:v1@sha256:ab", "web-app_1.x", "reg.example.com/a/b/web-app_1.x"),
        ("deadbeef", "deadbeef", "deadbeef"),
    ])
    func `the name is the last component without registry, namespace, tag and digest`(
        text: String, name: String, repository: String
    ) {
        let reference = ImageReference(text)
        #expect(reference?.name == name)
        #expect(reference?.repository == repository)
    }

    @Test(arguments: [
        "", "sha256:\(String(repeating: "a", count: 64))", String(repeating: "0", count: 64), "sha256:abc123", "team/",
        "@sha256:ab", "registry:5000/",
    ])
    func `an image id, or nothing, has no name`(text: String) {
        #expect(ImageReference(text) == nil)
    }
}
