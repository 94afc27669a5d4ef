#!/usr/bin/env python3
"""Breaks what Remit stands on, under load, and holds what clients were told against what is there: `test.py BINARY [SCENARIO…]`.

`failover` is PostgreSQL on three nodes under Patroni, with synchronous replication: its leader is killed, stopped, cut off, and
changed as planned. `split` stops Patroni alone, so that an old leader goes on beside the new one. `pooler` puts PgBouncer in transaction mode between; `serializable` makes every transaction so; `sqlite` is a file for each
service. In these, Remit's services are killed, too. `operations` is what an operator does by day: restarts, tokens, keys, a switch-over. REMIT_FAULTS says for how many seconds faults are made, about, each at least once; with the default all takes ten minutes.
"""

import itertools
import os
import random
import signal
import statistics
import sys
import time
from pathlib import Path

import load
from servers import TTL, Cluster, Files, Folder, Pooler, Remit, http, processes, send, until

SECONDS = int(os.environ.get("REMIT_FAULTS", "330"))
SEED = int(os.environ.get("REMIT_TEST_SEED") or random.SystemRandom().getrandbits(32))


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Trial:
    """Databases, and Remit on them."""

    def __init__(self, folder, binary, databases, through=None):
        self.cluster, self.random, self.took = databases, random.Random(SEED), {}
        pooler = through(databases) if through else None
        self.remit = Remit(folder, binary, databases.REPLICAS, lambda service: databases.url(service, pooler and pooler.port))
        if not (contract := folder.path / "contract").exists():
            contract.mkdir()
            load.contract(contract)

    def whole(self):
        """Whether the next fault can be made."""
        until("a leader and two more", lambda: self.cluster.leader() and len(self.cluster.alive()) == 3, 120)
        self.remit.tend()
        try:
            return until("a synchronous standby that Patroni names", self.cluster.is_whole, 60)
        except AssertionError:
            # Patroni 3.0.2, of a leader that was stopped and went on. Remit is not concerned.
            say("Patroni names no synchronous standby any more, and would find no candidate: no further faults")
            return False

    def measure(self, name, moment, clients):
        took = clients.first_after(moment)
        self.took.setdefault(name, []).append(took)
        say(f"{name}: the first write after {took:.1f} s")

    def figures(self):
        for name, took in self.took.items():
            say(f"{name}: {len(took)} times, first write after p50 {statistics.median(took):.1f} s, p99 {percentile(took, 0.99):.1f} s")
        hard = [each for name, took in self.took.items() if "of the leader" in name and "election" not in name for each in took]
        if hard:
            say(f"leader lost: {len(hard)} times, first write after p50 {statistics.median(hard):.1f} s, p99 {percentile(hard, 0.99):.1f} s")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def switch_over(trial, clients):
    """As before maintenance."""

    def done():
        nonlocal moment
        leader, moment = trial.cluster.leader(), time.monotonic()
        # Refused while the synchronous standby has not caught up.
        return leader and http(leader.rest, "/switchover", {"leader": leader.name}, timeout=60)[0] == 200

    moment = None
    until("a switch-over", done)
    trial.measure("planned switch-over", moment, clients)


def machine_dies(trial, clients):
    leader = trial.cluster.leader()
    leader.kill()
    # Behind the fault: what is asked for from now on, another has to answer.
    moment = time.monotonic()
    trial.measure("machine of the leader killed", moment, clients)
    leader.start()


def server_dies(trial, clients):
    """PostgreSQL alone: Patroni starts it again in its place."""
    leader = trial.cluster.leader()
    send(processes(leader.folder / "data"), signal.SIGKILL)
    moment = time.monotonic()
    trial.measure("PostgreSQL of the leader killed", moment, clients)


def machine_stops(trial, clients):
    """And goes on later, believing that it leads."""
    leader = trial.cluster.leader()
    stopped = processes(leader.folder)
    send(stopped, signal.SIGSTOP)
    moment = time.monotonic()
    try:
        trial.measure("machine of the leader stopped", moment, clients)
    finally:
        send(stopped, signal.SIGCONT)


def patroni_stops(trial, clients):
    """PostgreSQL still takes writes when another is elected: no standby confirms them, so none is acknowledged."""
    leader = trial.cluster.leader()
    stopped = leader.patroni()
    send(stopped, signal.SIGSTOP)
    try:
        # Connections that are open go on, until the next leader is there.
        until("another leader", lambda: (found := trial.cluster.leader()) and found is not leader, TTL + 40)
        trial.measure("Patroni of the leader stopped, after the election", time.monotonic(), clients)
    finally:
        send(stopped, signal.SIGCONT)


def kept(fault):
    """With an address that follows the leader, but leaves open connections where they are."""

    def run(trial, clients):
        say("(the address keeps open connections where they are)")
        trial.cluster.mode.write_text("keep")
        try:
            fault(trial, clients)
        finally:
            trial.cluster.mode.write_text("cut")

    return run


FAILOVERS = [machine_dies, switch_over, server_dies, machine_stops]


def service_dies(trial, clients):
    service, replica = trial.random.choice(list(trial.remit.running))
    moment = time.monotonic()
    trial.remit.kill(service, replica)
    time.sleep(trial.random.uniform(0, 0.5))
    trial.remit.tend()
    trial.remit.wait()
    trial.measure("service killed", moment, clients)


def drain(trial, service, replica):
    """Stops one as a unit or a cluster does, and starts it again."""
    process = trial.remit.running[service, replica]
    process.terminate()
    assert process.wait(60) == 0, f"{service} ends with {process.returncode} on SIGTERM"
    trial.remit.start(service, replica)
    trial.remit.wait()


