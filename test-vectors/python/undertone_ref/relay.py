"""Speaks to a running relay, over the test transport of chapter 11.

    python -m undertone_ref.relay HOST:PORT ut-join:... [--seeds N]

The relay has to be one that was compiled with the test transport. Every
scenario prints its name; the first thing that is not as chapter 11 has it ends
the program with 1. A token of the class `unlimited` is best: the scenarios make
more than a day's mailboxes.
"""

import argparse
import sys

from . import wire
from .relay_client import Closed, Relay, RelayError, Unexpected
from .relay_scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m undertone_ref.relay")
    parser.add_argument("address", help="HOST:PORT of the test transport")
    parser.add_argument("join", help="a join address, for its token")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="each can be used once on a relay")
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    token = wire.TextAddress.read(arguments.join).token
    if token is None:
        parser.error("not a join address")
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for scenario in SCENARIOS:
            name = scenario.__name__.replace("_", " ")
            try:
                scenario(Relay((host.strip("[]"), int(port)), token, seed, name))
            except (Unexpected, RelayError, Closed, wire.Refused, TimeoutError) as error:
                print(f"seed {seed}: {name}: {type(error).__name__}: {error}")
                return 1
            print(f"seed {seed}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
