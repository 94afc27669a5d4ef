#!/usr/bin/env python3
"""Writes the test vectors of the log's bytes: entry-v1.json here, bundle-v1.json in ../../audit/vectors.

A second implementation of the formats, from their tables alone, that shares nothing with the Rust code; the tests hold that code
against what it writes. Needs Python 3 and nothing else:

    python3 crates/journal/vectors/make.py

What `bundle-v1.json` says of details and of paths is kept as it is.
"""

import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).parent
BUNDLES = HERE / "../../audit/vectors/bundle-v1.json"
ZEROS = bytes(32)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def text(value):
    raw = value.encode()
    return bytes([len(raw)]) + raw


def chain(record, sequence, previous, kind):
    return text(record) + sequence.to_bytes(8, "big") + previous + text(kind)


def header(kind, entry_id, time, source):
    return bytes([1, kind]) + bytes.fromhex(entry_id.replace("-", "")) + time.to_bytes(8, "big", signed=True) + text(source)


LAST = (2**48 - 1) // 1000


def uuid7(time, random):
    """The id of a second (UUID version 7) from 20 hexadecimal digits: the first gives way to the version, the fifth to the variant."""
    digits = f"{time * 1000:012x}7{random[1:4]}{int(random[4], 16) & 3 | 8:x}{random[5:]}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def change(entry_id, time, source, chain_salt, chain_bytes, detail_salt, detail):
    commitments = sha256(b"remit-chain-v1", chain_salt, chain_bytes) + sha256(b"remit-detail-v1", detail_salt, detail)
    return header(1, entry_id, time, source) + commitments


def mark(entry_id, time, source, hashes):
    total = sum(int.from_bytes(h, "big") for h in hashes) % 2**256
    return header(2, entry_id, time, source) + len(hashes).to_bytes(8, "big") + total.to_bytes(32, "big")


def leaf(entry):
    return sha256(b"\0", entry)


def salt(seed):
    return sha256(b"salt of a test vector, number %d" % seed)


REPORT = "reports/6f1d2c3b-4a59-4687-8776-665544332211"
CASE = "cases/0b1c2d3e-4f50-4162-9384-a5b6c7d8e9f0"
changes, made = [], []


def add(name, entry_id, time, source, record, sequence, previous, kind, detail):
    chain_bytes = chain(record, sequence, previous, kind)
    chain_salt, detail_salt = salt(2 * len(changes)), salt(2 * len(changes) + 1)
    entry = change(entry_id, time, source, chain_salt, chain_bytes, detail_salt, detail)
    made.append((entry, (chain_salt, chain_bytes, detail_salt, detail)))
    changes.append({
        "name": name, "entry_id": entry_id, "time": time, "source": source,
        "record": record, "sequence": sequence, "previous": previous.hex(), "kind": kind,
        "chain_salt": chain_salt.hex(), "chain": chain_bytes.hex(),
        "detail_salt": detail_salt.hex(), "detail": detail.hex(),
        "entry": entry.hex(), "hash": leaf(entry).hex(),
    })
    return leaf(entry)


def detail(from_state, to_state, caused_by=""):
    field = lambda number, value: varint(number << 3 | 2) + varint(len(value)) + value.encode() if value else b""
    return field(1, from_state) + field(2, to_state) + field(23, caused_by)


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


NOON = 1795305600
IDS = [uuid7(NOON, "0a119c3d0123456789ab"), uuid7(NOON, "0b228d4e1123456789ab"), uuid7(NOON, "0c339e5f2123456789ab"),
       uuid7(0, "00000000000000000001"), uuid7(LAST, "f" * 20)]
first = add("first change of a report", IDS[0], NOON, "intake", REPORT, 1, ZEROS, "report.accepted", detail("", "ACCEPTED"))
add("a case opened because of it", IDS[1], NOON, "routing", CASE, 1, ZEROS, "case.opened", detail("", "ASSIGNED", IDS[0]))
second = add("second change of the report, linked to the first", IDS[2], NOON, "intake", REPORT, 2, first,
             "report.routed", detail("ACCEPTED", "ROUTED", IDS[1]))
add("the earliest time and an empty detail", IDS[3], 0, "audit", "producers/intake", 1, ZEROS, "producer.frozen", b"")
add("the longest texts, the greatest sequence and the latest time", IDS[4], LAST, "z" * 255, "R" * 255, 2**64 - 1,
    bytes([255]) * 32, "k" * 255, b"x")

