/// What is wrong with the way in which a program was started: all of it, one text each.
package struct UsageError: Error, Equatable {
    /// The mistakes, each beginning with the name of the setting that it concerns.
    package let problems: [String]

    /// Makes the error of these mistakes.
    package init(problems: [String]) {
        self.problems = problems
    }

    /// What to print on standard error before the exit with status 64.
    package func text(program: String) -> String {
        let lines = problems.map { "\(program): \($0)" }
        return (lines + ["Try '\(program) --help'."]).joined(separator: "\n")
    }
}
