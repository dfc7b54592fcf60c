import Shared
import Testing

@Suite("Doorbell", .timeLimit(.minutes(1)))
struct DoorbellTests {
    @Test func `rings before the answer become one set of reasons`() async {
        let bell = Doorbell<String>()
        bell.ring("containers")
        bell.ring("lease")
        bell.ring("containers")
        #expect(await bell.answer() == ["containers", "lease"])
    }

    @Test func `an answer waits for the next ring`() async {
        let bell = Doorbell<Int>()
        let answer = Task { await bell.answer() }
        bell.ring(7)
        #expect(await answer.value == [7])
    }

    @Test func `a reason that was answered comes up again when it is rung again`() async {
        let bell = Doorbell<Int>()
        bell.ring(1)
        #expect(await bell.answer() == [1])
        bell.ring(1)
        #expect(await bell.answer() == [1])
    }

    @Test func `a cancelled wait ends with nil`() async {
        let bell = Doorbell<Int>()
        let answer = Task { await bell.answer() }
        answer.cancel()
        #expect(await answer.value == nil)
    }

    @Test func `no ring of many tasks is lost`() async {
        let bell = Doorbell<Int>()
        let reasons = 0..<1_000
        await withTaskGroup(of: Void.self) { group in
            for reason in reasons { group.addTask { bell.ring(reason) } }
            var heard: Set<Int> = []
            while heard.count < reasons.count, let more = await bell.answer() { heard.formUnion(more) }
            #expect(heard == Set(reasons))
        }
    }
}
