#!/bin/sh
# Make what the services of compose.yaml keep secret: passwords of Redis' users, keys, the accounts of Flower and Grafana.
#   ops/make-secrets.sh [FOLDER]     default ./secrets; what is there already stays as it is
# The folder is for its owner alone. The files in it are readable, because Compose hands them on with their mode and the
# programs in the containers have uids of their own.
set -eu
umask 022
folder=${1:-secrets}
acl=$(dirname "$0")/redis/users.acl.in
mkdir -p "$folder"
chmod 700 "$folder"
mkdir -p "$folder/jobs" # of jobs: one file a secret, which profiles may name

random() { openssl rand -hex 24; }
keep() { [ -s "$folder/$1" ] || printf '%s\n' "$2" >"$folder/$1"; }

keep key-pepper "$(random)"
keep audit-key "$(random)"
keep webhook-secret "whsec_$(openssl rand -base64 32)"
keep flower-account "looker:$(random)"
keep grafana-password "$(random)"

# The server is told hashes; each client has a URL of its own.
users=$(cat "$acl")
for user in api worker flower operator; do
  keep "redis-url-$user" "redis://$user:$(random)@redis:6379/0"
  password=$(sed 's|^redis://[^:]*:\([^@]*\)@.*|\1|' "$folder/redis-url-$user")
  hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
  users=$(printf '%s\n' "$users" | sed "s|#@$user@|#$hash|")
done
# Roles that nothing here has stay out: without a password their lines would keep the server from starting.
printf '%s\n' "$users" | grep -v '#@' >"$folder/redis-users.acl"
