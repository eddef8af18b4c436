"""The pipe of test-vectors/README.md, spoken by this implementation.

    python -m undertone_ref.pipe

It has the other program's part: `undertone_ref.live` is tested with it, and
another implementation can hold conversations with it.
"""

import json
import sys

from .conversation import World
from .draws import DrawError, Listed, Recorded, Stream
from .prekeys import LinkKeys
from .refused import Refused
from .values import no_duplicates, to_json, unhex


class _NoSeed:
    def __call__(self, name: str, n: int) -> bytes:
        raise DrawError("no seed was given")


class Pipe:
    def __init__(self):
        self.source = _NoSeed()
        self.world = World()

    def answer(self, line: str) -> dict:
        try:
            step = json.loads(line, object_pairs_hook=no_duplicates)
            return {"ok": True} | self._do(step)
        except Refused as refused:
            return {"ok": False, "refused": refused.rule}
        except Exception as error:  # whatever is wrong with a line is told, and nothing changed
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _do(self, step: dict) -> dict:
        if step["do"] == "seed":
            self.source = Stream(unhex(step["seed"]))
            return {}
        if step["do"] == "reset":
            self.world = World()
            return {}
        made = self._secrets(step)
        step = {"counter": 0, "device": 0} | step | made
        if "draws" in step:
            draw = listed = Listed(_draws(step["draws"]))
        else:
            draw = Recorded(self.source)
        out = self.world.do(step, draw)
        if "draws" in step:
            listed.end()
        elif draw.drawn:
            out["draws"] = [{"name": name, "value": value} for name, value in draw.drawn]
        if step["do"] == "link":
            keys = LinkKeys.of(unhex(step["link_secret"]))
            made |= {"link_secret": unhex(step["link_secret"]), "link_psk": keys.psk} | {
                name: getattr(keys, name) for name in ("fetch_capability", "card_key", "hello_key")
            }
        return to_json(made | out)

    def _secrets(self, step: dict) -> dict:
        """The secrets that a person or a link leaves out."""
        if step["do"] == "link" and "link_secret" not in step:
            return {"link_secret": self.source("link-secret", 32).hex()}
        if step["do"] == "person" and "account_secret" not in step:
            secret = self.source("account-secret", 32).hex()
            devices = [
                {
                    "signing_secret": self.source("signing-secret", 32).hex(),
                    "dh_secret": self.source("dh-secret", 32).hex(),
                }
                for _ in range(step.get("count", 1))
            ]
            return {"account_secret": secret, "devices": devices}
        return {}


def _draws(values: list) -> list[tuple[str, bytes]]:
    """Draws as values alone, or as in the files."""
    return [
        (None, unhex(v)) if isinstance(v, str) else (v["name"], unhex(v["value"])) for v in values
    ]


def main() -> None:
    pipe = Pipe()
    for line in sys.stdin:
        print(json.dumps(pipe.answer(line)), flush=True)


if __name__ == "__main__":
    main()
