import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import Shared

@Suite("Program", .timeLimit(.minutes(1)), .serialized)
struct ProgramTests {
    private let limit = Duration.seconds(30)

    @Test func `both outputs come as lines in order, the last one also without a newline`() async throws {
        let outcome = try await shell("echo one; echo two >&2; echo; printf 'thr'; printf 'ee'").run(deadline: limit)
        #expect(outcome.lines == ["one", "two", "", "three"])
        #expect(outcome.ending == .exited(0))
        #expect(outcome.isSuccess)
    }

    @Test(arguments: [("exit 0", Program.Ending.exited(0)), ("exit 7", .exited(7)), ("exit 255", .exited(255))])
    func `an exit status is told`(script: String, ending: Program.Ending) async throws {
        #expect(try await shell(script).run(deadline: limit).ending == ending)
    }

    @Test(arguments: [SIGKILL, SIGTERM, SIGHUP, SIGPIPE, SIGABRT])
    func `a death by signal is told, and no disposition of ours is inherited`(number: Int32) async throws {
        signal(SIGPIPE, SIG_IGN)
        #expect(try await shell("kill -\(number) $$").run(deadline: limit).ending == .signalled(number))
    }

    @Test func `arguments and environment arrive as they are`() async throws {
        let program = Program(
            "/bin/sh", ["-c", #"printf '%s\n' "$@"; echo "$GREETING"; env | grep -c ."#, "sh", "a b", "", "$x\"'"],
            environment: ["GREETING": "hello", "PATH": "/usr/bin:/bin"])
        let lines = try await program.run(deadline: limit).lines
        #expect(lines.prefix(4) == ["a b", "", "$x\"'", "hello"])
    }

    @Test func `without an environment of its own it inherits ours`() async throws {
        #expect(
            try await shell("echo $PATH").run(deadline: limit).lines == [ProcessInfo.processInfo.environment["PATH"]])
    }

    @Test(arguments: [
        (Program("no-such-program"), "not found"), (Program("/no/such/program"), "not found"),
        (Program("/etc/passwd"), "not executable"), (Program("/tmp"), "not executable"),
        (Program("true", ["a\0b"]), "a NUL in its arguments or environment"),
    ])
    func `a program that cannot start says why`(program: Program, reason: String) async {
        await #expect(throws: ProgramError.cannotStart(program.executable, reason: reason)) {
            try await program.run(deadline: limit)
        }
    }

    @Test func `the end is noticed at once although a grandchild holds the output`() async throws {
        let start = ContinuousClock.now
        let outcome = try await shell("sleep 40 & echo $!; exit 0").run(deadline: limit)
        #expect(ContinuousClock.now - start < .seconds(20))
        let grandchild = try #require(outcome.lines.first.flatMap { Int32($0) })
        #expect(kill(grandchild, SIGKILL) == 0)
    }

    @Test func `at the deadline the program and what it started are killed`() async throws {
        let file = "/tmp/sidekick-test-\(getpid())-deadline"
        defer { unsafe unlink(file) }
        let program = shell("sleep 1000 & echo $! > \(file); trap '' TERM; wait")
        await #expect(throws: ProgramError.tookTooLong("/bin/sh", limit: .milliseconds(300))) {
            try await program.run(deadline: .milliseconds(300))
        }
        #expect(await isGone(processIn: file))
    }

    @Test func `a cancelled run kills the program and what it started`() async throws {
        let file = "/tmp/sidekick-test-\(getpid())-cancel"
        defer { unsafe unlink(file) }
        let task = Task { try await shell("sleep 1000 & echo $! > \(file); wait").run(deadline: limit) }
        #expect(await eventually { (try? String(contentsOfFile: file, encoding: .utf8))?.hasSuffix("\n") == true })
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(await isGone(processIn: file))
    }

    @Test func `ten megabytes of output are read, kept up to a megabyte, and counted`() async throws {
        let script = "yes 012345678901234567890123456789012345678 | head -n 262144; exit 3"
        let outcome = try await shell(script).run(deadline: limit)
        #expect(outcome.ending == .exited(3))
        #expect(outcome.lines.count == 1_048_576 / 40)
        #expect(outcome.lines.count + outcome.omitted == 262_144)
    }

    @Test func `invalid UTF-8 is repaired`() async throws {
        #expect(try await shell(#"printf 'a\377b\n'"#).run(deadline: limit).lines == ["a\u{fffd}b"])
    }

    @Test func `it has no input, no signal blocked or ignored, and a session of its own`() async throws {
        signal(SIGPIPE, SIG_IGN)
        let script = "cat; grep -E 'Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f6 /proc/$$/stat; echo $$"
        let lines = try await shell(script).run(deadline: limit).lines
        let masks = lines.prefix(2).compactMap { UInt64($0.drop { $0 != "0" }, radix: 16) }
        // Signals 32 and 33 are Glibc's own; its posix_spawn always has them ignored.
        #expect(masks.map { $0 & 0xffff_fffe_7fff_ffff } == [0, 0])
        #expect(lines.dropFirst(2).first == lines.last)
    }

    @Test func `it gets none of our descriptors`() async throws {
        let low = unsafe open("/dev/null", O_RDONLY)
        // A number that nothing else in this process or in ls gets.
        let leaky = fcntl(low, F_DUPFD, 900)
        defer {
            close(low)
            close(leaky)
        }
        #expect(leaky >= 900)
        let lines = try await Program("ls", ["-1", "/proc/self/fd"]).run(deadline: limit).lines
        // Besides these the folder that ls reads, and what other tests of this process open at this very moment.
        #expect(Set(lines).isSuperset(of: ["0", "1", "2"]))
        #expect(!lines.contains("\(leaky)"))
    }

    @Test func `no descriptor is left behind`() async throws {
        _ = try await shell("echo warm").run(deadline: limit)
        let before = openPipes()
        let runs = 200
        for _ in 0..<runs { _ = try await shell("echo a").run(deadline: limit) }
        for _ in 0..<runs { _ = try? await Program("no-such-program").run(deadline: limit) }
        // Other tests of this process have programs of their own meanwhile, but not that many.
        #expect(await eventually { openPipes() < before + runs / 2 })
    }
}

