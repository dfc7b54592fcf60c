#!/usr/bin/env bash
# `make fleet`: what a fleet costs etcd. FLEET_HOSTS, FLEET_ENDPOINTS, FLEET_MEMBERS, FLEET_REAL and FLEET_SECONDS make it
# smaller or larger; a thousand hosts need a limit of open files of 10 000.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/lib.sh"

main() {
    "$ROOT/deploy/setup.sh" python3
    ulimit -n "$(ulimit -Hn)"
    local log
    log=$(mktemp)
    build_release "$log"
    rm -f -- "$log"
    python3 "$ROOT/Tests/Bench/fleet.py" --programs "$BIN" --hosts "${FLEET_HOSTS:-1000}" \
        --endpoints "${FLEET_ENDPOINTS:-50000}" --members "${FLEET_MEMBERS:-1}" --real "${FLEET_REAL:-20}" \
        --seconds "${FLEET_SECONDS:-60}"
}

main
