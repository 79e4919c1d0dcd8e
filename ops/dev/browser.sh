#!/usr/bin/env bash
# Find or install what the tests of the page need: Debian's Chromium, and in the virtual environment FOLDER what drives it.
#   browser.sh FOLDER    quick when all is there; says what it could not have, and fails over that only when CI=true
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { printf '%s\n' "$*" >&2; }
lacks() {
  say "MISSING: $1"
  say "    $2"
  [ "${CI:-}" != true ]
}

ensure_chromium() {
  command -v chromium >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing chromium"
    # A font too: without any, every page is empty boxes.
    if apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core >"$log" 2>&1; then
      return
    fi
    tail -n 5 "$log" >&2
  fi
  lacks "chromium" "apt-get install chromium; the tests of the page in a browser will be skipped"
}

ensure_driver() {
  "$folder/bin/python" -c 'import playwright' 2>/dev/null && return
  # Its own browsers are never fetched: the tests name Debian's.
  ops/dev/venv.sh "$folder" --group browser || lacks "playwright" "pip install --group browser"
}

ensure_chromium
ensure_driver