def restarts(trial, clients):
    """Every replica, one after the other, as for an upgrade."""
    moment = time.monotonic()
    for service, replica in list(trial.remit.running):
        drain(trial, service, replica)
    trial.measure("every service restarted in turn", moment, clients)


def tokens(trial, clients):
    remit, file = trial.remit, trial.remit.home / "tokens.json"
    moment = time.monotonic()
    for arguments in (["rotate", "intake"], ["rotate", "routing"], ["add", "--role", "partner", "--system", "bank"], ["list"], ["revoke", "bank"]):
        done = remit.run("token", *arguments, "--file", file)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
    trial.measure("tokens rotated", moment, clients)


def log_key(trial, clients):
    """In two steps, as docs/log-operations.md says."""
    moment = time.monotonic()
    for step in ([], ["--finish"]):
        done = trial.remit.run("log", "key", "rotate", *step, "--config", trial.remit.settings("audit", 0))
        assert done.returncode == 0, done.stdout + done.stderr
        drain(trial, "audit", 0)
    trial.measure("log's key rotated", moment, clients)


def patronictl(trial, clients):
    """A switch-over as an operator types it."""
    leader = trial.cluster.leader()
    candidate = next(member["name"] for member in trial.cluster.members() if member["role"] == "sync_standby")
    moment = time.monotonic()
    trial.cluster.patronictl("switchover", "remit", "--leader", leader.name, "--candidate", candidate, "--force")
    trial.measure("patronictl switchover", moment, clients)


def questions(trial, clients):
    """That nothing is late or lost is what is answered, soon after whatever was."""
    remit = trial.remit
    for command in (["migrate", "--check", "--config", remit.settings("intake", 0)], ["health", "intake", "--config", remit.settings("intake", 0)]):
        done = remit.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    end = time.monotonic() + 60
    while (asked := remit.ask("status", *remit.others())).returncode:
        assert time.monotonic() < end, f"`remit status` ends with {asked.returncode}:\n{asked.stdout}{asked.stderr}"
        time.sleep(1)


OPERATIONS = [restarts, tokens, patronictl, log_key, questions]


def run(trial, faults, seconds, pause):
    end = time.monotonic() + seconds
    with load.Load(trial.remit, seed=trial.random.getrandbits(32)) as clients:
        until("the load is under way", lambda: len(clients.acknowledged) > 50)
        say(f"load: {clients.rate(2):.0f} reports a second")
        # Each at least once.
        for count in itertools.count():
            if count >= len(faults) and time.monotonic() > end:
                break
            begun = time.monotonic()
            faults[count % len(faults)](trial, clients)
            is_whole = trial.whole()
            say(f"    until all was whole again, {time.monotonic() - begun:.0f} s; the longest time without an accepted write, {clients.gap(begun):.1f} s")
            time.sleep(trial.random.uniform(0.2, pause))
            assert not clients.findings, clients.findings[0]
            if not is_whole:
                break
        clients.stop()
        say(clients.summary())
        count = clients.check(trial.cluster.ids)
        trial.figures()
        say(f"{count} acknowledged: none lost, none twice; the log verifies, no checkpoint contradicts another, services and log agree; "
            f"services restarted {trial.remit.restarts} times")  # fmt: skip


def failover(folder, binary):
    run(Trial(folder, binary, Cluster(folder)), FAILOVERS, SECONDS / 2, 2)


def stale(folder, binary):
    """Fails where the old leader, going on, still answers reads over connections that nobody ended: docs/operate.md. Not among the default."""
    run(Trial(folder, binary, Cluster(folder)), [kept(machine_stops)], 0, 1)


def split(folder, binary):
    run(Trial(folder, binary, Cluster(folder)), [patroni_stops], 0, 1)


def pooler(folder, binary):
    run(Trial(folder, binary, Cluster(folder), Pooler), [machine_dies, switch_over, service_dies], SECONDS / 12, 1)


def serializable(folder, binary):
    cluster = Cluster(folder, "default_transaction_isolation = serializable")
    run(Trial(folder, binary, cluster), [service_dies, switch_over], SECONDS / 12, 1)


def operations(folder, binary):
    run(Trial(folder, binary, Cluster(folder)), OPERATIONS, SECONDS / 12, 1)


def sqlite(folder, binary):
    run(Trial(folder, binary, Files(folder)), [service_dies], SECONDS / 12, 1)


SCENARIOS = {"failover": failover, "split": split, "pooler": pooler, "serializable": serializable, "operations": operations, "sqlite": sqlite, "stale": stale}


def main():
    binary = Path(sys.argv[1]).resolve()
    chosen = sys.argv[2:] or [name for name in SCENARIOS if name != "stale"]
    say(f"seed {SEED} (REMIT_TEST_SEED)")
    for name in chosen:
        say(f"--- {name}")
        folder = Folder()
        try:
            SCENARIOS[name](folder, binary)
        except BaseException:
            tail(folder)
            raise
        finally:
            folder.close()


def tail(folder):
    """The last lines of every log, before they go."""
    for log in sorted(folder.path.glob("*/log")):
        lines = log.read_text(errors="replace").splitlines()
        if os.environ.get("REMIT_FAULTS_LOGS"):
            kept = Path(os.environ["REMIT_FAULTS_LOGS"])
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{log.parent.name}.log").write_text("\n".join(lines))
        print(f"--- {log.parent.name}", *lines[-12:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
