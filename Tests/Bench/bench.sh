#!/usr/bin/env bash
# `make bench`: brings up a private engine, etcd and both agents, and prints one table of measured figures.
# BENCH_BUILD=0 leaves out the clean build; BENCH_ROUNDS, BENCH_SECONDS, BENCH_CONTAINERS, BENCH_CHANGES and
# BENCH_SIZES (numbers of endpoints) make it shorter or longer, BENCH_PARTS (idle start keys put cold sizes memory
# growth) chooses of it.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/stack.sh"

finish() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if ((status)); then for log in "$LOGS"/docker-*.log; do show_log "$log"; done; fi
    stack_down || status=1
    exit "$status"
}

# Into a directory of its own, so that nothing of it was built before.
clean_build() {
    local begun=$EPOCHREALTIME command=(swift build -c release --static-swift-stdlib --scratch-path "$STACK/build")
    cd "$ROOT"
    "${command[@]}" >"$LOGS/build.log" 2>&1 || { show_log "$LOGS/build.log" && die "the build failed"; }
    BUILD_SECONDS=$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
    BIN=$("${command[@]}" --show-bin-path)
}

main() {
    need_root "make bench"
    "$ROOT/deploy/setup.sh" --bench
    stack_names "${BENCH_DIR:-/var/tmp/sidekick-bench}"
    stack_claim
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    BUILD_SECONDS=
    if [[ -z ${SIDEKICK_BIN:-} && ${BENCH_BUILD:-1} != 0 ]]; then
        step "A clean release build of both agents"
        clean_build
    else
        build_release "$LOGS/build.log"
    fi

    step "A private engine, etcd and both agents"
    local port stats
    port=$(free_port 18000)
    stats=$(free_port $((port + 1)))
    engine_private
    echo "$ENGINE" >"$STACK/engine"
    "$ROOT/deploy/whoami.sh" -H "$ENGINE" -p "$port" whoami
    etcd_up
    register_up
    discover_up "$stats"

    python3 "$ROOT/Tests/Bench/bench.py" --engine "${ENGINE#unix://}" --etcd "$ETCD" --port "$port" \
        --spare-port "$(free_port $((stats + 1)))" \
        --register "$(launched_pid docker-register)" --discover "$(launched_pid docker-discover)" \
        --register-program "$BIN/docker-register" --discover-program "$BIN/docker-discover" \
        --sizes ${BENCH_SIZES:-100 1000 10000} --parts ${BENCH_PARTS:-} \
        --rounds "${BENCH_ROUNDS:-30}" --seconds "${BENCH_SECONDS:-60}" \
        --containers "${BENCH_CONTAINERS:-100}" --changes "${BENCH_CHANGES:-3600}" ${BUILD_SECONDS:+--build "$BUILD_SECONDS"}
}

main
