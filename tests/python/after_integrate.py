# Runs behind the blocks of docs/integrate.md, in the same process: what no real server can be made to answer at a given
# moment, and what the guide's checks have to refuse.
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration


class Failed(grpc.RpcError):
    def __init__(self, code, *details):
        status = status_pb2.Status(code=code.value[0])
        for detail in details:
            status.details.add().Pack(detail)
        self._code, self._metadata = code, (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self):
        return self._code

    def trailing_metadata(self):
        return self._metadata


def answers(*outcomes):
    """A method that has these outcomes, one after the other, and keeps what it was sent."""
    sent, left = [], list(outcomes)

    def method(request, metadata, timeout):
        assert timeout
        sent.append(request.SerializeToString())
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return method, sent


slept = []
time.sleep = slept.append
overloaded = Failed(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    error_details_pb2.ErrorInfo(reason="OVERLOADED"),
    error_details_pb2.RetryInfo(retry_delay=Duration(nanos=500_000_000)),
)
gone = Failed(grpc.StatusCode.UNAVAILABLE)
late = Failed(grpc.StatusCode.DEADLINE_EXCEEDED)

# The same bytes, request id included, until there is an answer; never before the server's delay.
method, sent = answers(overloaded, gone, late, accepted)
assert call(method, request := intake_pb2.SubmitReportRequest(request_id="x"), sender) == accepted
assert len(sent) == 4 and set(sent) == {request.SerializeToString()}, sent
assert 0.5 <= slept[0] <= 1 and len(slept) == 3, slept

# What repeating does not help is not repeated, and nothing is repeated for ever.
for outcome, times in [(Failed(grpc.StatusCode.INVALID_ARGUMENT), 1), (gone, 8)]:
    method, sent = answers(*[outcome] * 20)
    try:
        call(method, request, sender)
        raise AssertionError("an answer from nowhere")
    except Failed as error:
        assert error is outcome and len(sent) == times, sent


def refused(check, *arguments):
    try:
        check(*arguments)
    except Exception:
        return True
    return False


# A proof that was tampered with, a checkpoint that was, and a key of another log.
path, note = list(proof.path), proof.checkpoint
assert root_of(change.entry, proof.index, size, path) == root
assert root_of(change.entry + b"x", proof.index, size, path) != root
for wrong in (path[1:], path + [path[0]], [bytes(32)] + path[1:]):
    assert refused(root_of, change.entry, proof.index, size, wrong) or (
        root_of(change.entry, proof.index, size, wrong) != root
    )
for index, entries in ((proof.index, 4 * size), (0, 1), (size, size), (-1, size)):
    assert refused(root_of, change.entry, index, entries, path), (index, entries)
assert open_checkpoint(note, vkey) == (size, root)
assert refused(open_checkpoint, note.replace(f"\n{size}\n", f"\n{size + 1}\n", 1), vkey)
assert refused(open_checkpoint, note, vkey.replace("remit.local", "other.example"))

# A chain that commits to something else, or that belongs to another entry.
first, last = followed.changes[0], followed.changes[-1]
assert open_chain(first)[:3] == (accepted.report.name, 1, bytes(32))
swapped = type(first)()
swapped.CopyFrom(first)
swapped.chain.CopyFrom(last.chain)
assert refused(open_chain, swapped)
swapped.CopyFrom(first)
swapped.chain.content = first.chain.content.replace(b"accepted", b"withdrew")
assert refused(open_chain, swapped)
print("checked")
