#!/usr/bin/env bash
# `make demo`: the whole of Sidekick on this machine, of real parts, until Ctrl-C.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

SELF="make demo"
PORT=${DEMO_PORT:-8000}        # of whoami, in its containers and at the listener
STATS_PORT=${STATS_PORT:-1936} # of HAProxy's statistics page
HTTP_PORT=${HTTP_PORT:-8088}   # of routes
IMAGE=sidekick-demo/whoami     # the service is named after the last part
SERVICE=whoami
CLAIMS_FAILED=0

claim() { # TEXT COMMAND...: says whether it is so
    if "${@:2}"; then
        note "yes: $1"
    else
        note "NO:  $1"
        CLAIMS_FAILED=$((CLAIMS_FAILED + 1))
    fi
}

check_port() { # PORT SETTING WHAT
    if ! [[ $1 =~ ^[0-9]{1,5}$ ]] || ((10#$1 < 1 || 10#$1 > 65535)); then die "$2 must be a port number, not '$1'"; fi
    local holder
    holder=$(port_holder "$1")
    [[ -z $holder ]] || die "port $1, for $3, is taken: $holder. Free it, or choose another: $2=$(free_port $(($1 + 1))) $SELF"
}

run_whoami() { # NUMBER: starts that many
    local n id
    for ((n = 0; n < $1; n++)); do
        id=$(engine run -d -P --label "$LABEL" "$IMAGE")
        note "docker run -d -P $IMAGE    ${id:0:12}"
    done
}

ask() { fetch -f "http://localhost:$PORT/"; }

answering() { # NUMBER: do exactly that many containers answer? Other requests may run in between.
    local n
    [[ $(for ((n = 0; n < 4 * $1; n++)); do ask; done | sort -u | wc -l) -eq $1 ]]
}

registered() { [[ $(backends "$SERVICE" | wc -l) -eq $1 ]]; }

# Some twenty requests a second until told to stop, each answer or failure a line of the file.
request_until_stopped() {
    local answer n
    for ((n = 0; n < 100000; n++)); do
        [[ ! -e $STACK/enough && -d /proc/$$ ]] || break
        if answer=$(ask 2>&1); then echo "$answer"; else echo "FAILED: $answer"; fi
        sleep 0.03
    done >"$LOGS/requests"
}

requests() { wc -l <"$LOGS/requests"; }
failures() { grep -vcE "^I'm [0-9a-f]{12}$" "$LOGS/requests" || true; }
more_requests_than() { (($(requests) > $1)); }

finish() { # STATUS
    local status=$1
    if ((status != 0 && status != 130)); then
        for log in "$LOGS"/docker-register.log "$LOGS"/docker-discover.log; do show_log "$log"; done
    fi
    step "Cleaning up"
    jobs -p | xargs -r kill 2>/dev/null || true
    if stack_down; then
        note "containers, agents, HAProxy, etcd, private engine and files: nothing is left"
    else
        complain "something is left; 'make demo' tries again to end it"
        status=1
    fi
    exit "$status"
}

show_alternating() {
    local n answer previous="" repeats=0
    step "curl localhost:$PORT, six times"
    for n in {1..6}; do
        answer=$(ask) || answer="FAILED"
        note "$answer"
        [[ $answer == "I'm "* && $answer != "$previous" ]] || repeats=$((repeats + 1))
        previous=$answer
    done
    claim "every answer comes from another container than the one before" test "$repeats" -eq 0
}

show_growing() {
    step "Adding two containers while requests run"
    request_until_stopped &
    run_whoami 2
    claim "four containers answer" wait_until 20 "that" answering 4
    claim "etcd has their four keys" registered 4
    backends "$SERVICE" | sed 's/^/    /'
}

show_shrinking() {
    local ids mark lost seen
    step "Stopping two of the four while requests run"
    mapfile -t ids < <(engine ps -q --no-trunc --filter "label=$LABEL" | cut -c1-12 | head -n 2)
    wait_until 20 "requests" more_requests_than 100
    engine stop "${ids[@]}" >/dev/null
    note "docker stop ${ids[*]}"
    wait_until 20 "the two keys to go" registered 2
    wait_until 20 "the two to be out of the rotation" answering 2
    mark=$(requests)
    wait_until 30 "requests" more_requests_than $((mark + 100))
    touch "$STACK/enough"
    wait "$!" 2>/dev/null || true
    lost=$(failures)
    seen=$(tail -n +$((mark + 1)) "$LOGS/requests" | grep -cE "${ids[0]}|${ids[1]}" || true)
    sort "$LOGS/requests" | uniq -c | sed 's/^ */    /'
    claim "$(requests) requests, $lost failed" test "$lost" -eq 0
    claim "the last $(($(requests) - mark)) of them came from the two that are left" test "$seen" -eq 0
    if ((lost)); then grep -vE "^I'm [0-9a-f]{12}$" "$LOGS/requests" | head -n 5 >&2; fi
}

# Between requests: one that a killed process was answering is lost, whoever balances it.
show_killing() {
    local id n lost=0
    step "Adding one, killing one, and asking at once"
    run_whoami 1
    wait_until 20 "answers from three" answering 3
    id=$(engine ps -q --filter "label=$LABEL" | head -n 1)
    engine kill "$id" >/dev/null
    for n in {1..20}; do ask >/dev/null || lost=$((lost + 1)); done
    note "docker kill $id"
    claim "20 requests from that moment on, $lost failed" test "$lost" -eq 0
    claim "etcd has the keys of the two that are left" wait_until 20 "that" registered 2
}

show_stats() {
    local page up
    page=$(fetch "http://localhost:$STATS_PORT/;csv" || true)
    up=$(awk -F, -v service="$SERVICE" '$1 == service && $2 != "FRONTEND" && $2 != "BACKEND" && $18 ~ /^UP/' <<<"$page" | wc -l)
    claim "the statistics page lists the two that are left as UP" test "$up" -eq 2
}

route() { ETCD_HOST=$ETCD "$BIN/docker-discover" route shop --wait "$@"; }

ask_shop() { fetch -f -H "Host: shop.example.com" "http://localhost:$HTTP_PORT/"; }

shop_answers() { [[ $(ask_shop) == "I'm $1" ]]; } # CONTAINER

green_is_registered() { [[ $(backends green | wc -l) -eq 1 ]]; }

show_route() {
    local blue green
    step "A route: shop.example.com leads to blue, then to green"
    blue=$(engine run -d -P --label "$LABEL" -l SERVICE_NAME=blue -l SERVICE_PORT=none "$IMAGE")
    green=$(engine run -d -P --label "$LABEL" -l SERVICE_NAME=green -l SERVICE_PORT=none "$IMAGE")
    note "docker run -d -P -l SERVICE_NAME=blue -l SERVICE_PORT=none $IMAGE     ${blue:0:12}"
    note "docker run -d -P -l SERVICE_NAME=green -l SERVICE_PORT=none $IMAGE    ${green:0:12}"
    wait_until 20 "the key of green" green_is_registered
    note "docker-discover route shop host=shop.example.com to=blue --wait"
    route host=shop.example.com to=blue >/dev/null
    claim "blue answers" wait_until 20 "that" shop_answers "${blue:0:12}"
    note "docker-discover route shop to=green --wait"
    route to=green >/dev/null
    claim "green answers" wait_until 20 "that" shop_answers "${green:0:12}"
}

stay() {
    step "It is up. Try it from another terminal"
    note "ask             curl localhost:$PORT"
    note "by the route    curl -H 'Host: shop.example.com' localhost:$HTTP_PORT"
    note "statistics      http://localhost:$STATS_PORT/"
    note "the keys        ETCDCTL_API=3 etcdctl --endpoints http://$ETCD get --prefix /backends"
    note "the containers  docker -H $ENGINE ps"
    note "one more        docker -H $ENGINE run -d -P --label $LABEL $IMAGE"
    note "what and why    $BIN/docker-register status --control-socket $STACK/register.sock"
    note "                $BIN/docker-discover status --state-dir $STACK/discover"
    note "logs            $LOGS"
    note ""
    note "Ctrl-C ends it and cleans everything up."
    trap 'exit 0' INT
    local name
    while true; do
        for name in etcd docker-register docker-discover; do
            launched "$name" || { show_log "$LOGS/$name.log" && die "$name has ended by itself"; }
        done
        sleep 1 &
        wait "$!" || true
    done
}

main() {
    need_root "$SELF"
    step "Looking for what the demo needs"
    "$ROOT/deploy/setup.sh"
    stack_claim "${DEMO_DIR:-/var/tmp/sidekick-demo}"
    at_end finish
    note "all there; files and logs are in $STACK"
    check_port "$PORT" DEMO_PORT "the listener of whoami"
    check_port "$STATS_PORT" STATS_PORT "the statistics page"
    check_port "$HTTP_PORT" HTTP_PORT "routes"

    step "Building both agents (minutes the first time, seconds later)"
    build_release "$LOGS/build.log"
    note "$BIN/docker-register"
    note "$BIN/docker-discover"

    step "Docker Engine, etcd and the two agents"
    engine_up
    note "Docker Engine:    $ENGINE_KIND"
    [[ -d $STACK/docker ]] || note "                  its other containers that publish ports get into the demo's etcd, too"
    echo "$IMAGE" >"$STACK/image"
    "$ROOT/deploy/whoami.sh" -H "$ENGINE" -p "$PORT" "$IMAGE"
    note "image:            $IMAGE, made here of busybox"
    etcd_up
    note "etcd:             $ETCD"
    register_up
    note "docker-register:  tells etcd about this engine's containers, at $HOST_ADDRESS"
    discover_up "$STATS_PORT" HTTP_BIND=":$HTTP_PORT"
    note "docker-discover:  drives HAProxy, statistics at http://localhost:$STATS_PORT/"

    step "Starting two whoami containers"
    run_whoami 2
    wait_until 20 "answers from both" answering 2
    show_alternating
    show_growing
    show_shrinking
    show_killing
    claim "two containers answer" wait_until 20 "that" answering 2
    show_stats
    show_route
    ((CLAIMS_FAILED == 0)) || die "$CLAIMS_FAILED of the things above are not as they should be"
    [[ -n ${DEMO_ONCE:-} ]] || stay
}

main
