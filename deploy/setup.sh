#!/usr/bin/env bash
# Installs what Sidekick's build, demo and tests need and this machine lacks, and nothing else. A second run
# finds everything there and touches neither the network nor the machine. PROGRAM...: these too, each from the package
# of its name; `outputs`: the programs that the tests of outputs have read them.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="# made by sidekick's setup, for the duration of an installation, process"

has() { command -v "$1" >/dev/null; }
has_static_busybox() { # it is alone in its image, without any library
    local libraries
    has busybox && libraries=$(ldd "$(command -v busybox)" 2>&1 || true) && [[ $libraries != *.so* ]]
}
has_curl_headers() { compgen -G '/usr/include/curl/curl.h' || compgen -G '/usr/include/*/curl/curl.h'; } >/dev/null
has_linker_parts() { # what the Swift toolchain takes from the system to link a program
    [[ -e /usr/include/stdio.h ]] && has ld && compgen -G '/usr/lib/gcc/*/*/libstdc++.so' >/dev/null
}
has_jinja() { [[ -x /usr/bin/python3 ]] && /usr/bin/python3 -c 'import jinja2' 2>/dev/null; }
in_archive() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }

# One line each: the test that says it is there, the package, what it is for.
parts() {
    cat <<'PARTS'
has make              | make                  | runs the targets
has_linker_parts      | g++                   | the C library's headers and what swift links with
has_curl_headers      | libcurl4-openssl-dev  | headers of the HTTP library that both agents use
has curl              | curl                  | sends the demo's requests
has etcd              | etcd-server           | the registry
has etcdctl           | etcd-client           | shows the registry's keys
has openssl           | openssl               | makes certificates for the tests
has python3           | python3               | sends requests and TLS handshakes of the tests' own making
has haproxy           | haproxy               | the load balancer that docker-discover drives
has dockerd           | docker.io             | Docker Engine
has docker            | docker-cli            | Docker's command line
has iptables          | iptables              | Docker publishes ports with it
has ip                | iproute2              | networks for the private engine and the tests
has nsenter           | util-linux            | starts programs in those networks
has_static_busybox    | busybox-static        | the contents of the demo's image
PARTS
    local program
    for program; do
        if [[ $program == outputs ]]; then readers; else echo "has $program | $program | asked for by name"; fi
    done
}

readers() {
    cat <<'PARTS'
has nginx             | nginx                 | reads an output, in the tests
has jq                | jq                    | renders outputs
has_jinja             | python3-jinja2        | renders outputs
has unbound           | unbound               | reads an output, in the tests
has dnsmasq           | dnsmasq-base          | reads an output, in the tests
has named-checkzone   | bind9-utils           | checks a zone
has dig               | bind9-dnsutils        | asks name servers, in the tests
has promtool          | prometheus            | reads an output, in the tests
PARTS
}

missing() { # one line for each missing part: "package what it is for"
    local test package reason
    parts "$@" | while IFS='|' read -r test package reason; do
        # shellcheck disable=SC2086 # a command and its argument
        $test || echo $package $reason
    done
}

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# Debian starts a service when its package is installed, unless this program says no.
forbid_starting() {
    allow_starting # what an interrupted run left
    if [[ -e $POLICY ]]; then as_root mv -- "$POLICY" "$POLICY.before-sidekick"; fi
    printf '#!/bin/sh\n%s %s %s\nexit 101\n' "$POLICY_MARK" "$$" "$(start_time $$)" | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

allow_starting() {
    if [[ -e $POLICY ]] && grep -q "^$POLICY_MARK" "$POLICY"; then as_root rm -f -- "$POLICY"; fi
    if [[ -e $POLICY.before-sidekick && ! -e $POLICY ]]; then as_root mv -- "$POLICY.before-sidekick" "$POLICY"; fi
}

allow_starting_after_a_killed_run() {
    local pid start
    [[ -e $POLICY ]] && read -r pid start < <(sed -n "s/^$POLICY_MARK //p" "$POLICY") || return 0
    is_running "$pid" "$start" || allow_starting
}

apt() {
    quietly "$log" "apt-get $1" as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

finish() {
    allow_starting
    rm -f -- "$log"
}

install_missing() { # the lines of missing()
    local package reason packages=()
    log=$(mktemp) # global, for finish
    at_end finish
    note "reading the package lists (apt-get update)"
    apt update
    while read -r package reason; do
        # Docker's command line is a package of its own in newer releases only.
        if [[ $package == docker-cli ]] && ! in_archive docker-cli; then package=docker.io; fi
        in_archive "$package" ||
            die "the package lists have no $package ($reason); on Ubuntu enable the 'universe' component"
        [[ " ${packages[*]} " != *" $package "* ]] || continue
        packages+=("$package")
        note "installing $package: $reason"
    done <<<"$1"
    forbid_starting
    apt install -y --no-install-recommends "${packages[@]}"
}

check_versions() {
    local version
    version=$(etcd --version | sed -n 's/^etcd Version: //p')
    [[ $version =~ ^(3\.([4-9]|[1-9][0-9])|[4-9])\. ]] ||
        die "etcd $version is too old: 3.4 or newer is needed (the one of Debian 12 or Ubuntu 24.04 will do)"
}

main() {
    [[ $* != *[^a-z0-9\ ]* ]] || { echo "usage: setup.sh [PROGRAM...]" >&2 && exit 64; }
    has swift || [[ -n ${SIDEKICK_BIN:-} ]] ||
        die "no Swift toolchain on PATH: install Swift 6.2 or newer from swift.org/install and add its usr/bin to PATH"
    allow_starting_after_a_killed_run
    local lacking
    lacking=$(missing "$@")
    if [[ -n $lacking ]]; then
        has apt-get || die "this is neither Debian nor Ubuntu; install these yourself: $(cut -d' ' -f1 <<<"$lacking" | paste -sd' ')"
        ((EUID == 0)) || has sudo || die "installing these needs root: $(cut -d' ' -f1 <<<"$lacking" | paste -sd' ')"
        install_missing "$lacking"
        hash -r
        lacking=$(missing "$@")
        [[ -z $lacking ]] || die "still missing after the installation: $lacking"
    fi
    check_versions
}

main "$@"
