#!/usr/bin/env bash
# `make bench`: brings up a private engine, etcd and both agents, and prints one table of measured figures.
# BENCH_BUILD=0 leaves out the clean build; BENCH_ROUNDS, BENCH_SECONDS, BENCH_CONTAINERS, BENCH_CHANGES and
# BENCH_SIZES (numbers of endpoints) make it shorter or longer, BENCH_PARTS (idle start keys put cold sizes routes memory
# growth) chooses of it.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/stack.sh"

finish() { # STATUS
    local status=$1
    if ((status)); then for log in "$LOGS"/docker-*.log; do show_log "$log"; done; fi
    stack_down || status=1
    exit "$status"
}

main() {
    need_root "make bench"
    "$ROOT/deploy/setup.sh" python3
    stack_claim "${BENCH_DIR:-/var/tmp/sidekick-bench}"
    at_end finish

    local begun=$EPOCHREALTIME seconds=
    if [[ -z ${SIDEKICK_BIN:-} && ${BENCH_BUILD:-1} != 0 ]]; then
        step "A clean release build of both agents"
        build_release "$LOGS/build.log" "$STACK/build" # nothing of it was built before
        seconds=$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
    else
        build_release "$LOGS/build.log"
    fi

    step "A private engine, etcd and both agents"
    local port stats
    port=$(free_port 18000)
    stats=$(free_port $((port + 1)))
    engine_private
    "$ROOT/deploy/whoami.sh" -H "$ENGINE" -p "$port" whoami
    etcd_up
    register_up
    discover_up "$stats"

    # shellcheck disable=SC2086 # lists of words
    python3 "$ROOT/Tests/Bench/bench.py" --engine "${ENGINE#unix://}" --etcd "$ETCD" --port "$port" \
        --spare-port "$(free_port $((stats + 1)))" \
        --register "$(launched_pid docker-register)" --discover "$(launched_pid docker-discover)" \
        --register-program "$BIN/docker-register" --discover-program "$BIN/docker-discover" \
        --sizes ${BENCH_SIZES:-100 1000 10000} --parts ${BENCH_PARTS:-} \
        --rounds "${BENCH_ROUNDS:-30}" --seconds "${BENCH_SECONDS:-60}" \
        --containers "${BENCH_CONTAINERS:-100}" --changes "${BENCH_CHANGES:-3600}" ${seconds:+--build "$seconds"}
}

main
