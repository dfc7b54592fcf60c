import Testing

@testable import Discover

@Suite("What HAProxy says")
struct HAProxyWordsTests {
    static let versions: [(String, HAProxyVersion?)] = [
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", HAProxyVersion(major: 2, minor: 6)),
        ("HA-Proxy version 2.2.9-2+deb11u6 2023/12/31 - https://haproxy.org/", HAProxyVersion(major: 2, minor: 2)),
        ("HAProxy version 3.3-dev4-1a2b3c 2026/01/01 - https://haproxy.org/", HAProxyVersion(major: 3, minor: 3)),
        ("HAProxy version 3.0.11", HAProxyVersion(major: 3, minor: 0)),
        ("nginx version: nginx/1.22.1", nil),
        ("HAProxy version", nil),
        ("HAProxy version x y", nil),
        ("", nil),
    ]

    @Test(arguments: versions)
    func `the version is found`(line: String, expected: HAProxyVersion?) {
        #expect(HAProxyVersion(output: ["something else", line]) == expected)
    }

    @Test func `versions have an order`() {
        #expect(HAProxyVersion(major: 2, minor: 2) < .oldest)
        #expect(HAProxyVersion(major: 3, minor: 0) > HAProxyVersion(major: 2, minor: 9))
    }

    static let lines: [(String, HAProxyLine.Level, String, Bool)] = [
        (
            "[WARNING]  (4529) : Server web/1 is DOWN, reason: Layer4 connection problem", .warning,
            "Server web/1 is DOWN, reason: Layer4 connection problem", false
        ),
        ("[ALERT]    (4526) : config : parsing [h.cfg:39] : x", .alert, "config : parsing [h.cfg:39] : x", false),
        ("corrupted double-linked list (not small)", .alert, "corrupted double-linked list (not small)", false),
        ("Thread 2 is about to kill the process.", .alert, "Thread 2 is about to kill the process.", false),
        (
            "[ALERT]    (1) : [haproxy.main()] FD limit (256) too low for maxconn=16/maxsock=392. Please", .alert,
            "[haproxy.main()] FD limit (256) too low for maxconn=16/maxsock=392. Please", true
        ),
        ("[NOTICE]   (4526) : New worker (4617) forked", .notice, "New worker (4617) forked", false),
        ("[WARNING] 123/101112 (99) : old form", .warning, "123/101112 (99) : old form", false),
        (
            "[WARNING]  (4529) : Proxy web stopped (cumulated conns: FE: 0, BE: 0).", .warning,
            "Proxy web stopped (cumulated conns: FE: 0, BE: 0).", true
        ),
        (
            "[WARNING]  (4526) : Former worker (4529) exited with code 0 (Exit)", .warning,
            "Former worker (4529) exited with code 0 (Exit)", true
        ),
        (
            "[ALERT]    (4526) : Current worker (4529) exited with code 143 (Terminated)", .alert,
            "Current worker (4529) exited with code 143 (Terminated)", true
        ),
        (
            "[WARNING]  (4526) : Former worker (4529) exited with code 139 (Segmentation fault)", .warning,
            "Former worker (4529) exited with code 139 (Segmentation fault)", false
        ),
        (
            "[WARNING]  (4529) : Server web/1 is DOWN, changed from server-state after a reload. 1 active", .warning,
            "Server web/1 is DOWN, changed from server-state after a reload. 1 active", true
        ),
        (
            "[WARNING]  (4529) : config : Server web/1 is DOWN, changed from server-state after a reload. 1 active",
            .warning, "Server web/1 is DOWN, changed from server-state after a reload. 1 active", true
        ),
        (
            "[WARNING]  (4529) : Server web/1 is UP, reason: Layer4 check passed", .warning,
            "Server web/1 is UP, reason: Layer4 check passed", false
        ),
        (
            "[WARNING]  (63) : [/usr/sbin/haproxy.main()] HAProxy was started as root without any 'chroot' directive. A",
            .warning, "[/usr/sbin/haproxy.main()] HAProxy was started as root without any 'chroot' directive. A", true
        ),
        (
            "[WARNING]  (63) : [/usr/sbin/haproxy.main()] HAProxy was started as the root user and does not make use",
            .warning, "[/usr/sbin/haproxy.main()] HAProxy was started as the root user and does not make use", true
        ),
        ("Configuration file is valid", .notice, "Configuration file is valid", false),
        ("[ALERT", .notice, "[ALERT", false), ("[]", .notice, "[]", false), ("", .notice, "", false),
        ("[ALERT]", .alert, "", false), ("[ALERT] (", .alert, "(", false),
    ]

    @Test(arguments: lines)
    func `a line has a level and a text`(line: String, level: HAProxyLine.Level, text: String, isRoutine: Bool) {
        let parsed = HAProxyLine(line)
        #expect(parsed.level == level)
        #expect(parsed.text == text)
        #expect(parsed.isRoutine == isRoutine)
        #expect(parsed.isGood == line.contains(" is UP"))
    }

    @Test func `a refusal keeps the alerts, and without any the last lines`() {
        let lines = ["[NOTICE]   (1) : a", "[ALERT]    (1) : b", "[ALERT]    (1) : c"]
        #expect(HAProxyProgram.Rejection(lines: lines).alerts == ["b", "c"])
        #expect(HAProxyProgram.Rejection(lines: ["x"]).alerts == ["x"])
        #expect(!HAProxyProgram.Rejection(lines: []).description.isEmpty)
    }
}
