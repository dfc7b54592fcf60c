#!/usr/bin/env bash
# Ends what test runs left whose process is gone: the laboratory's hosts (network namespaces sk<number>-...,
# their programs, directory /tmp/sidekick-lab-<pid>) and what `make test` marked as its own. Live runs stay.
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../../deploy disable=SC2317 # some functions are called by name
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/stack.sh"

boot_time=$(awk '$1 == "btime" { print $2 }' /proc/stat)
ticks=$(getconf CLK_TCK)

owner_lives() { # PID DIRECTORY: a process that began after the directory's last change is somebody else
    local start
    start=$(start_time "$1") || return 1
    ((boot_time + start / ticks <= $(stat -c %Y -- "$2") + 1))
}

namespaces_of() { # NUMBER
    ip netns list | awk -v name="^sk$1-" '$1 ~ name { print $1 }'
}

nobody_in() { # NAMESPACE...: kills who is there and all that descend from them, containers too
    local name pids=()
    for name; do mapfile -t -O "${#pids[@]}" pids < <(ip netns pids "$name" 2>/dev/null); done
    none_left "${pids[@]}"
}

clean_lab() { # NUMBER DIRECTORY
    local names name
    mapfile -t names < <(namespaces_of "$1")
    end_engines "$2" "the end of the processes in ${names[*]}" nobody_in "${names[@]}" || return 1
    for name in "${names[@]}"; do ip netns del "$name"; done
    rm -rf --one-file-system -- "$2"
    note "removed what a test run left: ${names[*]:-no namespaces}, $2"
}

need_root "Tests/Laboratory/lab-clean.sh"
if (($# == 2)); then # NUMBER DIRECTORY: this one, from the run that made it
    clean_lab "$1" "$2"
    exit
fi
living=0
status=0
for directory in /tmp/sidekick-lab-* /tmp/sidekick-test-*; do
    [[ -d $directory && -O $directory && ! -L $directory && $directory =~ -([0-9]+)$ ]] || continue
    number=${BASH_REMATCH[1]}
    if owner_lives "$number" "$directory"; then
        living=$((living + 1))
    elif [[ $directory == /tmp/sidekick-lab-* ]]; then
        clean_lab "$number" "$directory" || status=1
    else
        stack_names "$directory"
        stack_down || status=1
    fi
done
# Hosts without a directory: only while no run lives to which they could belong.
if ((living == 0)); then
    mapfile -t numbers < <(ip netns list 2>/dev/null | sed -nE 's/^sk([0-9]+)-.*/\1/p' | sort -u)
    for number in "${numbers[@]}"; do
        start_time "$number" >/dev/null || clean_lab "$number" "/tmp/sidekick-lab-$number" || status=1
    done
fi
exit "$status"