marks = []
for name, entry_id, time, source, hashes in [
    ("nothing yet", uuid7(0, "1" * 20), 0, "routing", []),
    ("the report's changes", uuid7(NOON + 2, "2" * 20), NOON + 2, "intake", [first, second]),
    ("a sum that wraps around", uuid7(5, "3" * 20), 5, "routing", [bytes([255]) * 32, b"\0" * 31 + b"\2"]),
]:
    entry = mark(entry_id, time, source, hashes)
    marks.append({"name": name, "entry_id": entry_id, "time": time, "source": source, "count": len(hashes),
                  "hashes": [h.hex() for h in hashes], "set_hash": entry[-32:].hex(), "entry": entry.hex(), "hash": leaf(entry).hex()})

good = made[0][0]
bad_source = lambda source: good[:26] + source + good[33:]
no_id = "its id is not a UUID (version 7) of its second"
malformed_entries = [
    ("unknown version", b"\2" + good[1:], "version 2 is unknown"),
    ("unknown type", good[:1] + b"\3" + good[2:], "type 3 is unknown"),
    ("an id of another version", good[:8] + b"\x4a" + good[9:], no_id),
    ("an id of another variant", good[:10] + b"\xcc" + good[11:], no_id),
    ("an id that tells the millisecond", good[:7] + bytes([good[7] + 1]) + good[8:], no_id),
    ("an id of the second before", good[:2] + bytes.fromhex(uuid7(NOON - 1, "0" * 20).replace("-", "")) + good[18:], no_id),
    ("a time past what an id can say", good[:18] + (LAST + 1).to_bytes(8, "big") + good[26:], "its time is out of range"),
    ("a time before 1970", good[:18] + (-1).to_bytes(8, "big", signed=True) + good[26:], "its time is out of range"),
    ("nothing at all", b"", "it ends inside version"),
    ("one byte short", good[:-1], "it ends inside detail commitment"),
    ("one byte too many", good + b"\0", "1 bytes follow the last field"),
    ("a change said to be a mark", good[:1] + b"\2" + good[2:], "24 bytes follow the last field"),
    ("empty source", bad_source(b"\0"), "source is empty or has a character that it may not have"),
    ("upper case in the source", bad_source(b"\6Intake"), "source is empty or has a character that it may not have"),
    ("a slash in the source", bad_source(b"\6in/ake"), "source is empty or has a character that it may not have"),
    ("a source that is longer than what follows", bad_source(b"\xffintake"), "it ends inside source"),
]
link = "the first change has a link, or a later one has none"
chars = lambda field: f"{field} is empty or has a character that it may not have"
malformed_chains = [
    ("nothing at all", b"", "it ends inside record"),
    ("one byte short", made[0][1][1][:-1], "it ends inside kind"),
    ("one byte too many", made[0][1][1] + b"\0", "1 bytes follow the last field"),
    ("first change with a link", chain(REPORT, 1, first, "report.accepted"), link),
    ("a later change without a link", chain(REPORT, 2, ZEROS, "report.routed"), link),
    ("sequence 0", chain(REPORT, 0, ZEROS, "report.accepted"), link),
    ("sequence 0 with a link", chain(REPORT, 0, first, "report.accepted"), link),
    ("empty record", chain("", 1, ZEROS, "report.accepted"), chars("record")),
    ("a space in the record", chain("reports/ 1", 1, ZEROS, "report.accepted"), chars("record")),
    ("a record that is not ASCII", chain("reports/举报", 1, ZEROS, "report.accepted"), chars("record")),
    ("empty kind", chain(REPORT, 1, ZEROS, ""), chars("kind")),
    ("upper case in the kind", chain(REPORT, 1, ZEROS, "Report.accepted"), chars("kind")),
    ("an underscore in the kind", chain(REPORT, 1, ZEROS, "report_accepted"), chars("kind")),
]
entries = {
    "about": "Canonical entry, version 1. Bytes in lower-case hex, times in seconds since 1970-01-01 UTC. The chain commitment is SHA-256(\"remit-chain-v1\" + chain_salt + chain), "
             "the detail commitment SHA-256(\"remit-detail-v1\" + detail_salt + detail); hash = SHA-256(00 + entry); a mark's set_hash is the "
             "sum of the hashes modulo 2^256. Made by make.py. Vectors are added to, never changed.",
    "changes": changes,
    "marks": marks,
    "malformed_entries": [{"name": n, "entry": e.hex(), "error": w} for n, e, w in malformed_entries],
    "malformed_chains": [{"name": n, "chain": c.hex(), "error": w} for n, c, w in malformed_chains],
}


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", root(leaves[:split]), root(leaves[split:]))


