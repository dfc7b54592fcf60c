/// Which of some words somebody may have meant.
package enum Suggestion {
    /// The word that is nearest to `text`; nil where none is near.
    package static func nearest(to text: String, among words: some Sequence<String>) -> String? {
        let typed = Array(text.lowercased().utf8.prefix(longest))
        // Two letters that changed places count as two; more in a short word is another word.
        let most = min(3, max(1, typed.count / 2))
        let ranked = words.map { (distance: distance(typed, Array($0.utf8)), word: $0) }
        return ranked.filter { $0.distance <= most }.min { ($0.distance, $0.word) < ($1.distance, $1.word) }?.word
    }

    /// How it goes on after "there is no such field".
    package static func text(for text: String, among words: some Sequence<String>) -> String {
        nearest(to: text, among: words).map { "; did you mean \($0)?" } ?? ""
    }

    private static let longest = 64

    /// How many letters have to be put in, taken out or replaced (Levenshtein).
    private static func distance(_ one: [UInt8], _ other: [UInt8]) -> Int {
        var row = Array(0...other.count)
        for (index, byte) in one.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in other.indices {
                let replaced = diagonal + (byte == other[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, diagonal + 1, row[column] + 1)
            }
        }
        return row[other.count]
    }
}
