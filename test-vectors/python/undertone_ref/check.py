"""Checks every vector below a directory.

    python -m undertone_ref.check DIR [--schema FILE] [--longest N]

Prints how many vectors of each family agree, and every disagreement. Exits with
1 if there is one, or if there is nothing to check.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from .conversation import World
from .draws import DrawError
from .operations import perform
from .refused import Refused
from .schema import Schema
from .values import Text, agrees, load, shown

FORMAT = "undertone-vectors/1"
# Random conversations beyond this many take more than minutes: `--longest`.
LONGEST = 1_000


class Disagreement(Exception):
    pass


def demand(condition: bool, text: str) -> None:
    if not condition:
        raise Disagreement(text)


def check_file(path: Path, schema: Schema, longest: int) -> bool:
    """Whether the vector was checked; Disagreement if it does not agree."""
    vector = load(path)
    errors = schema.errors(vector)
    demand(not errors, f"breaks the schema: {'; '.join(errors)[:500]}")
    demand(vector["format"] == FORMAT, f"format {vector['format']}")
    demand(vector["family"] == path.parent.name, "stands in another family's directory")
    demand(vector["name"] == path.stem, "is named otherwise than its file")
    if vector["op"] == "conversation":
        check_conversation(vector)
    elif vector["op"] == "random-conversations" and vector["input"]["count"] > longest:
        return False
    else:
        check_operation(vector)
    return True


def check_operation(vector: dict) -> None:
    try:
        out = perform(vector["op"], vector["input"])
    except Refused as refused:
        demand(vector["result"] == "refused", f"is valid, and was refused by {refused}")
        demand(refused.rule == vector["rule"], f"{vector['rule']} expected: {refused}")
        return
    demand(vector["result"] == "valid", f"{vector.get('rule')} expected, and was not refused")
    demand(
        agrees(vector["output"], out),
        f"expected {shown(vector['output'])}, got {shown(out)}",
    )


# Members of a step that are neither results nor inputs.
_STEP = {"do", "draws", "intermediate", "refused"}
INPUTS = {
    "person": {"person", "account_secret", "devices", "device", "counter"},
    "link": {"link", "link_secret"},
    "bundle": {"bundle", "person", "link", "kind", "expiry", "route"},
    "initiate": {
        "session", "person", "link", "bundle", "sealed", "fingerprint", "today", "record", "route",
    },
    "seal": {"session", "content", "envelope"},
    "receive": {"person", "link", "envelope", "bytes", "today", "record", "session", "lookup"},
    "open": {"session", "envelope", "bytes", "today"},
    "expire": {"session", "today"},
    "state": {"session"},
    "reload": {"session"},
    "copy": {"session", "as"},
    "load": {"session", "person", "stored"},
    "delete": {"session"},
    "edit": {"envelope", "of", "xor", "at"},
    "forget": {"bundle"},
}
# The results whose names are those of inputs of the same step.
_RESULTS_TOO = {("repeat", "session"), ("ordinary", "session")}


def expected_results(step: dict) -> dict:
    inputs = INPUTS[step["do"]] | _STEP
    if step["do"] == "seal":
        inputs = inputs - {"bytes"}
    out = {name: value for name, value in step.items() if name not in inputs}
    if (step.get("outcome"), "session") in _RESULTS_TOO:
        out["session"] = step["session"]
    return out


def check_conversation(vector: dict) -> None:
    world, last_refused = World(), None
    for n, step in enumerate(vector["steps"]):
        where = f"step {n} ({step['do']})"
        before, trace = world.stored(), {}
        try:
            out = world.do(step, trace=trace)
        except Refused as refused:
            demand("refused" in step, f"{where} was refused by {refused}")
            wanted = step["refused"]
            demand(refused.rule == wanted, f"{where}: {wanted} expected: {refused}")
            demand(world.stored() == before, f"{where} was refused and changed a state")
            last_refused = refused.rule
            continue
        except DrawError as error:
            raise Disagreement(f"{where}: {error}") from error
        wanted = step.get("refused")
        demand(wanted is None, f"{where}: {wanted} expected, and was not refused")
        demand(
            agrees(expected_results(step), out),
            f"{where}: expected {shown(expected_results(step))}, got {shown(out)}",
        )
        check_intermediate(where, step.get("intermediate", {}), trace)
    if vector["result"] == "refused":
        demand(last_refused == vector["rule"], f"{vector['rule']} is not that of the last refusal")


def check_intermediate(where: str, expected: dict, trace: dict) -> None:
    if trace.get("message") and trace["message"]["run"] is not None:
        run = trace["message"]["run"]
        trace["message"]["run"] = {
            "kind": run.kind, "epoch": run.epoch, "first": run.first, "count": run.count,
            "tag": run.tag,
        }
    for name, value in expected.items():
        demand(name in trace, f"{where}: no {name} on the way")
        got = trace[name]
        for member, v in value.items():
            demand(
                member in got and agrees(v, plain(got[member])),
                f"{where}: {name}.{member} is {shown(plain(got.get(member)))}, not {shown(v)}",
            )


def plain(value):
    """A word of a trace as text."""
    return Text(value) if type(value) is str else value


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m undertone_ref.check")
    parser.add_argument("dir", type=Path)
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--schema", type=Path, default=here / "schema/undertone-vectors-1.json")
    parser.add_argument("--longest", type=int, default=LONGEST,
                        help="random conversations up to this many are played")
    arguments = parser.parse_args()
    schema = Schema(load(arguments.schema))
    good, bad, passed_over = Counter(), 0, []
    for path in sorted(arguments.dir.glob("*/*.json")):
        try:
            if check_file(path, schema, arguments.longest):
                good[path.parent.name] += 1
            else:
                passed_over.append(path)
        except Exception as error:  # every file is to be told, whatever it breaks
            bad += 1
            print(f"{path}: {type(error).__name__}: {error}")
    for family, count in sorted(good.items()):
        print(f"{family:14} {count}")
    for path in passed_over:
        print(f"not played, --longest is {arguments.longest}: {path}")
    print(f"{sum(good.values())} agree, {bad} disagree")
    return 1 if bad or not good else 0


if __name__ == "__main__":
    sys.exit(main())
