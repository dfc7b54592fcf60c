/// The fields of a value and of all values in it.
package struct Fields {
    /// Their names.
    package private(set) var names: Set<String> = []
    /// Those that have nothing in them anywhere, so that what could be in them is not among the names.
    package var empty: Set<String> { seenEmpty.subtracting(seenFull) }

    private var seenEmpty: Set<String> = []
    private var seenFull: Set<String> = []

    /// Looks at a value.
    package init(of value: Any) { visit(value, at: "") }

    private mutating func visit(_ value: Any, at path: String) {
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .struct:
            for case (let label?, let field) in mirror.children {
                names.insert(label)
                visit(field, at: "\(path).\(label)")
            }
        case .optional, .collection:
            if mirror.children.isEmpty { seenEmpty.insert(path) } else { seenFull.insert(path) }
            for child in mirror.children { visit(child.value, at: path) }
        default: break
        }
    }
}
