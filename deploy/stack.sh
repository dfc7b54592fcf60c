# shellcheck shell=bash disable=SC2034 # some variables are for the scripts that source this
# One Sidekick on this machine, of real parts: engine, etcd, both agents. Sourced, never run.
# All of it lives in the directory STACK, or carries its name: processes in their environment (SIDEKICK_STACK),
# containers in a label. So a later run finds what a killed one left, and nothing of anybody else's.

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stack_names() { # DIRECTORY
    STACK=$1
    LOGS=$STACK/logs
    LABEL=sidekick.stack=$STACK
    local sum
    sum=$(cksum <<<"$STACK")
    TAG=sidekick-${sum%% *} # the private engine's network namespace
    VETH=skd${sum%% *}      # its cable's end on this side, at most 15 characters
    VETH=${VETH:0:14}
}

# Takes the directory for this process, and ends whatever an earlier owner of it left.
stack_claim() { # DIRECTORY
    check_directory "$1" sidekick
    stack_names "$1"
    local pid start parent parent_start
    if read -r pid start parent parent_start 2>/dev/null <"$STACK/sidekick" && is_running "$pid" "$start"; then
        is_gone "$parent" "$parent_start" || die "it runs already, as process $pid; end that one with Ctrl-C first"
        end_process "$pid" "$start" 60
    fi
    if [[ -d $STACK ]]; then
        note "ending what an earlier run left in $STACK"
        stack_down || die "could not clean up after the earlier run"
    fi
    mkdir -p -- "$STACK"
    chmod 700 -- "$STACK"
    echo "$$ $(start_time $$) $PPID $(start_time $PPID)" >"$STACK/sidekick"
    mkdir -- "$LOGS" "$STACK/run"
}

# Each program gets a session of its own (Ctrl-C is for the script), a bare environment, a log and a record.
launch() { # NAME [VARIABLE=VALUE...] PROGRAM [ARGUMENT...]
    setsid env -i PATH="$PATH" HOME="${HOME:-/root}" SIDEKICK_STACK="$STACK" "${@:2}" >"$LOGS/$1.log" 2>&1 </dev/null &
    echo "$! $(start_time $! || true)" >"$STACK/run/$1"
    disown # no word from bash when it is killed
}

launched() { # NAME: is it running?
    local pid start
    read -r pid start 2>/dev/null <"$STACK/run/$1" && is_running "$pid" "$start"
}

launched_pid() {
    local pid
    read -r pid _ <"$STACK/run/$1" && echo "$pid"
}

ended_or() { ! launched "$1" || "${@:2}"; }

wait_for() { # NAME SECONDS COMMAND...: until the command succeeds; fails at once when the program ends
    if ! wait_until "$2" "$1" ended_or "$1" "${@:3}" || ! launched "$1"; then
        show_log "$LOGS/$1.log"
        die "$1 did not come up"
    fi
}

stop_launched() { # NAME SECONDS
    local pid start
    read -r pid start 2>/dev/null <"$STACK/run/$1" || return 0
    end_process "$pid" "$start" "$2"
    rm -f -- "$STACK/run/$1"
}

# --- the Docker Engine

engine() { docker -H "$ENGINE" "$@"; }
engine_answers() { timeout 5 docker -H "$ENGINE" version; }

