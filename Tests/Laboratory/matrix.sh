#!/usr/bin/env bash
# `make matrix`: the tests of `make test` once more, on the parts of Debian trixie: Docker Engine 26, etcd 3.5,
# HAProxy 3.0. Programs and tests are built here, and run in a Debian of their own: a folder that debootstrap
# makes the first time (MATRIX_ROOT), entered with namespaces for mounts and processes, so that at the end nothing
# that was mounted or started there can stay. MATRIX_ONLY=REGEX runs the tests whose names match;
# `matrix.sh run COMMAND...` runs a command in there instead of the tests.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy disable=SC2317 # some functions are called by name
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/lib.sh"

SUITE=trixie
PACKAGES=(
    docker.io docker-cli iptables etcd-server etcd-client haproxy # what is tested
    busybox-static ca-certificates curl iproute2 openssl procps python3 # what tests and scripts use
    bind9-dnsutils bind9-utils dnsmasq-base jq nginx prometheus python3-jinja2 unbound # what reads outputs
)
MATRIX=${MATRIX_ROOT:-/var/tmp/sidekick-$SUITE}
MARK=etc/sidekick-matrix # says that the folder is ours, and which packages it has
DONE=$MATRIX/$MARK
BINARIES=$ROOT/.build/debug

# --- outside

claim() {
    check_directory "$MATRIX" "$MARK"
    mkdir -p -- "$MATRIX"
    exec {lock}<"$MATRIX"
    flock -n "$lock" || die "another run uses $MATRIX"
}

# The archive from which this machine gets its own packages; debootstrap's default where it is no Debian.
mirror() {
    # shellcheck disable=SC2016 # apt-get's variables
    apt-get indextargets --format '$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^Debian|main|//p' | head -n 1
}

in_matrix() { # COMMAND...: with mounts that end with it; the package manager wants /proc
    unshare --mount --pid --fork --kill-child --mount-proc="$MATRIX/proc" chroot "$MATRIX" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" "$@"
}

install_debian() { # LOG
    [[ ! -e $DONE || $(<"$DONE") != "${PACKAGES[*]}" ]] || return 0
    if [[ ! -e $DONE ]]; then
        step "Debian $SUITE in $MATRIX"
        local source
        source=$(mirror)
        quietly "$1" "debootstrap" debootstrap --variant=minbase "$SUITE" "$MATRIX" ${source:+"$source"}
    fi
    step "Its Docker Engine, etcd and HAProxy"
    apt-config dump | grep -iE '^Acquire::(https?::)?proxy' >"$MATRIX/etc/apt/apt.conf.d/90proxy" || true
    cp -L /etc/resolv.conf "$MATRIX/etc/resolv.conf"
    [[ ! -e /etc/hosts ]] || cp -L /etc/hosts "$MATRIX/etc/hosts"
    printf '#!/bin/sh\nexit 101\n' >"$MATRIX/usr/sbin/policy-rc.d" # nothing is started by its installation
    chmod 755 "$MATRIX/usr/sbin/policy-rc.d"
    quietly "$1" "apt-get in $MATRIX" \
        in_matrix sh -c "apt-get -q update && apt-get -q install -y --no-install-recommends ${PACKAGES[*]}"
    in_matrix apt-get clean
    printf '%s' "${PACKAGES[*]}" >"$DONE"
}

versions() {
    note "Debian $(<"$MATRIX/etc/debian_version")"
    local line
    in_matrix sh -c 'dockerd --version; etcd --version | head -n 1; haproxy -v | head -n 1' |
        while read -r line; do note "$line"; done
}

empty_scratch() { rm -rf --one-file-system -- "$MATRIX"/tmp/* "$MATRIX"/var/tmp/*; }

finish() {
    local pids=()
    if [[ -n $INSIDE ]]; then
        mapfile -t pids < <(children_of "$INSIDE")
        disown "$INSIDE" # no word from bash when it is killed
    fi
    end_engines "$MATRIX/tmp" "the end of the processes in $MATRIX" none_left "${pids[@]}" || true
    empty_scratch
    [[ -e $DONE ]] || rm -rf --one-file-system -- "${MATRIX:?}"/* # half a Debian helps nobody
    rm -f -- "$LOG"
}

main() { # [COMMAND...]
    need_root "make matrix"
    "$ROOT/deploy/setup.sh" debootstrap
    claim
    LOG=$(mktemp)
    INSIDE=
    at_end finish
    install_debian "$LOG"
    empty_scratch
    if (($# == 0)); then
        step "Building programs and tests"
        cd "$ROOT"
        swift build --build-tests
    fi

    local status=0
    # A session of its own: Ctrl-C is for this script, which then ends everything in there.
    setsid unshare --mount --pid --fork --kill-child "$ROOT/Tests/Laboratory/matrix.sh" inside "$@" &
    INSIDE=$!
    wait "$INSIDE" || status=$?
    INSIDE=
    step "That was on"
    versions
    exit "$status"
}

# --- inside: process 1 of the namespaces

bind() { # FILE: at the same place in there
    if [[ -d $1 ]]; then mkdir -p -- "$MATRIX$1"; fi
    mount --bind "$1" "$MATRIX$1"
}

enter() {
    mount --make-rprivate /
    mount --bind "$MATRIX" "$MATRIX"
    mount -t proc proc "$MATRIX/proc"
    mount --rbind /sys "$MATRIX/sys"
    mount --rbind /dev "$MATRIX/dev"
    mount -t tmpfs -o mode=755 tmpfs "$MATRIX/run"
    bind "$ROOT"
    bind "$(runtime)"
    mkdir -p -- "$MATRIX/mnt/before"
    cd "$MATRIX"
    pivot_root . mnt/before
    cd "$ROOT"
    umount -l /mnt/before
}

# Where the tests look for Swift's libraries.
runtime() {
    local swift
    swift=$(readlink -f "$(command -v swift)")
    readlink -f "${swift%/*}/../lib/swift"
}

inside() { # [COMMAND...]: the tests where there is none
    local binary=("$BINARIES"/*PackageTests.xctest)
    enter
    local environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root)
    environment+=(TEST_BUNDLE="${binary[0]}" TEST_LIMIT="${TEST_LIMIT:-900}" TEST_ONLY="${MATRIX_ONLY:-}")
    (($#)) || set -- "$ROOT/Tests/Laboratory/test.sh"
    env -i "${environment[@]}" "$@"
}

case ${1:-} in
inside) inside "${@:2}" ;;
run) main "${@:2}" ;;
'') main ;;
*) echo "usage: matrix.sh [run COMMAND...]" >&2 && exit 64 ;;
esac
