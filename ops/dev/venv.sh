#!/usr/bin/env bash
# Make the virtual environment FOLDER if it is missing or broken, then pip install the other arguments into it.
#   venv.sh FOLDER PIP-ARGUMENT...
# PYTHON names the interpreter to use; otherwise the first of 3.11, 3.12, 3.13, 3 that is at least 3.11.
set -euo pipefail

folder=$1
shift

say() { printf '%s\n' "$*" >&2; }

find_python() {
  local name
  for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    # A version manager's shim may be on PATH and still refuse, so run it.
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  say "leasebox needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"
  return 1
}

# Debian ships venv without pip until python3-venv is there.
ensure_pip_source() {
  "$1" -c 'import ensurepip' 2>/dev/null && return
  local version
  version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  say "This Python has no ensurepip: installing python$version-venv"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "Not root on Debian: run  sudo apt-get install python$version-venv"
    return 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "python$version-venv"
}

# The scripts of a copied folder still name the place that it was copied from.
is_whole() { grep -qF "$(realpath "$folder")/bin/" "$folder/bin/pip" 2>/dev/null && "$folder/bin/python" -c ''; }

if ! is_whole; then
  python=$(find_python)
  ensure_pip_source "$python"
  say "Making $folder with $python"
  "$python" -m venv --clear "$folder"
fi

# --group is new in pip 25.1.
"$folder/bin/python" -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))' ||
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
