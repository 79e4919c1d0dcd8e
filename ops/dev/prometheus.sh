#!/usr/bin/env bash
# Find or install Debian's Prometheus and promtool for the long tests; they start a process of their own, on loopback.
#   prometheus.sh    quick when it is there; says what it could not have, and fails over that only when CI=true
set -euo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { printf '%s\n' "$*" >&2; }

command -v prometheus promtool >/dev/null && exit
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  say "Installing prometheus"
  # Where an init system runs, its service would be started: nobody asked for one.
  if [ -d /run/systemd/system ] && systemctl mask prometheus 2>>"$log"; then trap 'systemctl unmask prometheus; rm -f "$log"' EXIT; fi
  if apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >>"$log" 2>&1; then
    exit
  fi
  tail -n 5 "$log" >&2
fi
say "MISSING: prometheus"
say "    apt-get install prometheus; the tests of metrics, alerts and dashboards will be skipped"
[ "${CI:-}" != true ]
