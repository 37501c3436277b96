#!/usr/bin/env python3
"""Verifies `runwright audit export` without runwright: verify-export.py FILE [RUN=HASH...]

Checks every hash, the order of events and runs, counts, and heads that were kept elsewhere (RUN=HASH). Of signatures it
checks what they are over, not who made them: `runwright audit verify --export FILE --key KEY.pub` does.
"""
import hashlib
import json
import sys


def digest(*fields):
    fields = [field.to_bytes(8, "big", signed=True) if isinstance(field, int) else field for field in fields]
    return hashlib.sha256(b"".join(len(field).to_bytes(8, "big") + field for field in fields)).hexdigest()


def check(holds, what):
    if not holds:
        sys.exit(f"FAULT {what}")


kept = [head.split("=") for head in sys.argv[2:]]
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
check(lines and lines[0]["line"] == "export" and lines[0]["v"] == 1, "it is no export of version 1")
check(lines[-1]["line"] == "end", "it was cut off: the last line is missing")
runs, hashes, number, first = {}, {}, 0, None
for line in lines[1:-1]:
    run = line["run"]
    if line["line"] == "run":
        check(run not in runs, f"run {run}: it is there twice")
        check(line["number"] == number + 1 if lines[0]["whole"] else line["number"] > number, f"run {run}: one before it is missing")
        check(line["number"] != number + 1 or line["previous"] == first or not (number or lines[0]["whole"]), f"run {run}: it follows another run")
        number, first, current = line["number"], line["first"], run
        runs[run], hashes[run] = line, []
        continue
    check(run in runs and run == current, f"run {run}: a line of it stands elsewhere")
    text = {name: value.encode() for name, value in line.items() if isinstance(value, str)}
    if line["line"] == "event":
        before = hashes[run][-1] if hashes[run] else runs[run]["previous"]
        check(line["seq"] == len(hashes[run]) + 1, f"run {run}: event {len(hashes[run]) + 1} is missing")
        made = digest(bytes.fromhex(before or ""), text["run"], line["seq"], line["at"], text["kind"], text["step"], text["data"])
        check(made == line["hash"], f"run {run}: event {line['seq']} was changed")
        hashes[run].append(made)
    elif line["line"] == "stone":
        ends = [bytes.fromhex(line[name]) for name in ("first", "last")]
        made = digest(b"stone", text["run"], *ends, line["events"], line["at"], text["who"], text["why"])
        check(line["hash"] in (made, None), f"run {run}: its stone was changed")
        hashes[run] = [line["first"]] + [None] * (line["events"] - 2) + [line["last"]][: line["events"] - 1]
    elif line["line"] == "signature":
        stands = hashes[run][line["seq"] - 1 : line["seq"]]
        check(stands == [line["hash"]], f"run {run}: event {line['seq']}, which was signed, is another one or gone")
for run, line in runs.items():
    there = hashes[run]
    check((len(there), there[:1], there[-1:]) == (line["events"], [line["first"]], [line["head"]]), f"run {run}: its end was cut")
for run, head in kept:
    check(head in hashes.get(run, []), f"run {run}: the kept head {head} is not in it")
events = sum(line["line"] == "event" for line in lines)
check((lines[-1]["runs"], lines[-1]["events"]) == (len(runs), events), "runs or events are missing: the counts differ")
print(f"all holds: {len(runs)} runs, {events} events")
