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

# However the script ends, the function runs once, is told the status, and no signal interrupts it.
at_end() { # FUNCTION
    AT_END=$1
    trap 'run_at_end $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

run_at_end() { # STATUS
    trap '' INT TERM HUP
    trap - EXIT
    "$AT_END" "$1"
}

show_log() { # FILE: its last lines, on standard error
    [[ -s $1 ]] || return 0
    printf -- '--- the end of %s\n' "$1" >&2
    tail -n 20 -- "$1" | sed 's/^/    /' >&2
}

quietly() { # LOG WHAT COMMAND...: what the command prints is shown only when it fails
    "${@:3}" >"$1" 2>&1 && return
    show_log "$1"
    die "$2 failed"
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

none_left() { # PID...: kills these processes and all that descend from them; succeeds when there were none any more
    local pids
    mapfile -t pids < <(children_of "$@")
    ((${#pids[@]})) || return 0
    kill -KILL "${pids[@]}" 2>/dev/null || true
    return 1
}

check_directory() { # DIRECTORY MARK: new, empty, or with the file MARK, which says that it is ours
    [[ $1 =~ ^/[A-Za-z0-9._/-]+$ ]] || die "the directory must be an absolute path without blanks: $1"
    if [[ -L $1 || (-e $1 && ! -O $1) ]]; then die "$1 exists and is not ours"; fi
    if [[ -d $1 && -n $(ls -A -- "$1") && ! -e $1/$2 ]]; then
        die "$1 has other contents; choose an empty or a new directory"
    fi
}

nothing_mounted() { # DIRECTORY: unmounts what is below it; succeeds when there was nothing, as one mount may hide another
    local mounts
    mounts=$(awk -v top="$1/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    [[ -n $mounts ]] || return 0
    xargs -d '\n' -n 1 umount -l -- <<<"$mounts" || true
    return 1
}

# Ends the processes of engines that have their files in the directory, and removes what they leave outside of it
# when they are killed: mounts, sockets and control groups.
end_engines() { # DIRECTORY WHAT COMMAND...: the command kills the processes, and succeeds when there are none any more
    local sockets containers # from the engines' records, while they are there
    sockets=$(find "$1" -path '*/io.containerd.runtime.v2.task/*/address' -exec sed 's|^unix://||; s|$|\n|' {} + 2>/dev/null |
        grep '^/run/containerd/s/' || true)
    containers=$(find "$1" -maxdepth 7 -regextype egrep -regex '.*/containers/[0-9a-f]{64}' -printf '%f\n' 2>/dev/null || true)
    wait_until 20 "$2" "${@:3}" || return 1
    wait_until 20 "the end of the mounts in $1" nothing_mounted "$1" || return 1
    xargs -r rm -f -- <<<"$sockets"
    [[ -n $containers ]] || return 0
    find /sys/fs/cgroup -depth -type d 2>/dev/null | { grep -F "$containers" || true; } | xargs -r rmdir 2>/dev/null || true
}

build_release() { # LOG [FOLDER]: builds both agents; BIN says where they are. SIDEKICK_BIN names ready ones instead.
    local folder=${2:-$ROOT/.build}
    BIN=${SIDEKICK_BIN:-$folder/release}
    [[ -n ${SIDEKICK_BIN:-} ]] || quietly "$1" "the build" \
        swift build --package-path "$ROOT" --scratch-path "$folder" -c release --static-swift-stdlib
    [[ -x $BIN/docker-register && -x $BIN/docker-discover ]] || die "no docker-register and docker-discover in $BIN"
}
