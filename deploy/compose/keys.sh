#!/usr/bin/env bash
# Makes keys, tokens and passwords where they are missing; what is there stays, since records depend on it.
set -euo pipefail
umask 077

random() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Which user reads what: PostgreSQL's of the image, and Remit's.
postgres=$(id -u postgres)
remit=65532

cd /run/passwords
for name in postgres intake routing audit; do
    [ -s "$name" ] || random 24 >"$name"
done
chown "$postgres" . ./*

cd /run/remit
for name in receipt.key log.key; do
    [ -s "$name" ] || head -c 32 /dev/urandom >"$name"
done
for service in intake routing audit; do
    printf 'postgres://%s:%s@postgres/%s\n' "$service" "$(cat "/run/passwords/$service")" "$service" >"$service.url"
done
if [ ! -s tokens.json ]; then
    {
        for service in intake routing audit; do
            printf '%s{"token":"%s","system":"%s","role":"service"}' "${comma-[}" "$(random 24)" "$service"
            comma=,
        done
        printf ',{"token":"%s","system":"operator","role":"operator"}' "$(random 24)"
        printf ',{"token":"%s","system":"auditor","role":"auditor"}]\n' "$(random 24)"
    } >tokens.new
    mv tokens.new tokens.json
fi
chown -R "$remit:$remit" .
