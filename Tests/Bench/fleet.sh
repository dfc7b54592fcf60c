#!/usr/bin/env bash
# `make fleet`: fleets of several sizes on one machine, and one table of what they cost etcd and each agent.
# FLEET_HOSTS (with both agents and 50 endpoints each), FLEET_MEMBERS (of the etcd cluster), FLEET_REAL (real agents of
# each kind; the others are stand-ins), FLEET_SECONDS, FLEET_SETTLE, FLEET_CHANGES (per second) and FLEET_DEPLOY
# (containers in 10 s) make it shorter or longer. A short run: FLEET_HOSTS=10 FLEET_MEMBERS=1 FLEET_REAL=2 FLEET_SECONDS=5.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/stack.sh"

finish() { # STATUS
    local status=$1
    stack_down || status=1
    exit "$status"
}

main() {
    need_root "make fleet"
    "$ROOT/deploy/setup.sh" python3
    stack_claim "${FLEET_DIR:-/var/tmp/sidekick-fleet}"
    at_end finish
    build_release "$LOGS/build.log"
    export SIDEKICK_STACK=$STACK STACK
    # shellcheck disable=SC2086 # lists of words
    python3 "$ROOT/Tests/Bench/fleet.py" --hosts ${FLEET_HOSTS:-10 100 1000} --members ${FLEET_MEMBERS:-3} \
        --real "${FLEET_REAL:-1}" --seconds "${FLEET_SECONDS:-30}" --settle "${FLEET_SETTLE:-25}" \
        --changes "${FLEET_CHANGES:-10}" --deploy "${FLEET_DEPLOY:-1000}" --port "$(free_port 25379)" \
        --register-program "$BIN/docker-register" --discover-program "$BIN/docker-discover"
}

main
