#!/usr/bin/env bash
# Run the example; where neither a Docker engine nor namespaces are to be had, with weak isolation: it is our own code.
#   run-example.sh BIN [ARGUMENT...]
set -uo pipefail

bin=$1
shift

usable() { LEASEBOX_DRIVER=$1 "$bin/leasebox-worker" doctor --driver "$1" >/dev/null 2>&1; }

"$bin/leasebox" run examples/hello.py "$@"
status=$?
[ "$status" -eq 125 ] || exit "$status"
[ -z "${LEASEBOX_URL:-}${LEASEBOX_DRIVER:-}" ] || exit "$status"
if usable docker || usable bubblewrap; then exit "$status"; fi

printf '\nNEITHER A DOCKER ENGINE NOR NAMESPACES CAN BE USED HERE.\n' >&2
printf 'RUNNING OUR OWN EXAMPLE WITH THE PROCESS DRIVER: WEAK ISOLATION, NEVER FOR CODE THAT YOU DO NOT TRUST.\n\n' >&2
LEASEBOX_DRIVER=process exec "$bin/leasebox" run examples/hello.py "$@"
