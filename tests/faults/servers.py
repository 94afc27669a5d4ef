"""The servers of a trial: PostgreSQL under Patroni with etcd, PgBouncer, and Remit's services. All are on loopback and free ports, below one
folder, and gone when the process is, however it ends (guard.sh)."""

import json
import os
import pwd
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = ROOT / ".tools" / "faults"
SERVICES = ["intake", "routing", "audit"]
# Patroni allows no less for a leader that says nothing.
TTL, LOOP, RETRY = 20, 1, 3


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def until(what, ask, seconds=60, pause=0.1):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


class Folder:
    """A folder, and every process that runs in a folder below it."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="remit-faults-"))
        self.path.chmod(0o755)
        self.guard = subprocess.Popen(
            ["sh", "-c", (HERE / "guard.sh").read_text(), "guard", self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.guard.stdout.readline() == b"guards\n", "nothing would end the servers"
        # PostgreSQL refuses to run as root.
        self.account = next((found for name in ("postgres", "nobody") if (found := account(name))), None) if os.getuid() == 0 else None
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.path)}
        libraries = [str(path) for path in (TOOLS / "root/usr/lib").glob("*-linux-gnu")]
        self.tools = self.environment | {
            "LD_LIBRARY_PATH": ":".join(libraries), "PYTHONPATH": str(TOOLS / "root/usr/lib/python3/dist-packages"),
        }  # fmt: skip

    def make(self, name, unprivileged=False):
        folder = self.path / name
        folder.mkdir(mode=0o700)
        if unprivileged and self.account:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)
        return folder

    def write(self, path, content, unprivileged=False):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)
        if unprivileged and self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def start(self, folder, command, unprivileged=False, environment=None, stdout=None):
        drop = {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []} if unprivileged and self.account else {}
        with open(folder / "log", "ab") as log:
            return subprocess.Popen(
                [str(part) for part in command], cwd=folder, env=environment or self.environment, stdin=subprocess.DEVNULL,
                stdout=stdout or log, stderr=log, start_new_session=True, **drop,
            )  # fmt: skip

    def close(self):
        self.guard.stdin.close()
        self.guard.wait()


def account(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def processes(folder):
    """Ids of the processes whose working folder is this one or below it."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and Path(os.readlink(process / "cwd")).is_relative_to(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def send(ids, what):
    for process in ids:
        try:
            os.kill(process, what)
        except ProcessLookupError:
            pass


def http(port, path, content=None, timeout=2):
    """Status and answer; none where nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(content).encode() if content is not None else None)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return None, str(error)


def programs():
    """PostgreSQL's programs: the newest that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    assert found, "PostgreSQL is not installed"
    return found[-1].parent


class Etcd:
    def __init__(self, folder):
        self.port, peer = free_ports(2)
        self.folder = folder.make("etcd")
        client, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        folder.start(self.folder, [
            TOOLS / "root/usr/bin/etcd", "--name=only", f"--data-dir={self.folder}/data", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=only={peer}",
        ])  # fmt: skip
        until("etcd answers", lambda: http(self.port, "/health")[0] == 200)


class Node:
    """One PostgreSQL under Patroni."""

    def __init__(self, name, cluster):
        self.name, self.cluster = name, cluster
        self.rest, self.port = free_ports(2)
        folder = cluster.folder
        self.folder = folder.make(name, unprivileged=True)
        access = ["host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"]
        users = {who: {"username": who, "password": cluster.password} for who in ("postgres", "standby", "rewinder")}
        config = {
            "scope": "remit", "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": {"host": f"127.0.0.1:{cluster.etcd.port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL, "loop_wait": LOOP, "retry_timeout": RETRY, "maximum_lag_on_failover": 1 << 20,
                    # Nothing is acknowledged that no standby has, not even when there is none.
                    "synchronous_mode": True, "synchronous_mode_strict": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 200, "wal_keep_size": "256MB"}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.folder / "data"), "bin_dir": str(programs()), "pgpass": str(self.folder / "pgpass"),
                "authentication": {"superuser": users["postgres"], "replication": users["standby"], "rewind": users["rewinder"]},
                "parameters": {"unix_socket_directories": str(self.folder)}, "pg_hba": access,
            },
        }  # fmt: skip
        folder.write(self.folder / "patroni.json", json.dumps(config, indent=1), unprivileged=True)

    def start(self):
        patroni = TOOLS / "root/usr/bin/patroni"
        command = ["/usr/bin/python3", patroni, self.folder / "patroni.json"]
        self.cluster.folder.start(self.folder, command, unprivileged=True, environment=self.cluster.folder.tools)

    def leads(self):
        return http(self.rest, "/primary")[0] == 200

    def patroni(self):
        """Ids of Patroni's own processes, without PostgreSQL's, which run in the data folder."""
        return [process for process in processes(self.folder) if process not in processes(self.folder / "data")]

    def kill(self):
        """As when the machine dies."""
        while alive := processes(self.folder):
            send(alive, signal.SIGKILL)
            time.sleep(0.05)