def bundles(whole):
    entry_bundle = b"".join(len(entry).to_bytes(2, "big") + entry for entry, _ in whole)
    detail_bundle = b""
    for _, opening in whole:
        if opening is None:
            detail_bundle += b"\0\0"
            continue
        chain_salt, chain_bytes, detail_salt, content = opening
        detail_bundle += len(chain_bytes).to_bytes(2, "big") + chain_salt + chain_bytes
        detail_bundle += detail_salt + len(content).to_bytes(4, "big") + content
    leaves = [leaf(entry) for entry, _ in whole]
    return entry_bundle, detail_bundle, b"".join(leaves), root(leaves)


def valid(name, whole):
    entry_bundle, detail_bundle, tile, tree = bundles(whole)
    opening = lambda o: o and dict(zip(("chain_salt", "chain", "detail_salt", "detail"), (part.hex() for part in o)))
    return {"name": name, "entries": [e.hex() for e, _ in whole], "openings": [opening(o) for _, o in whole],
            "entry_bundle": entry_bundle.hex(), "detail_bundle": detail_bundle.hex(), "tile": tile.hex(), "root": tree.hex()}


marked = made + [(bytes.fromhex(m["entry"]), None) for m in marks]
odd = [(b"", (salt(100), b"c", salt(101), b"")), (b"e", (salt(102), b"c" * 300, salt(103), b"d" * 300))]
full = [(i.to_bytes(2, "big"), (bytes([i]) * 32, bytes([i]) * (i + 1), bytes([i]) * 32, bytes([i]) * i)) for i in range(256)]
_, one, _, _ = bundles(made[:1])
entry_of_one, _, _, _ = bundles(made[:1])
chain_end = 2 + 32 + len(made[0][1][1])
malformed = [
    ("one byte of a length", "entries", b"\0"),
    ("no byte of the entry", "entries", entry_of_one[:2]),
    ("ends inside the entry", "entries", entry_of_one[:-1]),
    ("a second length without an entry", "entries", entry_of_one + b"\0\1"),
    ("one byte of a chain's length", "details", one[:1]),
    ("ends inside the chain's salt", "details", one[:33]),
    ("ends inside the chain", "details", one[:chain_end - 1]),
    ("ends inside the detail's salt", "details", one[:chain_end + 31]),
    ("ends inside the detail's length", "details", one[:chain_end + 35]),
    ("ends inside the detail", "details", one[:-1]),
    ("a length beyond the end", "details", one[:chain_end + 32] + b"\xff" * 4),
    ("a mark, and then half a length", "details", b"\0\0\0"),
]
kept = json.loads(BUNDLES.read_text())
full_entries, full_details, full_tile, full_root = bundles(full)
bundle_file = {
    "about": "Bundles of a log's files. Bytes in lower-case hex. An entry bundle has, for each entry, its length in 2 bytes big-endian and the "
             "entry (C2SP tlog-tiles). A detail bundle has, for each change, the length of the chain in 2 bytes big-endian, the chain's salt of "
             "32 bytes, the chain, the detail's salt of 32 bytes, the length of the detail in 4 bytes big-endian and the detail; for each mark 2 "
             "zero bytes. The tile has the RFC 6962 leaf hashes, SHA-256(00 + entry); the root is that of the tree of these entries. Made by "
             "crates/journal/vectors/make.py. Vectors are added to, never changed.",
    "valid": [
        valid("one change", made[:1]),
        valid("the entries of entry-v1.json, marks behind changes", marked),
        valid("an entry without bytes, and details of no and of 300 bytes", odd),
    ],
    "full": {
        "name": "256 entries, the number of each in 2 bytes; of number i a chain of i + 1 and a detail of i bytes i, with salts of bytes i",
        "count": 256, "entry_bundle_sha256": sha256(full_entries).hex(), "detail_bundle_sha256": sha256(full_details).hex(),
        "tile_sha256": sha256(full_tile).hex(), "root": full_root.hex(),
    },
    "malformed": [{"name": n, "bundle": b, "bytes": v.hex()} for n, b, v in malformed],
    "paths": kept["paths"], "about_details": kept["about_details"], "details": kept["details"],
}
for path, content in ((HERE / "entry-v1.json", entries), (BUNDLES, bundle_file)):
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
