# shellcheck shell=bash
# Words, waiting, ports and processes for the scripts beside it. Sourced, never run.

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8
PATH=$PATH:/usr/sbin:/sbin # Debian leaves these out for ordinary users
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

step() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
complain() { printf 'error: %s\n' "$*" >&2; }
die() {
    complain "$@"
    exit 1
}

need_root() {
    ((EUID == 0)) || die "this needs root (network namespaces, a Docker Engine): sudo env \"PATH=\$PATH\" $1"
}

show_log() { # FILE: its last lines, on standard error
    [[ -s $1 ]] || return 0
    printf -- '--- the end of %s\n' "$1" >&2
    tail -n 20 -- "$1" | sed 's/^/    /' >&2
}

# A condition, never a fixed sleep: runs the command until it succeeds or the time is up.
wait_until() { # SECONDS WHAT COMMAND...
    local limit=$1 what=$2
    shift 2
    local end=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            complain "waited $limit s in vain for $what"
            return 1
        fi
        sleep 0.05
    done
}

# localhost is never to be looked for behind the user's proxy.
fetch() { curl -sS --noproxy '*' -m 5 "$@"; }

port_holder() { # PORT: who listens there, or nothing
    ss -Hltnp "sport = :$1" | awk '{ sub(/^users:/, "", $6); print $4, ($6 ? $6 : "(a process of another user or namespace)"); exit }'
}

free_port() { # FIRST: the first port from there on that nobody listens on
    local port=$1
    while [[ -n $(ss -Hltn "sport = :$port") ]]; do port=$((port + 1)); done
    echo "$port"
}

# A process is its number and its start time: a number alone may meanwhile be somebody else's.
start_time() { # PID: in clock ticks since boot; fails for a process that is gone
    local stat fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

is_running() { # PID START
    [[ -n ${2:-} && $(start_time "$1" || true) == "$2" ]]
}

is_gone() { ! is_running "$@"; }

end_process() { # PID START SECONDS: asks, waits, then kills
    is_running "$1" "$2" || return 0
    kill -TERM "$1" 2>/dev/null || true
    wait_until "$3" "the end of process $1" is_gone "$1" "$2" 2>/dev/null || kill -KILL "$1" 2>/dev/null || true
}

children_of() { # PID...: these processes and all that descend from them
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$*" '
        { pid = $1; sub(/^.*\) /, ""); if ($1 != "Z") parent[pid] = $2 }
        END {
            for (n = split(roots, r, " "); n > 0; n--) wanted[r[n]] = 1
            do { grew = 0
                for (p in parent) if (!(p in wanted) && (parent[p] in wanted)) { wanted[p] = 1; grew = 1 }
            } while (grew)
            for (p in wanted) if (p in parent) print p
        }'
}

unmount_below() { # DIRECTORY
    local mount
    awk -v top="$1/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mount; do umount -l -- "$mount" || true; done
}

# What engines of our own leave outside their directories when they are killed: sockets and control groups.
note_engine_remains() { # DIRECTORY: to be called while their records are still there
    find "$1" -path '*/io.containerd.runtime.v2.task/*/address' -exec sed 's|^unix://||; s|$|\n|' {} + 2>/dev/null | sed '/^$/d'
    find "$1" -maxdepth 7 -regextype egrep -regex '.*/containers/[0-9a-f]{64}' -printf '%f\n' 2>/dev/null || true
}

remove_engine_remains() { # what note_engine_remains said, on standard input
    local noted
    noted=$(cat)
    [[ -n $noted ]] || return 0
    { grep '^/run/containerd/s/' <<<"$noted" || true; } | xargs -r rm -f --
    find /sys/fs/cgroup -depth -type d 2>/dev/null | { grep -F -f <(grep -v / <<<"$noted") || true; } |
        xargs -r rmdir 2>/dev/null || true
}

build_release() { # LOG: builds both agents; BIN says where they are. SIDEKICK_BIN names ready ones instead.
    if [[ -n ${SIDEKICK_BIN:-} ]]; then
        BIN=$SIDEKICK_BIN
    else
        local command=(swift build --package-path "$ROOT" -c release --static-swift-stdlib)
        "${command[@]}" >"$1" 2>&1 || { show_log "$1"; die "the build failed"; }
        BIN=$("${command[@]}" --show-bin-path)
    fi
    [[ -x $BIN/docker-register && -x $BIN/docker-discover ]] || die "no docker-register and docker-discover in $BIN"
}
