#!/usr/bin/env bash
# `make test`: every check and every test, on real parts, none skipped. Ends with "N passed, N failed".
# TEST_BUNDLE names tests that are built already: they alone run then, without Swift's tools, and of them those
# that TEST_ONLY matches. So does `make matrix`.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy disable=SC2317 # some functions are called by name
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/stack.sh"

LIMIT=${TEST_LIMIT:-900} # seconds for the tests; they take a fraction of it
TESTS=                   # the process that runs them
FAILED_CHECKS=0
PHASES=(parts whole)
[[ -z ${TEST_BUNDLE:-} || -z ${TEST_ONLY:-} ]] || PHASES=(chosen)

check() { # TEXT COMMAND...
    step "$1"
    "${@:2}" && return
    complain "failed: $1"
    FAILED_CHECKS=$((FAILED_CHECKS + 1))
    return 1
}

scripts_parse() {
    local script
    for script in deploy/*.sh Tests/*/*.sh .ci/run; do bash -n "$script" || return 1; done
}

# In the background, as bash minds a signal only between commands; and marked, so that the end finds what
# a test may leave. The lines that only say that a test began are kept for the file. stdbuf: no line is lost
# in a crash.
run_tests() { # COMMAND...
    local output shower status=0
    exec {output}> >(tee "$STACK/output-$PHASE" | grep --line-buffered -vE "^◇|^Test Suite '|Executed 0 tests")
    shower=$!
    TMPDIR=$STACK/tmp SIDEKICK_STACK=$STACK SIDEKICK_REQUIRE=all \
        timeout -k 20 "$LIMIT" stdbuf -oL "$@" >&"$output" 2>&1 {output}>&- &
    TESTS=$!
    exec {output}>&-
    wait "$TESTS" || status=$?
    TESTS=
    wait "$shower" || true
    return "$status"
}

# What the tests of a phase came to, one number a line: passed, failed, skipped.
count() { # PHASE
    local report=$STACK/report-$1-swift-testing.xml
    if grep -qs '</testsuites>' "$report"; then
        awk '
            /^ *<testcase / { if (open) tell(); open = 1; failed = skipped = 0 }
            /^ *<failure/ { failed = 1 }
            /^ *<skipped/ { skipped = 1 }
            function tell() { if (skipped) s++; else if (failed) f++; else p++ }
            END { if (open) tell(); print p + 0; print f + 0; print s + 0 }' "$report"
    else # a crash or the time limit: as far as they came
        grep -E '^[^ ]+ Test ' "$STACK/output-$1" | grep -v ' Test run ' | awk '
            / passed after [0-9.]+ seconds/ { p++; next }
            / failed after [0-9.]+ seconds/ { f++; next }
            / skipped(:|$)/ { s++ }
            END { print p + 0; print f + 0; print s + 0 }'
    fi
}

begun_not_ended() { # the tests in which a crash or the time limit may have happened
    sed -nE 's/^[^ ]+ Test (.*) started\.$/\1/p; s/^[^ ]+ Test (.*)( with [0-9]+ test cases)? (passed|failed) after .*/\1/p' \
        "$STACK"/output-* | grep -vE '^(run|case passing.*)$' | sort | uniq -u
}

# Each failure in its own words, once more where nobody has to look for it: at the end.
failures() {
    grep -hE '^[^ ]+ Test .* recorded an issue' -A 3 "$STACK"/output-* | cut -c1-600 | head -200
}

finish() {
    if [[ -n $TESTS ]]; then
        kill -TERM "$TESTS" 2>/dev/null || true
        wait "$TESTS" 2>/dev/null || true
    fi
    stack_down || true
    "$ROOT/Tests/Laboratory/lab-clean.sh" || true
}

report() { # STATUS: of the tests
    local numbers phase passed=0 failed=0 skipped=0
    for phase in "${PHASES[@]}"; do
        mapfile -t numbers < <(count "$phase")
        passed=$((passed + numbers[0])) failed=$((failed + numbers[1])) skipped=$((skipped + numbers[2]))
    done
    if ((skipped)); then
        complain "$skipped tests were skipped, which counts as failed here:"
        grep -E '^[^ ]+ (Test|Suite) .* skipped(:|$)' "$STACK"/output-* >&2 || true
    fi
    failed=$((failed + skipped))
    if (($1 != 0 && failed == 0)); then
        complain "the tests ended with status $1 (124: over the limit of $LIMIT s) during:"
        begun_not_ended >&2
        failed=1
    fi
    if ((passed + failed == 0)); then
        complain "no test ran"
        failed=1
    fi
    ((failed == 0)) || failures
    failed=$((failed + FAILED_CHECKS))
    run_at_end "$1"
    echo "$passed passed, $failed failed"
    exit $((failed > 0))
}

# All tests of a process would run side by side. Those with engines and hosts of their own come after the others, and
# only some at a time: each has a dozen programs, and two processors for all of them make waits of seconds everywhere.
run_phase() {
    local filter report=$STACK/report-$PHASE
    local -x SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=${TEST_WIDTH:-$((3 * $(nproc)))}
    case $PHASE in
        parts) filter='^(SharedTests|RegisterTests|DiscoverTests)\.' ;;
        whole) filter='^EndToEndTests\.' ;;
        *) filter=$TEST_ONLY ;;
    esac
    if [[ -n ${TEST_BUNDLE:-} ]]; then
        run_tests env NO_COLOR=1 "$TEST_BUNDLE" --testing-library swift-testing --filter "$filter" \
            --xunit-output "$report-swift-testing.xml"
    else
        run_tests swift test --skip-build --filter "$filter" --xunit-output "$report.xml"
    fi
}

prepare() {
    check "The formatter's rules" make -s lint || true
    check "The scripts parse" scripts_parse || true
    check "Building programs and tests" swift build --build-tests && return
    echo "0 passed, $FAILED_CHECKS failed"
    exit 1
}

main() {
    need_root "make test"
    cd "$ROOT"
    if [[ -z ${TEST_BUNDLE:-} ]]; then
        step "What the tests need"
        deploy/setup.sh outputs
    fi
    Tests/Laboratory/lab-clean.sh
    stack_claim "/tmp/sidekick-test-$$"
    at_end finish
    mkdir -- "$STACK/tmp"
    [[ -n ${TEST_BUNDLE:-} ]] || prepare
    local status=0
    for PHASE in "${PHASES[@]}"; do
        : >"$STACK/output-$PHASE"
        step "The tests, on real parts: $PHASE"
        run_phase || status=$?
    done
    report "$status"
}

main
