import Shared
import TestSupport
import Testing

@testable import Discover

/// What is made of answers that the HAProxy at hand does not give on demand.
@Suite("Runtime API", .timeLimit(.minutes(1)))
struct RuntimeAPITests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    /// An HAProxy that answers each line with what `answer` makes of it.
    private func haproxy(_ answer: @escaping @Sendable (String) -> String) throws -> StubServer {
        try StubServer(path: folder.path + "/s") { connection in connection.send(answer(connection.everything())) }
    }

    private var api: RuntimeAPI {
        RuntimeAPI(socket: LineSocket(path: folder.path + "/s"), deadline: .seconds(20))
    }

    @Test(arguments: ["\n", ""])
    func `a server that is deleted, or not there any more, is gone, and one with connections is not`(end: String)
        async throws
    {
        let answers = [
            "del server web/1": "Server deleted.", "del server web/2": "No such server.",
            "del server web/3": "Server still has connections attached to it, cannot remove it.",
            "del server api/4": "No such backend.",
        ]
        let stub = try haproxy { line in
            line.split { $0 == ";" || $0 == "\n" }.map { answers[String($0)].map { $0 + "\n" + end } ?? "\n" }.joined()
        }
        let gone = try await api.remove(["web/1", "web/2", "web/3", "api/4"].map(server))
        #expect(gone == Set(["web/1", "web/2", "api/4"].map(server)))
        withExtendedLifetime(stub) {}
    }

    @Test func `connections that wait for a server count like those that it has`() async throws {
        let stub = try haproxy { line in
            guard line == "show stat web 4 -1\n" else { return "Unknown command\n\n" }
            return "# pxname,svname,qcur,qmax,scur,smax,slim,\nweb,1,3,7,0,9,,\nweb,2,0,7,4,9,,\nweb,3,2,7,1,9,,\n"
                + "web,4,0,7,0,9,,\nweb,5,,7,6,9,,\n\n"
        }
        let counts = try await api.connections(of: [service("web")])
        #expect(counts == ["web/1": 3, "web/2": 4, "web/3": 3, "web/4": 0, "web/5": 6])
        withExtendedLifetime(stub) {}
    }
}
