#!/bin/bash
# Builds by the stock client's classic protocol against the daemon at $DOCKER_HOST, which needs an
# image `busybox`: milliseconds of a build of ten steps that are all cached, of one whose last COPY
# changed and that runs one RUN after it, and with $DAEMON_PID the daemon's largest memory so far
# (kB) after a build of 200 MB. The best of $ROUNDS rounds: other work only adds.
set -eu
rounds=${ROUNDS:-7}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export DOCKER_BUILDKIT=0

build() { docker build -q "$dir/$1" >/dev/null 2>&1; }

best() {
    local name=$1 least=
    shift
    for _ in $(seq "$rounds"); do
        "$@"
        local start=$(date +%s%N)
        build ten
        local took=$((($(date +%s%N) - start) / 10000))
        if [ -z "$least" ] || [ "$took" -lt "$least" ]; then least=$took; fi
    done
    printf '%s\t%d.%02d ms\n' "$name" $((least / 100)) $((least % 100))
}

mkdir "$dir/ten" "$dir/big"
{
    echo FROM busybox
    for step in 1 2 3 4 5 6 7; do echo "RUN echo $step > /$step"; done
    echo COPY file /file
    echo RUN cp /file /copy
} >"$dir/ten/Dockerfile"
change() { date +%s%N >"$dir/ten/file"; }
change
build ten
best "ten steps, all cached" true
best "last COPY changed, one RUN" change

for part in 0 1 2 3; do head -c 50000000 /dev/urandom >"$dir/big/$part"; done
printf 'FROM busybox\nCOPY . /d\n' >"$dir/big/Dockerfile"
build big
if [ -n "${DAEMON_PID:-}" ]; then
    awk '/VmHWM/ { print "daemon, largest\t" $2 " kB" }' "/proc/$DAEMON_PID/status"
fi
