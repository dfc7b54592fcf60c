import FoundationEssentials
import Testing

@testable import Shared

@Suite("Unknown fields")
struct UnknownFieldsTests {
    @Test(arguments: [
        (#"{"chek": "tcp"}"#, ["chek: there is no such field; did you mean check?"]),
        (#"{"SERVICE_CHECK": "tcp", "port": 80}"#, ["SERVICE_CHECK: there is no such field; did you mean check?"]),
        (#"{"check-interval": "1s"}"#, ["check-interval: there is no such field; did you mean check_interval?"]),
        (#"{"something_else": {"port": 80}}"#, ["something_else: there is no such field"]),
        (#"{"port": "x", "weight": 0}"#, []), ("{}", []), ("[]", []), ("nonsense", []),
    ])
    func `a field of a config that is not known is named`(json: String, problems: [String]) {
        #expect(UnknownFields.ofConfig(json.utf8) == problems)
    }

    @Test func `a meta has fields of its own`() throws {
        var meta = Meta()
        (meta.container, meta.image, meta.host, meta.owner, meta.created) = ("c", "i", "h", "o", "t")
        (meta.tags, meta.withdrawn, meta.at, meta.confirm) = (["t"], "w", "t", true)
        meta.options.port = Port(80)
        let json = try meta.json()
        #expect(UnknownFields.ofMeta(json) == [])
        #expect(UnknownFields.ofConfig(json).count == 6)
        #expect(
            UnknownFields.ofMeta(#"{"continer": "web"}"#.utf8)
                == ["continer: there is no such field; did you mean container?"])
    }

    @Test func `of many the first are named, and the others counted`() {
        let many = (0..<5000).map { "\"field\($0)\": 1" }.joined(separator: ",")
        let problems = UnknownFields.ofConfig("{\(many)}".utf8)
        #expect(problems.count == 6 && problems.last == "4995 further unknown fields")
    }
}
