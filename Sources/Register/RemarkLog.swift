import Shared

/// What the log was told of containers and of the services file: each thing once, as long as it lasts.
struct RemarkLog {
    private struct Told: Hashable {
        var id: InstanceID
        var name: String
        var remark: Verdict.Remark
    }

    private var told: Set<Told> = []

    /// Begins with nothing told.
    init() {}

    /// Tells what was not told before.
    ///
    /// - Parameters:
    ///   - obstacles: why entries may not be there.
    ///   - before: the entries that were there until now; why one of these goes is told with its withdrawal.
    mutating func tell(
        _ verdicts: [Verdict], _ obstacles: [Slot: Obstacle] = [:], besides before: [Slot: Standing] = [:],
        to logger: Logger
    ) {
        let ofContainers = verdicts.flatMap { verdict in
            verdict.remarks.map { Told(id: verdict.subject.id, name: verdict.subject.name, remark: $0) }
        }
        let ofFile = obstacles.filter { !$0.key.id.isOfContainer }.map { slot, obstacle in
            Told(id: slot.id, name: "\(slot.service) of the services file", remark: obstacle.remark)
        }
        let all = Set(ofContainers + ofFile)
        let withdrawn = obstacles.filter { before[$0.key] != nil }
        for new in all.subtracting(told).sorted(by: { ($0.name, $0.remark.text) < ($1.name, $1.remark.text) })
        where !withdrawn.contains(where: { $0.key.id == new.id && $0.value.remark == new.remark }) {
            let fields: Logger.Fields = ["container": new.name, "reason": new.remark.text]
            if new.remark.isWarning {
                logger.warning("container needs attention", fields)
            } else {
                logger.info("container is left out", fields)
            }
        }
        told = all
    }
}
