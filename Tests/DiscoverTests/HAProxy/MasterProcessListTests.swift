import Shared
import Testing

@testable import Discover

@Suite("MasterProcessList")
struct MasterProcessListTests {
    struct Recorded: CustomTestStringConvertible {
        let testDescription: String
        let answer: String
        let master: Int32
        var failed = false
        let workers: [Int32]
        var oldWorkers: [Int32] = []
    }

    static let recorded = [
        Recorded(
            testDescription: "2.6.12 after its start",
            answer: """
                #<PID>          <type>          <reloads>       <uptime>        <version>      \n\
                4526            master          0 [failed: 0]   0d00h00m01s     2.6.12-1+deb12u4
                # workers
                4529            worker          0               0d00h00m01s     2.6.12-1+deb12u4
                # programs


                """, master: 4526, workers: [4529]),
        Recorded(
            testDescription: "2.6.12 after a reload that failed",
            answer: """
                #<PID>          <type>          <reloads>       <uptime>        <version>      \n\
                4526            master          2 [failed: 1]   0d00h00m08s     2.6.12-1+deb12u4
                # workers
                4617            worker          1               0d00h00m04s     2.6.12-1+deb12u4
                # programs

                """, master: 4526, failed: true, workers: [4617]),
        Recorded(
            testDescription: "with an old worker",
            answer: """
                #<PID>          <type>          <reloads>       <uptime>        <version>
                6088            master          1 [failed: 0]   0d00h00m02s     2.6.12-1+deb12u4
                # workers
                6422            worker          0               0d00h00m01s     2.6.12-1+deb12u4
                # old workers
                6109            worker          1               0d00h00m02s     2.6.12-1+deb12u4
                # programs

                """, master: 6088, workers: [6422], oldWorkers: [6109]),
        Recorded(
            testDescription: "2.4, with the relative process id",
            answer: """
                #<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>
                100             master          0               1               0d00h00m28s     2.4.22
                # workers
                # old workers
                102             worker          [was: 1]        1               0d00h00m28s     2.4.22
                # programs

                """, master: 100, workers: [], oldWorkers: [102]),
        Recorded(
            testDescription: "3.1 and later after a reload that failed",
            answer: """
                #<PID>          <type>          <reloads>       <uptime>        <version>
                200             master          1 [failed: 1]   0d00h00m09s     3.1.0
                # old workers
                203             worker          1               0d00h00m09s     3.1.0

                """, master: 200, failed: true, workers: [], oldWorkers: [203]),
    ]

    @Test(arguments: recorded)
    func `each version's answer is understood`(recorded: Recorded) throws {
        let table = try #require(MasterProcessList(recorded.answer))
        #expect(table.master == recorded.master)
        #expect(table.lastReloadFailed == recorded.failed)
        #expect(table.workers == recorded.workers)
        #expect(table.oldWorkers == recorded.oldWorkers)
    }

    @Test(arguments: ["", "Unknown command", "# workers\n1 worker", "x master", "-5 master 0", "99999999999 master"])
    func `anything else is no answer`(text: String) {
        #expect(MasterProcessList(text) == nil)
    }

    @Test(arguments: recorded)
    func `an answer that is cut anywhere does no harm`(recorded: Recorded) {
        let bytes = Array(recorded.answer.utf8)
        for end in bytes.indices {
            let table = MasterProcessList(String(decoding: bytes[..<end], as: UTF8.self))
            #expect(table == nil || recorded.answer.contains("\(table?.master ?? -1)"))
        }
    }

    static let stats: [(String, UInt64?)] = [
        ("7 (cat) R 1 7 7 0 -1 4194304 90 0 0 0 0 0 0 0 20 0 1 0 4242 5 6 7", 4242),
        ("7 (a) b (c) S 1 7 7 0 -1 4194304 90 0 0 0 0 0 0 0 20 0 1 0 4242 5 6 7", 4242),
        ("7 (cat) Z 1 7 7 0 -1 4194304 90 0 0 0 0 0 0 0 20 0 1 0 4242 5 6 7", nil),
        ("7 (cat) R 1 7", nil), ("", nil), (")(", nil),
    ]

    @Test(arguments: stats)
    func `a process is known by its start`(stat: String, start: UInt64?) {
        #expect(ProcessStatus(7, stat: stat)?.startTime == start)
    }
}
