/// What a program's end says to whoever started it.
package enum ExitStatus {
    /// It was asked to stop, or to print its help or version, and did.
    package static let success: Int32 = 0
    /// It could not start, failed, or did not stop within its grace period.
    package static let failure: Int32 = 1
    /// The command line or the environment is wrong (`EX_USAGE` of sysexits.h): trying again changes nothing.
    package static let wrongUsage: Int32 = 64

    /// It was told twice to stop by a signal: the status that a shell reports for a death by it.
    package static func signalled(_ signal: Int32) -> Int32 { 128 + signal }
}
