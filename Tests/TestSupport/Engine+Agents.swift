import Shared

extension Engine {
    /// Makes the image `sidekick`: both agents, HAProxy, a shell and the libraries that they load, as they are here.
    ///
    /// The Dockerfiles take the same from Debian's packages, for which tests have no network.
    package func importAgents() async throws {
        let script = """
            set -e
            root=$(mktemp -d)
            trap 'rm -rf "$root"' EXIT
            mkdir -p "$root/usr/local/bin" "$root/var/lib/docker-discover" "$root/run/docker-register" "$root/tmp"
            for name; do
                program=$(command -v "$name")
                cp -L "$program" "$root/usr/local/bin/"
                for file in $(ldd "$program" | grep -o '/[^ ]*'); do cp -L --parents "$file" "$root"; done
            done
            tar -C "$root" -c . | docker -H "$0" import - sidekick
            """
        let programs = ["docker-register", "docker-discover"].map { "\(Laboratory.programFolder)/\($0)" }
        let outcome = try await Program(
            "/bin/sh", ["-c", "PATH=$PATH:/usr/sbin\n" + script, url] + programs + [RealParts.haproxy, "sh", "sleep"]
        )
        .run(deadline: .seconds(60))
        guard outcome.isSuccess else { throw Laboratory.Failure(description: "\(outcome.lines.suffix(5))") }
    }
}
