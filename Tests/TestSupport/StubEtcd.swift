package import Shared
import Synchronization

/// A gateway of etcd that answers what the test tells it to, where the real one cannot be brought to say it.
///
/// Each route has a list of answers, of which the last one repeats.
package final class StubEtcd: Sendable {
    /// One answer as it goes over the wire.
    package struct Answer: Sendable, ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
        var status = 200
        var body: String
        var endsAfter = true

        /// Takes the body of an answer with status 200.
        package init(stringLiteral body: String) { self.body = body }

        /// An answer with another status.
        package init(_ status: Int, _ body: String) {
            self.status = status
            self.body = body
        }

        /// A stream that stays open and silent after `body`.
        package static func open(_ body: String) -> Answer {
            var answer = Answer(200, body)
            answer.endsAfter = false
            return answer
        }

        var head: String {
            let length = endsAfter ? "Content-Length: \(body.utf8.count)\r\n" : ""
            return "HTTP/1.1 \(status) Stub\r\n\(length)\r\n"
        }
    }

    private let server: StubServer
    private let log: Log

    /// What was asked, by route.
    private final class Log: Sendable {
        private let requests = Mutex<[String: [String]]>([:])

        /// Takes a request, and gives how many came before it on its route.
        func add(_ request: String, to route: String) -> Int {
            requests.withLock { requests in
                defer { requests[route, default: []].append(request) }
                return requests[route]?.count ?? 0
            }
        }

        func all(_ route: String) -> [String] { requests.withLock { $0[route] ?? [] } }
    }

    /// Answers `routes`, named by the path below `/v3/`; what is not there is answered as by a web server.
    package init(_ routes: [String: [Answer]]) throws {
        let log = Log()
        self.log = log
        server = try StubServer { client in
            while let request = client.request() {
                let path = request.split(separator: " ").dropFirst().first ?? ""
                let route = String(path.dropFirst("/v3/".count))
                let number = log.add(request, to: route)
                let answers = routes[route] ?? [Answer(404, "404 page not found\n")]
                let answer = answers[min(number, answers.count - 1)]
                client.send(answer.head + answer.body)
                guard answer.endsAfter else { return client.waitForEnd() }
            }
        }
    }

    /// How clients reach it.
    package var origin: HTTPOrigin { .tcp("http://127.0.0.1:\(server.port)") }

    /// The requests to one route so far, in order.
    package func requests(_ route: String) -> [String] { log.all(route) }
}
