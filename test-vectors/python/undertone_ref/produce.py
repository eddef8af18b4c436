"""Makes vectors of its own, in the format of test-vectors/README.md.

    python -m undertone_ref.produce DIR [--check]

What it draws comes from one stream for each file, so that the files are always
the same. With --check it writes nothing and says which files differ.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from .conversation import World
from .draws import Recorded, Stream
from .operations import perform
from .primitives import sha256
from .refused import Refused
from .values import to_json, unhex

FORMAT = "undertone-vectors/1"
# Steps that name their draws, be it that there are none.
DRAWING = {"bundle", "initiate", "seal"}
# Results that are longer stand as a hash.
LONGEST_RESULT = 200


def shortened(value):
    """Results as they stand in a file."""
    if isinstance(value, (bytes, bytearray)) and len(value) > LONGEST_RESULT:
        return {"sha256": hashlib.sha256(value).hexdigest(), "length": len(value)}
    return to_json(value)


def in_file(step: dict, out: dict) -> dict:
    """Only *expected* values may be hashes: which these are depends on the step."""
    may = {
        "bundle": {"sealed", "stored"},
        "seal": {"bytes"},
        "receive": {"content"},
        "open": {"content"},
        "state": {"stored"},
        "file-seal": {"blob"},
        "backup-write": {"file"},
        "file-open": {"content"},
        "chunk-open": {"content"},
        "content-write": {"content"},
        "state-read": {"stored"},
    }.get(step, set())
    return {n: shortened(v) if n in may else to_json(v) for n, v in out.items()}


class Script:
    """A conversation that is being written down."""

    def __init__(self, stream: Stream):
        self.stream = stream
        self.world = World()
        self.steps: list[dict] = []
        self.last_refused: str | None = None

    def do(self, **step) -> dict:
        step = to_json(step)
        draw = Recorded(self.stream)
        out = self.world.do(step, draw)
        if step["do"] in DRAWING:
            step["draws"] = [{"name": n, "value": v.hex()} for n, v in draw.drawn]
        self.steps.append(step | in_file(step["do"], out))
        return out

    def refuse(self, rule: str, **step) -> None:
        step = to_json(step)
        draw, before = Recorded(self.stream), self.world.stored()
        try:
            self.world.do(step, draw)
        except Refused as refused:
            if refused.rule != rule:
                raise AssertionError(f"{rule} was meant: {refused}") from refused
        else:
            raise AssertionError(f"{rule} was meant, nothing refused {step['do']}")
        assert self.world.stored() == before
        if step["do"] in DRAWING:
            step["draws"] = [{"name": n, "value": v.hex()} for n, v in draw.drawn]
        self.steps.append(step | {"refused": rule})
        self.last_refused = rule


class Maker:
    """Collects the files."""

    def __init__(self):
        self.files: dict[str, str] = {}

    def stream(self, family: str, name: str) -> Stream:
        return Stream(sha256(f"produced {family} {name}".encode()))

    def _keep(self, vector: dict) -> None:
        path = f"{vector['family']}/{vector['name']}.json"
        assert path not in self.files, path
        self.files[path] = json.dumps(vector, indent=1, ensure_ascii=False) + "\n"

    def _head(self, family, name, about, spec, rule, stage) -> dict:
        head = {
            "format": FORMAT, "family": family, "name": name, "about": about, "spec": spec,
            "result": "refused" if rule else "valid",
        }
        return head | ({"rule": rule, "stage": stage} if rule else {})

    def operation(
        self, family, name, about, spec, op, inputs, rule=None, stage=None
    ) -> dict | None:
        inputs = to_json(inputs)
        vector = self._head(family, name, about, spec, rule, stage) | {"op": op, "input": inputs}
        try:
            out = perform(op, inputs)
        except Refused as refused:
            if refused.rule != rule:
                raise AssertionError(f"{family}/{name}: {rule} was meant: {refused}") from refused
            self._keep(vector)
            return None
        assert rule is None, f"{family}/{name} was not refused"
        self._keep(vector | {"output": in_file(op, out)})
        return out

    def conversation(self, family, name, about, spec, play, rule=None, stage=None) -> None:
        script = Script(self.stream(family, name))
        play(script)
        if rule is not None:
            assert script.last_refused == rule, (name, script.last_refused)
        head = self._head(family, name, about, spec, rule, stage)
        self._keep(head | {"op": "conversation", "steps": script.steps})


def make_all() -> dict[str, str]:
    from . import produced_conversations, produced_operations

    maker = Maker()
    produced_operations.make(maker)
    produced_conversations.make(maker)
    return maker.files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m undertone_ref.produce")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    files = make_all()
    there = {str(p.relative_to(arguments.dir)) for p in arguments.dir.glob("*/*.json")}
    bad = sorted(there - files.keys())
    for name, text in sorted(files.items()):
        path = arguments.dir / name
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            bad.append(name)
    for name in bad:
        print(f"differs, or is none that is made: {name}")
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes")
    return 1 if bad else 0


__all__ = ["Maker", "Script", "make_all", "unhex"]

if __name__ == "__main__":
    sys.exit(main())
