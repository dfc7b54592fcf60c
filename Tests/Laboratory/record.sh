#!/usr/bin/env bash
# Records what a Docker Engine answers, for the tests of docker-register: starts an engine of its own, with a
# container of each kind, and writes its answers into Tests/RegisterTests/Fixtures/engine-<version>, without the
# parts that nobody reads. The engine is this machine's; that of Debian trixie with
# `Tests/Laboratory/matrix.sh run Tests/Laboratory/record.sh`.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy disable=SC2317 # some functions are called by name
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/stack.sh"

finish() {
    [[ -z ${events:-} ]] || kill "$events" 2>/dev/null || true
    stack_down
}

get() { curl -sSg --max-time 10 --unix-socket "${ENGINE#unix://}" "http://docker$1"; }
whoami_run() { engine run -d --name "$1" "${@:2}" whoami >/dev/null; }
plain_run() { engine run -d --name "$1" "${@:2}" plain:1 /bin/busybox sleep 1000 >/dev/null; }
state_is() { [[ $(engine inspect -f "$2" "$1") == "$3" ]]; }

# As docker-register asks for them.
follow_events() {
    local names='"start","die","stop","kill","oom","pause","unpause","restart","rename","update","destroy","health_status","connect","disconnect"'
    curl -sSNg --unix-socket "${ENGINE#unix://}" \
        "http://docker/events?filters={\"type\":[\"container\",\"network\"],\"event\":[$names]}" >"$RAW/events" &
    events=$!
    disown
}

images() {
    "$ROOT/deploy/whoami.sh" -H "$ENGINE" whoami old:1
    "$ROOT/deploy/whoami.sh" -H "$ENGINE" -p 8000 -p 9000 lab/web:1.2
    engine create --name whole whoami >/dev/null
    engine export whole | engine import - plain:1 >/dev/null
    engine rm whole >/dev/null
    engine network create front >/dev/null
    engine network create --ipv6 --subnet fd00:77::/64 six >/dev/null
}

containers() {
    engine run -d --name several-bindings -l SERVICE_TAGS=a,b -l com.example.team=blue -e EMPTY= \
        -e SERVICE_8000_NAME=web -e PORT=8000 -p 8080:8000 -p 127.0.0.1:8081:8000 -p 9000:9000 -p 9000:9000/udp \
        lab/web:1.2 >/dev/null
    whoami_run exposed-only
    whoami_run host-network --net host -e PORT=7070
    whoami_run host-network-silent --net host --expose 7072-7073 -e PORT=7071
    whoami_run no-network --net none
    plain_run nothing-published
    plain_run udp-only -p 5353:53/udp
    whoami_run paused -p 8002:8000
    whoami_run ephemeral -P
    whoami_run shared-network --net container:ephemeral -e PORT=8100
    engine run -d --name restarting --restart always -p 8003:8000 plain:1 /bin/busybox false >/dev/null
    whoami_run healthy -p 8004:8000 --health-cmd true --health-interval 1s
    whoami_run unhealthy -p 8014:8000 --health-cmd 'echo out of order; false' --health-interval 1s --health-retries 2
    whoami_run starting -p 8024:8000 --health-cmd true --health-interval 600s
    engine run -d --name by-id -p 8005:8000 "$(engine images -q --no-trunc whoami)" >/dev/null
    engine run -d --name moved-tag -p 8006:8000 old:1 >/dev/null
    engine tag plain:1 old:1
    whoami_run own-network --net front -p 8007:8000 --network-alias web
    engine network connect bridge own-network
    whoami_run ipv6-network --net six -p 8008:8000
    whoami_run ipv6-binding -p '[::1]:8009:8000' -p 127.0.0.1:8010:8000
    whoami_run stop-signal -p 8011:8000 --stop-signal INT --stop-timeout 3
    whoami_run compose -p 8012:8000 -l com.docker.compose.project=shop -l com.docker.compose.service=cart
    plain_run stopped
}

# One of each kind of event that docker-register follows.
lives() {
    engine pause paused >/dev/null
    engine network connect front stop-signal
    engine network disconnect front stop-signal
    engine rename stop-signal renamed
    engine rename renamed stop-signal
    engine update --restart no compose >/dev/null
    engine kill -s HUP nothing-published >/dev/null
    engine restart -t 1 udp-only >/dev/null
    engine pause by-id >/dev/null
    engine unpause by-id >/dev/null
    engine stop -t 1 stopped >/dev/null
    plain_run removed
    engine rm -f removed >/dev/null
    wait_until 20 "a healthy container" state_is healthy '{{.State.Health.Status}}' healthy
    wait_until 20 "an unhealthy container" state_is unhealthy '{{.State.Health.Status}}' unhealthy
    wait_until 20 "a restarting container" state_is restarting '{{.State.Status}}' restarting
}

record() {
    local name
    curl -sSI --unix-socket "${ENGINE#unix://}" http://docker/_ping >"$RAW/ping"
    get /version >"$RAW/version"
    get /info >"$RAW/info"
    # Its lives are short: it is recorded in between.
    until get /containers/restarting/json >"$RAW/restarting" && grep -q '"Restarting":true' "$RAW/restarting"; do sleep 0.1; done
    get /containers/json >"$RAW/list"
    for name in $(engine ps -a --format '{{.Names}}'); do
        [[ $name == restarting ]] || get "/containers/$name/json" >"$RAW/$name"
    done
}

main() {
    need_root "Tests/Laboratory/record.sh"
    stack_claim "/tmp/sidekick-record-$$"
    at_end finish
    RAW=$STACK/raw
    mkdir -- "$RAW"
    step "An engine with a container of each kind"
    engine_private
    images
    follow_events
    containers
    lives
    record
    python3 "$ROOT/Tests/Laboratory/record.py" "$RAW" "$ROOT/Tests/RegisterTests/Fixtures"
}

main