@Suite("RunningProgram", .timeLimit(.minutes(1)))
struct RunningProgramTests {
    @Test func `many may wait, also after the end, and all lines are there by then`() async throws {
        let lines = CapturedLines()
        let running = try shell("echo hello; printf end; exit 4").start(onLine: lines.add)
        try await withThrowingTaskGroup(of: Program.Ending.self) { group in
            for _ in 0..<10 { group.addTask { try await running.wait() } }
            for try await ending in group { #expect(ending == .exited(4)) }
        }
        #expect(lines.all == ["hello", "end"])
        #expect(running.ending == .exited(4))
        #expect(try await running.wait() == .exited(4))
    }

    @Test func `a wait that is cancelled ends, and the program goes on`() async throws {
        let running = try shell("sleep 1000").start { _ in }
        let waiting = Task { try await running.wait() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        #expect(running.ending == nil)
        running.signalGroup(SIGKILL)
        #expect(try await running.wait() == .signalled(SIGKILL))
    }

    @Test func `a signal reaches it, and none is sent once it has ended`() async throws {
        let lines = CapturedLines()
        let running = try shell("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done")
            .start(onLine: lines.add)
        #expect(await eventually { lines.all == ["ready"] })
        running.signal(SIGUSR1)
        #expect(try await running.wait() == .exited(5))
        #expect(lines.all == ["ready", "caught"])
        running.signal(SIGKILL)
        running.signalGroup(SIGKILL)
    }

    @Test func `what its children print after its end still comes`() async throws {
        let lines = CapturedLines()
        let file = "/tmp/sidekick-test-\(getpid())-after"
        defer { unsafe unlink(file) }
        let script = "(while [ ! -e \(file) ]; do sleep 0.01; done; echo late) & exit 0"
        let running = try shell(script).start(onLine: lines.add)
        #expect(try await running.wait() == .exited(0))
        #expect(lines.all.isEmpty)
        close(unsafe open(file, O_CREAT | O_WRONLY, 0o600))
        #expect(await eventually { lines.all == ["late"] })
    }
}

private func shell(_ script: String) -> Program { Program("/bin/sh", ["-c", script]) }

/// How many ends of pipes this process has; other suites open and close sockets meanwhile.
private func openPipes() -> Int {
    let files = FileManager.default
    let names = (try? files.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return names.count {
        (try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.hasPrefix("pipe:") == true
    }
}

/// Whether the process whose number a file holds ends.
private func isGone(processIn file: String) async -> Bool {
    guard let text = try? String(contentsOfFile: file, encoding: .utf8),
        let pid = Int32(text.filter { $0.isNumber })
    else { return false }
    return await eventually {
        let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        return status.map { $0.contains(") Z ") } ?? true
    }
}
