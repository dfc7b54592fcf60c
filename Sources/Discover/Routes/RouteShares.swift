import Shared

/// How a die of four digits from 1000 to 1999 falls on services, by the first digits that it can have.
///
/// HAProxy looks the die up by its beginning, so a range of numbers takes as many rows as it has beginnings: 100 of
/// 1000 to 1099 is the one row `10`. A share that grows at its end keeps the numbers that it had.
struct RouteShares: Equatable, Sendable {
    /// A row: the first digits, and who gets it.
    struct Row: Equatable, Sendable {
        /// The beginning of the die.
        let digits: String
        /// The service.
        let service: ServiceName
    }

    /// What the routes call it: `~` and a digest, with `s` where a cookie keeps clients at their number.
    let id: String
    /// The rows.
    let rows: [Row]

    /// Shares of targets; nil where one gets all.
    init?(_ targets: RouteTargets, isSticky: Bool) {
        guard targets.only == nil else { return nil }
        id = (isSticky ? Self.stickyMark : Self.mark) + Digest.text(of: targets.description)
        var start = 1000
        rows = Self.parts(of: targets.active).flatMap { weight, count in
            defer { start += count }
            return Self.beginnings(of: start..<(start + count)).map { Row(digits: $0, service: weight.service) }
        }
    }

    /// What ids of shares begin with that are thrown anew for each request.
    static let mark = "~n"
    /// What ids of shares begin with that a cookie keeps.
    static let stickyMark = "~s"

    /// The keys of the map with their services.
    var lines: [(key: String, value: String)] { rows.map { ("\(id):\($0.digits)", $0.service.text) } }

    /// The services.
    var services: Set<ServiceName> { Set(rows.map(\.service)) }

    /// The services with the thousandths that each gets, by name.
    var counts: [(service: String, share: Int)] {
        let sizes = [1000, 100, 10, 1]
        let counts = rows.reduce(into: [String: Int]()) {
            $0[$1.service.text, default: 0] += sizes[$1.digits.utf8.count - 1]
        }
        return counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Thousandths for each: by weight, rounded so that they are 1000 together, and none gets nothing.
    static func parts(of weights: [RouteTargets.Weight]) -> [(RouteTargets.Weight, Int)] {
        let total = weights.reduce(0) { $0 + $1.thousandths }
        var parts = weights.map { weight in
            (weight: weight, count: max(1, weight.thousandths * 1000 / total), rest: weight.thousandths * 1000 % total)
        }
        // The largest remainders first; by name among equals.
        let order = parts.indices.sorted { (parts[$1].rest, $0) < (parts[$0].rest, $1) }
        var missing = 1000 - parts.reduce(0) { $0 + $1.count }
        var next = 0
        while missing != 0 {
            let index =
                missing > 0 ? order[next % order.count] : parts.indices.max { parts[$0].count < parts[$1].count } ?? 0
            parts[index].count += missing > 0 ? 1 : -1
            missing += missing > 0 ? -1 : 1
            next += 1
        }
        return parts.map { ($0.weight, $0.count) }
    }

    /// The beginnings of all numbers of a range within 1000 to 1999, and of no others.
    static func beginnings(of range: Range<Int>) -> [String] {
        var found: [String] = []
        var start = range.lowerBound
        while start < range.upperBound {
            let step = [1000, 100, 10, 1].first { start % $0 == 0 && start + $0 <= range.upperBound } ?? 1
            found.append(String(start / step))
            start += step
        }
        return found
    }
}

/// FNV-1a, 64 bits, of short texts of operators: it tells them apart and guards nothing.
enum Digest {
    /// In hexadecimal digits.
    static func text(of text: String) -> String {
        String(text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
    }
}
