import FoundationEssentials
import Glibc

/// The call of `posix_spawn`: the one place where processes are made.
enum Spawn {
    /// A new process and the end of the pipe that its output comes from; reading that does not block.
    struct Child {
        let pid: Int32
        let output: Int32
    }

    /// Glibc has had it since 2.26, but hides its name from Swift.
    private static let newSession: Int32 = 0x80

    /// Starts a program in a session of its own, with nothing of ours but its output pipe.
    ///
    /// It gets default signal dispositions, an empty signal mask, and no descriptor but the three standard ones. The
    /// executable is looked up in our own PATH.
    static func start(_ program: Program) throws(ProgramError) -> Child {
        let strings = [program.executable] + program.arguments
        let environment = (program.environment ?? ProcessInfo.processInfo.environment).map { "\($0)=\($1)" }.sorted()
        guard (strings + environment).allSatisfy({ !$0.utf8.contains(0) }) else {
            throw .cannotStart(program.executable, reason: "a NUL in its arguments or environment")
        }
        let (output, input) = try makePipe(program)
        defer { close(input) }
        var pid: Int32 = 0
        let code = unsafe withActions(program, output: input) { actions, attributes in
            unsafe withCStrings(strings) { arguments in
                unsafe withCStrings(environment) { environment in
                    unsafe posix_spawnp(&pid, program.executable, actions, attributes, arguments, environment)
                }
            }
        }
        guard code == 0 else {
            close(output)
            throw .cannotStart(program.executable, reason: reason(code))
        }
        return Child(pid: pid, output: output)
    }

    private static func makePipe(_ program: Program) throws(ProgramError) -> (output: Int32, input: Int32) {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw .cannotStart(program.executable, reason: reason(errno)) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    private static func withActions(
        _ program: Program, output: Int32,
        _ spawn: (UnsafePointer<posix_spawn_file_actions_t>, UnsafePointer<posix_spawnattr_t>) -> Int32
    ) -> Int32 {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        if let file = program.output {
            let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
            unsafe posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, file, flags, 0o600)
        } else {
            unsafe posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        }
        unsafe posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
        unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, program.input ?? "/dev/null", O_RDONLY, 0)
        for descriptor in openDescriptors() where descriptor > STDERR_FILENO {
            unsafe posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(&attributes, &signals)
        unsafe sigfillset(&signals)
        unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
        let flags = Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK) | newSession
        unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
        return unsafe spawn(&actions, &attributes)
    }

    /// All are closed on exec as it is, if everybody who opened one took care; one that is gone by then does no harm.
    private static func openDescriptors() -> [Int32] {
        let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        return (names ?? []).compactMap { Int32($0) }
    }

    private static func withCStrings(
        _ strings: [String],
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32
    ) -> Int32 {
        let copies = unsafe strings.map { unsafe strdup($0) } + [nil]
        defer {
            for index in unsafe copies.indices { unsafe free(copies[index]) }
        }
        return unsafe copies.withUnsafeBufferPointer { pointers in
            guard let base = pointers.baseAddress else { return EINVAL }
            return unsafe body(base)
        }
    }

    private static func reason(_ code: Int32) -> String {
        switch code {
        case ENOENT: "not found"
        case EACCES: "not executable"
        case ENOEXEC: "not a program"
        default: unsafe String(cString: strerror(code))
        }
    }
}