class Cluster:
    """PostgreSQL on three nodes, with a database for each service, and an address that leads to the leader."""

    # A second audit would take over from the first.
    REPLICAS = {"intake": 2, "routing": 2, "audit": 1}

    def __init__(self, folder, *defaults):
        """`defaults` are those of each database. Serializable is none for the server: standbys refuse every query then, Patroni's, too."""
        self.folder, self.password = folder, secrets.token_hex(16)
        self.etcd = Etcd(folder)
        self.nodes = [Node(name, self) for name in "abc"]
        self.nodes[0].start()
        until("a leader", self.nodes[0].leads)
        for node in self.nodes[1:]:
            node.start()
        until("two standbys, one of them synchronous", self.is_whole)
        for service in SERVICES:
            self.sql(f"CREATE ROLE {service} LOGIN PASSWORD '{self.password}'")
            self.sql(f"CREATE DATABASE {service} OWNER {service}")
            for default in defaults:
                self.sql(f"ALTER DATABASE {service} SET {default}")
        (self.port,) = free_ports(1)
        self.proxy_folder = folder.make("proxy")
        self.mode = self.proxy_folder / "mode"
        self.mode.write_text("cut")
        pairs = [f"{node.rest}={node.port}" for node in self.nodes]
        folder.start(self.proxy_folder, [sys.executable, HERE / "proxy.py", "leader", self.port, self.mode, *pairs])

    def leader(self):
        leading = [node for node in self.nodes if node.leads()]
        return leading[0] if len(leading) == 1 else None

    def is_whole(self):
        """The other way than `leader`: everybody is there, and one of them is synchronous."""
        alive = self.alive()
        return len(alive) == 3 and {"leader", "sync_standby"} <= {member["role"] for member in alive} and self.leader()

    def alive(self):
        status, answer = http(self.nodes[0].rest, "/cluster")
        members = json.loads(answer)["members"] if status == 200 else []
        return [member for member in members if member["state"] in ("running", "streaming")]

    def members(self):
        return json.loads(http(self.leader().rest, "/cluster")[1])["members"]

    def patronictl(self, *arguments):
        command = ["/usr/bin/python3", TOOLS / "root/usr/bin/patronictl", "-c", self.nodes[0].folder / "patroni.json", *arguments]
        done = subprocess.run(command, env=self.folder.tools, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def url(self, service, port=None):
        return f"postgres://{service}:{self.password}@127.0.0.1:{port or self.port}/{service}"

    def ids(self, service, table):
        return self.sql(f"SELECT id FROM {table}", service).split()

    def sql(self, statement, database="postgres"):
        leader = until("a leader", self.leader)
        asked = subprocess.run(
            [programs() / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(leader.port), "-U", "postgres", "-d", database, "-c", statement],
            env=self.folder.environment | {"PGPASSWORD": self.password}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert asked.returncode == 0, asked.stderr
        return asked.stdout.strip()


class Files:
    """A file of SQLite for each service, as one of them alone has it."""

    REPLICAS = {"intake": 1, "routing": 1, "audit": 1}

    def __init__(self, folder):
        self.folder = folder.make("sqlite")

    def url(self, service, _=None):
        return f"sqlite://{self.folder}/{service}.db"

    def is_whole(self):
        return True

    def leader(self):
        return self

    def alive(self):
        return range(3)

    def ids(self, service, table):
        with sqlite3.connect(f"file:{self.folder}/{service}.db?mode=ro", uri=True) as database:
            return [row[0] for row in database.execute(f"SELECT id FROM {table}")]


class Pooler:
    """PgBouncer in transaction mode before a cluster."""

    def __init__(self, cluster):
        folder = cluster.folder
        (self.port,) = free_ports(1)
        self.folder = folder.make("pgbouncer", unprivileged=True)
        databases = "\n".join(f"{service} = host=127.0.0.1 port={cluster.port} dbname={service}" for service in SERVICES)
        config = f"""[databases]
{databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {self.folder}/users
pool_mode = transaction
default_pool_size = 4
server_login_retry = 1
ignore_startup_parameters = extra_float_digits,options
"""
        folder.write(self.folder / "pgbouncer.ini", config, unprivileged=True)
        users = "".join(f'"{service}" "{cluster.password}"\n' for service in SERVICES)
        folder.write(self.folder / "users", users, unprivileged=True)
        folder.start(self.folder, [TOOLS / "root/usr/sbin/pgbouncer", self.folder / "pgbouncer.ini"], unprivileged=True, environment=folder.tools)


class Remit:
    """The three services, each as often as its database allows."""

    def __init__(self, folder, binary, replicas, url):
        self.folder, self.binary, self.replicas = folder, binary, replicas
        self.home = folder.make("remit")
        self.tokens = {name: secrets.token_hex(16) for name in [*SERVICES, "operator", "auditor"]}
        role = {"operator": "operator", "auditor": "auditor"}
        listed = [{"token": token, "system": name, "role": role.get(name, "service")} for name, token in self.tokens.items()]
        folder.write(self.home / "tokens.json", json.dumps(listed))
        for name in ("receipt.key", "log.key"):
            (self.home / name).write_bytes(secrets.token_bytes(32))
            (self.home / name).chmod(0o600)
        self.ports = {name: free_ports(count) for name, count in self.replicas.items()}
        self.balanced = dict(zip(SERVICES, free_ports(3)))
        self.admin = {(name, replica): port for name, ports in self.ports.items() for replica, port in enumerate(free_ports(len(ports)))}
        for service in SERVICES:
            folder.write(self.home / f"{service}.url", url(service))
            own = folder.make(f"balance-{service}")
            folder.start(own, [sys.executable, HERE / "proxy.py", "any", self.balanced[service], *self.ports[service]])
        self.running, self.restarts = {}, 0
        # A file is made by its service's first start.
        if not url("intake").startswith("sqlite:"):
            migrated = self.run("migrate", "--config", self.config("migrate", None, self.home))
            assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        for service in SERVICES:
            for replica in range(self.replicas[service]):
                self.start(service, replica)
        self.wait()

    def config(self, name, listen, folder):
        config = {
            "tokens_file": str(self.home / "tokens.json"), "receipt_key_file": str(self.home / "receipt.key"), "replica": name,
            "log": {
                "origin": "faults.example/log", "key_file": str(self.home / "log.key"), "checkpoint_file": str(self.home / "log.checkpoint"),
            },
            "evidence": {"folder": str(self.home / "evidence"), "reserve_bytes": 0},
        }  # fmt: skip
        for service in SERVICES:
            config[service] = {"address": f"http://127.0.0.1:{self.balanced[service]}", "database_file": str(self.home / f"{service}.url")}
        if listen:
            service, replica = listen
            config[service]["listen"] = f"127.0.0.1:{self.ports[service][replica]}"
            config["admin"] = {"listen": f"127.0.0.1:{self.admin[listen]}"}
        path = folder / f"{name}.json"
        self.folder.write(path, json.dumps(config, indent=1))
        return path

    def settings(self, service, replica):
        name = f"{service}-{replica}"
        return self.folder.path / name / f"{name}.json"

    def others(self):
        return [part for service in ("intake", "routing") for part in (f"--{service}", f"http://127.0.0.1:{self.balanced[service]}")]

    def start(self, service, replica):
        name = f"{service}-{replica}"
        folder = self.folder.path / name
        if not folder.exists():
            self.folder.make(name)
        config = self.config(name, (service, replica), folder)
        command = [self.binary, "serve", service, "--config", config]
        self.running[service, replica] = self.folder.start(folder, command)

    def wait(self, seconds=60):
        """Until every replica can work."""

        def work():
            self.tend()
            return all(http(port, "/healthz")[0] == 200 for port in self.admin.values())

        until("every service works", work, seconds)

    def tend(self):
        """Starts those again that ended, as a unit or a cluster does."""
        for (service, replica), process in list(self.running.items()):
            if process.poll() is not None:
                self.restarts += 1
                self.start(service, replica)

    def measured(self):
        """Values of every replica's metrics, by name."""
        values = {}
        for port in self.admin.values():
            status, answer = http(port, "/metrics")
            for line in answer.splitlines() if status == 200 else ():
                if not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    values.setdefault(name.split("{")[0], []).append(float(value))
        return values

    def kill(self, service, replica):
        process = self.running[service, replica]
        process.kill()
        process.wait()

    def run(self, *arguments, seconds=120):
        return subprocess.run([self.binary, *arguments], env=self.folder.environment, capture_output=True, text=True, timeout=seconds)

    def ask(self, *arguments, who="operator", seconds=120):
        """A command against the services."""
        token = self.home / f"{who}.token"
        if not token.exists():
            self.folder.write(token, self.tokens[who])
        to = ["--server" if arguments[0] == "log" else "--audit", f"http://127.0.0.1:{self.balanced['audit']}", "--token-file", token]
        if arguments[0] == "log":
            to += ["--key-file", self.home / "log.vkey"]
        return self.run(*arguments, *to, seconds=seconds)