# The engine that answers at DOCKER_HOST or the usual place, else one of our own.
engine_up() {
    unset DOCKER_CONTEXT
    ENGINE=${DOCKER_HOST:-unix:///var/run/docker.sock}
    if engine_answers >/dev/null 2>&1; then
        ENGINE_KIND="the one that answers at $ENGINE"
        echo "$ENGINE" >"$STACK/engine" # its containers are to be removed from it
        HOST_ADDRESS=${HOST_IP:-$(own_address)}
    elif [[ -n ${DOCKER_HOST:-} ]]; then
        die "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST; unset it for a private one"
    else
        engine_private
    fi
}

own_address() { # the address from which this machine talks to others; a made-up interface where there is none
    [[ $ENGINE == unix://* ]] || die "HOST_IP must name the address of the engine at $ENGINE"
    local address
    address=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p' || true)
    if [[ -z $address || $address == 127.* ]]; then
        address=$(free_network).1
        ip link add "$VETH" type bridge
        ip addr add "$address/32" dev "$VETH"
        ip link set "$VETH" up
    fi
    echo "$address"
}

free_network() { # the first three numbers of a /24 that no route here leads to
    local third
    for third in {200..250}; do
        if [[ -z $(ip -4 route show root "10.231.$third.0/24") ]] &&
            ! ip -4 route show match "10.231.$third.0/24" | grep -qv '^default'; then
            echo "10.231.$third"
            return
        fi
    done
    die "found no free network below 10.231.0.0/16"
}

# What an engine makes outside its own directories. What was not there before goes at the end, if nobody filled it.
ENGINE_STRAYS=(
    /etc/docker/key.json /etc/docker /opt/containerd/bin /opt/containerd/lib /opt/containerd
    /run/containerd/s /run/containerd /run/docker/plugins /run/docker
)

# In a network namespace, as on a host of its own: the machine's bridges, packet filter and forwarding stay
# as they are, and everything the engine made there goes with the namespace.
engine_private() {
    local network path dir=$STACK/docker
    network=$(free_network)
    HOST_ADDRESS=$network.2
    ENGINE=unix://$dir/docker.sock
    ENGINE_KIND="a private one in $dir, like a host of its own at $HOST_ADDRESS"
    mkdir -- "$dir"
    echo '{}' >"$dir/daemon.json" # instead of the machine's /etc/docker/daemon.json
    for path in "${ENGINE_STRAYS[@]}"; do [[ -e $path ]] || echo "$path"; done >"$STACK/strays"
    ip netns add "$TAG"
    ip link add "$VETH" type veth peer name eth0 netns "$TAG"
    ip addr add "$network.1/30" dev "$VETH"
    ip link set "$VETH" up
    ip -n "$TAG" addr add "$HOST_ADDRESS/30" dev eth0
    ip -n "$TAG" link set lo up
    ip -n "$TAG" link set eth0 up
    ip -n "$TAG" route add default via "$network.1"
    # Not `ip netns exec`: it mounts /sys anew and so hides the control groups.
    launch dockerd nsenter --net="/run/netns/$TAG" dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" \
        --exec-root "$dir/exec" --pidfile "$dir/pid" -H "$ENGINE"
    wait_for dockerd 60 engine_answers
}

# --- etcd

etcd_up() {
    local port peer variables=()
    port=$(free_port 23790)
    peer=$(free_port $((port + 1)))
    ETCD=127.0.0.1:$port
    [[ $(uname -m) == x86_64 ]] || variables=("ETCD_UNSUPPORTED_ARCH=$(dpkg --print-architecture)")
    launch etcd "${variables[@]}" etcd --name demo --data-dir "$STACK/etcd" \
        --listen-client-urls "http://$ETCD" --advertise-client-urls "http://$ETCD" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "demo=http://127.0.0.1:$peer"
    wait_for etcd 30 etcd_healthy
}

etcd_healthy() { [[ $(fetch "http://$ETCD/health") == *true* ]]; }
etcd_keys() { ETCDCTL_API=3 etcdctl --endpoints "http://$ETCD" "$@"; }
backends() { etcd_keys get --prefix --keys-only "/backends/$1/" | grep -E "^/backends/$1/[0-9a-f]{12}$" || true; }

# --- the agents

register_up() {
    local variables=(HOST_IP="$HOST_ADDRESS" ETCD_HOST="$ETCD" DOCKER_HOST="$ENGINE" TTL=15) name
    variables+=(CONTROL_SOCKET="$STACK/register.sock")
    for name in DOCKER_TLS_VERIFY DOCKER_CERT_PATH LOG_LEVEL; do
        [[ -z ${!name:-} ]] || variables+=("$name=${!name}")
    done
    launch docker-register "${variables[@]}" "$BIN/docker-register"
}

discover_up() { # STATS_PORT [VARIABLE=VALUE...]
    local variables=(ETCD_HOST="$ETCD" STATE_DIR="$STACK/discover" STATS_BIND=":$1" "${@:2}")
    [[ -z ${LOG_LEVEL:-} ]] || variables+=("LOG_LEVEL=$LOG_LEVEL")
    mkdir -p -- "$STACK/discover"
    launch docker-discover "${variables[@]}" "$BIN/docker-discover"
    wait_for docker-discover 20 fetch -f "http://localhost:$1/"
}

# --- taking it all away

# What carries our name in its environment, or is one of our programs with a file in our directory (an agent may
# start HAProxy with a bare environment), and all their descendants.
no_stack_processes() { # kills them; succeeds when there were none any more
    local roots=() file files
    mapfile -t files < <(
        set +e # grep fails where it finds nothing, and at processes that end meanwhile
        grep -lzxF "SIDEKICK_STACK=$STACK" /proc/[0-9]*/environ 2>/dev/null
        grep -lzF "$STACK/" /proc/[0-9]*/{cmdline,environ} 2>/dev/null | sed -E 's/(cmdline|environ)$/comm/' |
            xargs -r grep -lxE 'haproxy|etcd|dockerd|containerd.*|docker-(register|discover)' 2>/dev/null
    )
    for file in "${files[@]}"; do roots+=("$(basename "$(dirname "$file")")"); done
    none_left "${roots[@]}"
}

remove_containers() { # from an engine that is not ours
    local ids
    ENGINE=$(<"$STACK/engine")
    engine_answers >/dev/null 2>&1 || { complain "$ENGINE does not answer: its containers with the label $LABEL stay" && return 0; }
    ids=$(engine ps -aq --filter "label=$LABEL")
    # shellcheck disable=SC2086 # a list of ids
    [[ -z $ids ]] || engine rm -f $ids >/dev/null
    [[ ! -s $STACK/image ]] || engine rmi "$(<"$STACK/image")" >/dev/null 2>&1 || true
}

remove_strays() {
    local path
    [[ -e $STACK/strays ]] || return 0
    while read -r path; do
        if [[ -f $path ]]; then rm -f -- "$path"; elif [[ -d $path ]]; then rmdir -- "$path" 2>/dev/null || true; fi
    done <"$STACK/strays"
}

# Safe at any time and any number of times; fails when something is left.
stack_down() {
    stop_launched docker-register 10
    stop_launched docker-discover 30
    if [[ -e $STACK/engine ]]; then remove_containers || true; fi
    stop_launched dockerd 60
    stop_launched etcd 10
    end_engines "$STACK" "the end of every process" no_stack_processes || return 1
    if [[ -e /run/netns/$TAG ]]; then ip netns del "$TAG"; fi
    if [[ -e /sys/class/net/$VETH ]]; then ip link del "$VETH" 2>/dev/null || true; fi
    remove_strays
    rm -rf --one-file-system -- "$STACK"
}
