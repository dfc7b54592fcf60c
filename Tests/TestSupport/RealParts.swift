import Glibc

/// The real programs that tests of behavior run against.
package enum RealParts {
    /// Whether a missing part is a failure rather than a skip, as `make test` wants it.
    package static var areRequired: Bool {
        unsafe getenv("SIDEKICK_REQUIRE").map { unsafe String(cString: $0) } == "all"
    }

    /// The HAProxy to test with: the installed one, or another version where the environment names one.
    package static var haproxy: String {
        unsafe getenv("SIDEKICK_HAPROXY").map { unsafe String(cString: $0) } ?? "haproxy"
    }

    /// Whether tests that need `programs` (and root, where `asRoot`) run: they do where all is there, and where it has
    /// to be.
    package static func canRun(_ programs: String..., asRoot: Bool = false) -> Bool {
        areRequired || programs.allSatisfy { path(of: $0) != nil } && (!asRoot || geteuid() == 0)
    }

    /// Whether tests of IPv6 run: they do where this machine has it, and where it has to.
    package static var hasIPv6: Bool {
        let isThere = unsafe access("/proc/net/if_inet6", F_OK) == 0
        return isThere || areRequired
    }

    /// Where a program is; nil where it is not installed.
    package static func path(of program: String) -> String? {
        let search = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin:/bin"
        return (search + ":/usr/sbin:/sbin").split(separator: ":")
            .map { "\($0)/\(program)" }
            .first { unsafe access($0, X_OK) == 0 }
    }
}
