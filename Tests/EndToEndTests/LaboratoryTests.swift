import FoundationEssentials
import TestSupport
import Testing

@Suite(
    "The laboratory itself",
    .enabled(if: RealParts.canRun("ip", "nsenter", "mount", asRoot: true), "needs root and iproute2"),
    .timeLimit(.minutes(2)))
struct LaboratoryTests {
    /// As engines leave it that are killed and started again: each may mount its data over what the one before had there.
    @Test func `a mount below another one does not keep it on the machine`() async throws {
        let laboratory = try await Laboratory(["backend"])
        let host = try laboratory.host("backend")
        do {
            try await laboratory.run("mkdir", "-p", "\(host.folder)/data/merged", on: host)
            try await laboratory.run("mount", "-t", "tmpfs", "none", "\(host.folder)/data/merged", on: host)
            try await laboratory.run("mount", "--bind", "\(host.folder)/data", "\(host.folder)/data", on: host)
        } catch {
            await laboratory.tearDown()
            throw error
        }
        await laboratory.tearDown()
        #expect(!FileManager.default.fileExists(atPath: host.folder))
    }
}
