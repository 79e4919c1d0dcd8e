#!/usr/bin/env bash
# Find or install and start what the tests need beside Python: a Docker engine, bubblewrap, mmdebstrap, the image leasebox/python.
#   services.sh start    quick when all is there; says what it could not have, and fails over that only when CI=true
#   services.sh stop     end what `start` started, nothing else
# SERVICES_STATE: folder that remembers what was started (default .venv/services).
set -euo pipefail
cd "$(dirname "$0")/../.."

state=${SERVICES_STATE:-.venv/services}
lock=/tmp/leasebox-dockerd.lock
image=leasebox/python
missing=0
launched=

say() { printf '%s\n' "$*" >&2; }
lacks() {
  say "MISSING: $1"
  say "    $2"
  missing=1
}
can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install() {
  can_install || return 1
  say "Installing $*"
  apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$state/apt.log" 2>&1
}

# The package's own client first: a name earlier on PATH may be a wrapper for another engine.
docker_client() { if [ -x /usr/bin/docker ]; then echo /usr/bin/docker; else command -v docker; fi; }
engine_answers() {
  local client
  client=$(docker_client) && timeout 10 "$client" version --format '{{.Server.Version}}' >/dev/null 2>&1
}
engine_pid() {
  local pid
  # The file outlives a crash, and its number may belong to another process by now.
  pid=$(cat /var/run/docker.pid 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] && echo "$pid"
}

wait_for_engine() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    engine_answers && return
    [ -z "$launched" ] || [ -d "/proc/$launched" ] || return 1
    sleep 0.2
  done
  return 1
}

launch_engine() {
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  else
    if ! grep -q ' cgroup2\? ' /proc/mounts && install cgroupfs-mount; then cgroupfs-mount; fi
    # 9 is the lock: the engine outlives this script and must not hold it.
    setsid dockerd >"$state/dockerd.log" 2>&1 </dev/null 9>&- &
    launched=$!
  fi
}

# One at a time on this machine: two engines on one state folder destroy each other.
ensure_engine() {
  engine_answers && return
  exec 9>"$lock"
  flock 9
  if engine_answers; then
    exec 9>&-
    return
  fi
  local found
  found=$(engine_pid || true)
  if [ -z "$found" ]; then
    command -v dockerd >/dev/null || install docker.io 9>&- || true
    # Installing may have started it already, so 9 was closed there too.
    if [ -z "$(engine_pid || true)" ] && [ "$(id -u)" = 0 ] && command -v dockerd >/dev/null; then launch_engine; fi
  fi
  if [ -z "$(engine_pid || true)" ] && ! command -v dockerd >/dev/null; then
    exec 9>&-
    lacks "a Docker engine" "apt-get install docker.io, or start yours; tests marked 'docker' will be skipped"
    return
  fi
  if wait_for_engine; then
    [ -n "$found" ] || [ -d /run/systemd/system ] || engine_pid >"$state/dockerd.pid" || true
  else
    lacks "a Docker engine that answers" "see $state/dockerd.log; are you in the group docker?"
  fi
  exec 9>&-
}

# The wheel has one too, but tests also run it as other users, who may not be able to reach this checkout.
ensure_bubblewrap() {
  command -v bwrap >/dev/null || install bubblewrap || lacks "bubblewrap" "apt-get install bubblewrap"
}

ensure_mmdebstrap() {
  command -v mmdebstrap >/dev/null || install mmdebstrap ||
    lacks "mmdebstrap" "apt-get install mmdebstrap; without it no base image can be made"
}

# The stamp names the sources and the image that they gave, so an unchanged image costs one question to the engine.
ensure_image() {
  engine_answers || return 0
  local client sources built stamp
  client=$(docker_client)
  sources=$(find sandbox_image/leasebox_images -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  stamp="$state/image-$sources"
  built=$("$client" image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
  [ -n "$built" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$built" ] && return
  ensure_mmdebstrap
  say "Building the image $image"
  if .venv/bin/leasebox-worker images build python >"$state/image.log" 2>&1; then
    rm -f "$state"/image-*
    "$client" image inspect --format '{{.Id}}' "$image" >"$stamp"
  else
    tail -n 5 "$state/image.log" >&2
    lacks "the image $image" "leasebox-worker images build python; see $state/image.log"
  fi
}

start() {
  mkdir -p "$state"
  ensure_bubblewrap
  ensure_engine
  ensure_image
  if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
    say "CI=true: nothing may be missing."
    return 1
  fi
}

stop() {
  local pid
  pid=$(cat "$state/dockerd.pid" 2>/dev/null) || return 0
  rm -f "$state/dockerd.pid"
  # A pid may have been given to another process since.
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 0
  kill "$pid"
  local tries
  for ((tries = 0; tries < 150; tries++)); do
    [ -d "/proc/$pid" ] || return 0
    sleep 0.2
  done
  say "dockerd ($pid) did not end within 30 s"
  return 1
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *) say "usage: services.sh start|stop"; exit 2 ;;
esac
