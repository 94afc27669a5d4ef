# Makes a PostgreSQL in $1 (programs in $2, port $3, superuser `remit` with the password in $1/password), says `ready`
# on stdout, and keeps it until stdin closes, which happens however the process at its other end dies.
#
# A failure to start goes to stdout in full; then, as at every end, the folder goes.
folder=$1 programs=$2 port=$3
trap 'rm -rf "$folder"' EXIT

make() {
    "$programs/initdb" --pgdata="$folder/data" --username=remit --pwfile="$folder/password" --auth=password \
        --encoding=UTF8 --locale=C --no-sync || return
    # Durability stays as PostgreSQL ships it: what is tested and measured is what an operator gets.
    cat >>"$folder/data/postgresql.conf" <<END || return
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$folder'
max_connections = 300
END
    "$programs/pg_ctl" --pgdata="$folder/data" --log="$folder/server.log" --wait --timeout=60 start
}

if make >"$folder/make.log" 2>&1 </dev/null; then
    echo ready
    cat >/dev/null
    # Immediately: nobody will read what a checkpoint would save.
    "$programs/pg_ctl" --pgdata="$folder/data" --mode=immediate --wait stop >/dev/null 2>&1
else
    cat "$folder/make.log" "$folder/server.log" 2>/dev/null
    "$programs/pg_ctl" --pgdata="$folder/data" --mode=immediate stop >/dev/null 2>&1
    exit 1
fi
