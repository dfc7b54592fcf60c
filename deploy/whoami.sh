#!/usr/bin/env bash
# Makes the demo image in a Docker Engine, without any registry: busybox alone, serving "I'm <container id>".
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<USAGE
usage: whoami.sh [-H ENGINE] [-p PORT]... [NAME[:TAG]...]

Imports an image under the given names (whoami by default). Each container answers every GET on
each PORT (8000 by default), which it also exposes, with "I'm <its id, 12 hexadecimal digits>".
PORT="8000 9000" in a container's environment makes it listen there instead.
-H, or DOCKER_HOST, names the engine.
USAGE
}

engine=()
ports=()
while getopts H:p:h option; do
    case $option in
    H) engine=(-H "$OPTARG") ;;
    p) [[ $OPTARG =~ ^[0-9]+$ ]] || die "-p takes a port number, not '$OPTARG'" && ports+=("$OPTARG") ;;
    h) usage && exit 0 ;;
    *) usage >&2 && exit 64 ;;
    esac
done
shift $((OPTIND - 1))
((${#ports[@]})) || ports=(8000)
(($#)) || set -- whoami

busybox=$(command -v busybox) || die "busybox is missing (package busybox-static)"
root=$(mktemp -d)
trap 'rm -rf -- "$root"' EXIT
mkdir -p "$root/bin" "$root/tmp"
cp -L -- "$busybox" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
ln -s busybox "$root/bin/httpd"

# The shell is process 1, which ignores every signal without a handler: the trap makes `docker stop`
# prompt, and lets requests under way finish first.
cat >"$root/bin/whoami-server" <<'SERVER'
#!/bin/busybox sh
bb=/bin/busybox
www=/dev/shm/www # writable in read-only containers too
id=$($bb sed -n 's|.*/\([0-9a-f]\{12\}\)[0-9a-f]\{52\}/.*hostname /etc/hostname .*|\1|p' /proc/self/mountinfo)
$bb mkdir -p $www
echo "I'm ${id:-$($bb hostname)}" >$www/index.html
echo "E404:$www/index.html" >/dev/shm/httpd.conf
pids=
idle() { # no connection waits to be accepted (those have no inode), or was accepted and not yet handed to a child
    while read -r _ _ _ state _ _ _ _ _ inode _; do
        [ "$state$inode" != 010 ] || return 1
    done </proc/net/tcp6
    for pid in $pids; do
        set -- /proc/$pid/fd/*
        [ $# -le 4 ] || return 1 # three and the listener
    done
}
finish() { # goes on for a moment: whoever sends requests here has yet to learn that it stops
    $bb usleep "${LINGER:-500}000"
    tries=0
    until idle || [ $tries -ge 20 ]; do
        $bb usleep 5000
        tries=$((tries + 1))
    done
    kill $pids
    wait $pids
    tries=0
    while $bb pidof httpd >/dev/null && [ $tries -lt 20 ]; do
        $bb usleep 10000
        tries=$((tries + 1))
    done
    exit 0
}
trap finish TERM INT
for port in $PORT; do
    /bin/httpd -f -p "$port" -h $www -c /dev/shm/httpd.conf &
    pids="$pids $!"
done
wait
SERVER
chmod 755 "$root/bin/whoami-server"

changes=(--change 'ENTRYPOINT ["/bin/whoami-server"]' --change "ENV PORT=\"${ports[*]}\"")
for port in "${ports[@]}"; do changes+=(--change "EXPOSE $port"); done
tar -C "$root" -c . | docker "${engine[@]}" import "${changes[@]}" - "$1" >/dev/null
for name in "${@:2}"; do docker "${engine[@]}" tag "$1" "$name"; done
