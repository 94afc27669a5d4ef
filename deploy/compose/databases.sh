#!/usr/bin/env bash
# A database for each service, and a role that owns it: no service reads another's tables.
set -euo pipefail
for service in intake routing audit; do
    psql --quiet --set ON_ERROR_STOP=1 --username postgres \
        --set service="$service" --set password="$(cat "/run/passwords/$service")" <<'SQL'
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done
