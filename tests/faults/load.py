"""Clients under load, whose journal is the oracle: what was acknowledged must be there, once, for ever."""

import base64
import hashlib
import itertools
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter

# Threads are all that is used beside it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
import grpc  # noqa: E402

from servers import ROOT, until

# What a client repeats; everything else is a finding.
REPEATED = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


def contract(folder):
    """Makes the clients' code of the contract, and imports it."""
    files = [str(path.relative_to(ROOT / "proto")) for path in sorted((ROOT / "proto/remit").rglob("*.proto"))]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}/proto", f"-I{ROOT}/proto/vendor", f"--python_out={folder}", f"--grpc_python_out={folder}", *files],
        check=True,
    )  # fmt: skip
    sys.path.insert(0, str(folder))


class Load:
    """Callers that submit and follow, and one that collects checkpoints, until they are stopped."""

    def __init__(self, remit, callers=4, seed=0):
        from remit.audit.v1 import audit_pb2, audit_pb2_grpc
        from remit.event.v1 import event_pb2
        from remit.intake.v1 import intake_pb2, intake_pb2_grpc

        self.audit_pb2, self.event_pb2, self.intake_pb2 = audit_pb2, event_pb2, intake_pb2
        self.remit, self.random = remit, random.Random(seed)
        self.who = (("authorization", f"Bearer {remit.tokens['operator']}"),)
        # A channel for each caller and replica, so that a hung one holds up nobody else.
        self.intakes = lambda: [
            intake_pb2_grpc.IntakeServiceStub(channel(port)) for port in remit.ports["intake"]
        ]  # fmt: skip
        self.audit = lambda: audit_pb2_grpc.AuditServiceStub(channel(remit.ports["audit"][0]))
        self.lock, self.stopped = threading.Lock(), threading.Event()
        # Request id -> name and receipt; when the call that succeeded began and ended.
        self.acknowledged, self.times, self.pending = {}, [], set()
        self.problems, self.findings, self.notes, self.followed = Counter(), [], [], Counter()
        # The worst that metrics have told.
        self.worst = Counter()
        self.callers = [threading.Thread(target=self.guarded, args=(self.submit,), daemon=True) for _ in range(callers)]
        self.callers += [threading.Thread(target=self.guarded, args=(what,), daemon=True) for what in (self.follow, self.collect, self.watch)]

    def __enter__(self):
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopped.set()
        for caller in self.callers:
            caller.join(90)
            if caller.is_alive():
                self.findings.append("a caller did not end")

    def guarded(self, what):
        try:
            what()
        except Exception as error:  # noqa: BLE001 - told at the end
            self.findings.append(f"{what.__name__} ended: {error!r}")

    def report(self, request_id):
        place = lambda factor, code: self.intake_pb2.Place(factor=factor, territory=f"territories/{code}")  # noqa: E731
        report = self.intake_pb2.Report(
            category="categories/gambling",
            # Each about a site of its own, so that each opens a case.
            subjects=[self.intake_pb2.Subject(kind=self.intake_pb2.SUBJECT_KIND_URL, value=f"https://{request_id}.example/")],
            places=[place(self.event_pb2.CONNECTING_FACTOR_OPERATOR, "450100"), place(self.event_pb2.CONNECTING_FACTOR_SERVER, "440600")],
            narrative="网站有人组织赌博",
        )  # fmt: skip
        return self.intake_pb2.SubmitReportRequest(report=report, request_id=request_id)

    def submit(self):
        intakes, turn = self.intakes(), 0
        # A request that has no answer when the load stops is repeated until it has one.
        while not self.stopped.is_set():
            request_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            request = self.report(request_id)
            with self.lock:
                self.pending.add(request_id)
            giving_up = None
            while True:
                begun = time.monotonic()
                try:
                    answer = intakes[turn % len(intakes)].SubmitReport(request, metadata=self.who, timeout=5)
                except grpc.RpcError as error:
                    self.problem("SubmitReport", error)
                    # The other replica, after a moment.
                    turn += 1
                    time.sleep(0.05)
                    if self.stopped.is_set():
                        giving_up = giving_up or time.monotonic() + 60
                        if time.monotonic() > giving_up:
                            raise AssertionError(f"{request_id} has no answer a minute after the faults") from error
                    continue
                with self.lock:
                    self.pending.discard(request_id)
                    self.acknowledged[request_id] = (answer.report.name, answer.receipt)
                    self.times.append((begun, time.monotonic()))
                time.sleep(0.05)
                break

    def follow(self):
        """What has been told of a report is never taken back, and no receipt is forgotten."""
        intakes, turn, seen = self.intakes(), 0, {}
        while not self.stopped.is_set():
            with self.lock:
                receipts = [receipt for _, receipt in self.acknowledged.values()]
            if not receipts:
                time.sleep(0.05)
                continue
            receipt = random.choice(receipts[-200:] if random.random() < 0.7 else receipts)
            turn += 1
            try:
                now = intakes[turn % len(intakes)].CheckReceipt(self.intake_pb2.CheckReceiptRequest(receipt=receipt), metadata=self.who, timeout=5)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    self.findings.append(f"a receipt that was handed out is not known: {error.details()}")
                self.problem("CheckReceipt", error)
                time.sleep(0.05)
                continue
            changes = len(now.changes)
            if changes < seen.get(receipt, 0):
                self.findings.append(f"{seen[receipt]} changes of a report became {changes}")
            seen[receipt] = changes
            self.followed["receipts"] += 1
            time.sleep(0.01)

    def collect(self):
        audit = self.audit()
        while not self.stopped.is_set():
            try:
                note = audit.GetCheckpoint(self.audit_pb2.GetCheckpointRequest(), metadata=self.who, timeout=5).checkpoint
            except grpc.RpcError as error:
                self.problem("GetCheckpoint", error)
            else:
                if not self.notes or self.notes[-1] != note:
                    self.notes.append(note)
            time.sleep(0.1)

    def watch(self):
        """What an operator sees of it."""
        while not self.stopped.is_set():
            values = self.remit.measured()
            for name in ("remit_outbox_age_seconds", "remit_log_checkpoint_age_seconds", "db_client_connection_timeouts_total"):
                self.worst[name] = max([self.worst[name], *values.get(name, ())])
            serving = values.get("remit_service_serving", [])
            self.worst["not serving"] = max(self.worst["not serving"], serving.count(0))
            time.sleep(0.5)

    def problem(self, method, error):
        code = error.code().name
        with self.lock:
            self.problems[method, code] += 1
        if code not in REPEATED:
            self.findings.append(f"{method} ended with {code}: {error.details()}")

    def first_after(self, moment, seconds=120):
        """Seconds from a moment to the first write that was asked for and accepted after it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                ended = [done for begun, done in self.times if begun > moment]
            if ended:
                return min(ended) - moment
            time.sleep(0.02)
        raise AssertionError(f"nothing was accepted within {seconds} s of the fault: {dict(self.problems)}")

    def gap(self, since):
        """Longest time without an accepted write since a moment, in seconds."""
        with self.lock:
            ends = sorted([since, time.monotonic(), *(done for _, done in self.times if done > since)])
        return max(later - earlier for earlier, later in itertools.pairwise(ends))

    def rate(self, seconds):
        since = time.monotonic() - seconds
        with self.lock:
            return sum(done > since for _, done in self.times) / seconds

    def check(self, ids):
        """Holds the journal against the services. `ids` lists a service's records. All faults are over."""
        assert not self.findings, "\n".join(self.findings[:20])
        until("health of all", lambda: set(self.remit.measured().get("remit_service_serving", [0])) == {1})
        assert not self.pending, f"without an answer: {sorted(self.pending)[:5]}"
        known = self.acknowledged
        assert known, "the load was no load"
        names = {name for name, _ in known.values()}
        assert len(names) == len(known), f"{len(known)} requests have {len(names)} reports"
        reconciled = self.remit.ask("log", "reconcile", *self.remit.others())
        assert reconciled.returncode == 0, f"`remit log reconcile` ends with {reconciled.returncode}:\n{reconciled.stdout}{reconciled.stderr}"
        verified = self.remit.ask("log", "verify")
        assert verified.returncode == 0, f"`remit log verify` ends with {verified.returncode}:\n{verified.stdout}{verified.stderr}"
        chains = self.remit.ask("log", "export", self.remit.home / "export", "--with-detail", "--purpose", "trial of faults", who="auditor")
        assert chains.returncode == 0, f"`remit log export` ends with {chains.returncode}:\n{chains.stdout}{chains.stderr}"
        chains = self.remit.run("log", "verify", self.remit.home / "export", "--key-file", self.remit.home / "log.vkey", "--with-detail")
        assert chains.returncode == 0, f"the chains do not hold:\n{chains.stdout}{chains.stderr}"
        # Nothing lost, nothing twice.
        there = {f"reports/{report}" for report in ids("intake", "reports")}
        assert there == names, f"of {len(names)} that were acknowledged {len(names - there)} are lost; {len(there - names)} are nobody's"
        cases = len(ids("routing", "cases"))
        assert cases == len(known), f"{len(known)} reports have {cases} cases"
        intakes = self.intakes()
        for _, receipt in random.sample(list(known.values()), min(500, len(known))):
            followed = intakes[0].CheckReceipt(self.intake_pb2.CheckReceiptRequest(receipt=receipt), metadata=self.who, timeout=20)
            assert followed.state == self.intake_pb2.REPORT_STATE_ROUTED, f"{followed.state} is no end"
            assert followed.changes and all(change.logged for change in followed.changes), "not all is logged"
        self.check_notes()
        return len(known)

    def check_notes(self):
        """Every checkpoint that was ever published is of this log: its root is that of the first so many entries."""
        audit, leaves, token = self.audit(), [], ""
        while True:
            page = audit.ListChanges(self.audit_pb2.ListChangesRequest(page_size=1000, page_token=token), metadata=self.who, timeout=30)
            leaves += [hashlib.sha256(b"\0" + change.entry).digest() for change in page.changes]
            token = page.next_page_token
            if not token:
                break
        heads = {}
        for note in self.notes:
            origin, size, root = note.split("\n")[:3]
            heads.setdefault(int(size), set()).add((origin, root))
        contradicted = [size for size, roots in heads.items() if len(roots) > 1]
        assert not contradicted, f"two checkpoints of {contradicted[0]} entries contradict each other"
        assert max(heads) <= len(leaves), f"a checkpoint covers {max(heads)} entries, and there are {len(leaves)}"
        for size, roots in heads.items():
            (_, root) = next(iter(roots))
            assert base64.b64decode(root) == tree(leaves, size), f"the checkpoint of {size} entries is not of this log"

    def summary(self):
        repeated = ", ".join(f"{method} {code} {count}" for (method, code), count in sorted(self.problems.items()))
        return f"{len(self.acknowledged)} reports, {self.followed['receipts']} looks at receipts, {len(self.notes)} checkpoints; repeated: {repeated or 'nothing'}; metrics at their worst: {dict(self.worst)}"


def tree(leaves, size):
    """RFC 6962's root of the first so many leaves."""
    stack = []
    for index in range(size):
        hashed = leaves[index]
        while index & 1:
            hashed = hashlib.sha256(b"\1" + stack.pop() + hashed).digest()
            index >>= 1
        stack.append(hashed)
    if not stack:
        return hashlib.sha256().digest()
    root = stack.pop()
    while stack:
        root = hashlib.sha256(b"\1" + stack.pop() + root).digest()
    return root


def channel(port):
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options)
