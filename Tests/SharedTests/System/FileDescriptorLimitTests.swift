import Glibc
import Testing

@testable import Shared

@Suite("FileDescriptorLimit")
struct FileDescriptorLimitTests {
    @Test(arguments: [(1024, 1024), (1024, 1 << 20), (1 << 20, 1 << 20)] as [(UInt, UInt)])
    func `a limit of ordinary size stays`(soft: UInt, hard: UInt) {
        #expect(FileDescriptorLimit.bounded(rlimit(rlim_cur: soft, rlim_max: hard)) == nil)
    }

    @Test(arguments: [(1024, 1024), (1 << 30, 1 << 20), (UInt.max, 1 << 20)] as [(UInt, UInt)])
    func `a limit of thousands of millions is lowered, the soft one only where it is above`(soft: UInt, lowered: UInt) {
        let limit = FileDescriptorLimit.bounded(rlimit(rlim_cur: soft, rlim_max: .max))
        #expect(limit?.rlim_cur == lowered)
        #expect(limit?.rlim_max == 1 << 20)
    }
}
