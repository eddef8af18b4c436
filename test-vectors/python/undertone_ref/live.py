"""Live conversations with another implementation over a pipe.

    python -m undertone_ref.live [--seeds N] [--first S] [--operations N] COMMAND...

COMMAND speaks the pipe of test-vectors/README.md. For every seed one
conversation is held with this side as initiator and one with it as responder.
Operations are random: messages of random sizes, deliveries out of order,
losses, repeats, flipped bits, days that pass, daily looks, sessions that are
written and read again, stores that go back to an older state, second uses of a
one-time bundle.

Each side draws for itself. Nothing passes between the two but the link secret,
the fingerprint, the sealed bundle and envelopes; what was sealed must come out
again at the other end. On top of that every operation of one side is repeated
by the other implementation, from the stored form and with the draws of the
first: the result, the refusal's rule and the stored form behind it must be the
same to the byte.

Exits with 1 at the first difference, having said which seed shows it.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

from . import handshake, identity, prekeys, ratchet, state
from .draws import Listed, Recorded, Stream
from .layout import u64
from .party import Party
from .primitives import sha256
from .refused import Refused
from .values import unhex

TODAY = 20_000
EXPIRY = 20_030
COUNTER = 1_700_000_000


class Difference(Exception):
    pass


def demand(condition: bool, text: str) -> None:
    if not condition:
        raise Difference(text)


class Other:
    """The other program."""

    def __init__(self, command: list[str]):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def do(self, **step) -> dict:
        """Its answer; Refused where it refuses."""
        self._process.stdin.write(json.dumps(step) + "\n")
        line = self._process.stdout.readline()
        demand(bool(line), f"the other program ended at {step['do']}")
        answer = json.loads(line)
        if answer["ok"]:
            return answer
        if "refused" in answer:
            raise Refused(answer["refused"])
        raise Difference(f"{step['do']}: {answer['error']}")

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)


class Chance:
    """Random choices of one conversation."""

    def __init__(self, seed: int, role: str):
        self.stream = Stream(sha256(b"Undertone live" + u64(seed) + role.encode()))

    def below(self, n: int) -> int:
        return int.from_bytes(self.stream.take(8), "big") % n

    def one_in(self, n: int) -> bool:
        return self.below(n) == 0

    def size(self) -> int:
        return self.below((40, 303, 900, 5_000, 61_250)[min(self.below(9), 4)])

    def bytes(self, n: int) -> bytes:
        # Content needs no stream of its own for every byte.
        return (self.stream.take(min(n, 64)) * (n // 64 + 1))[:n] if n else b""


@dataclass
class Sent:
    envelope: bytes
    content: bytes


def outcome(function, *arguments, **named):
    """What a function gives, or the rule that refused."""
    try:
        return function(*arguments, **named)
    except Refused as refused:
        return refused.rule


class Mine:
    """This implementation's side. The other one repeats what it does."""

    name = "python"

    def __init__(self, talk: "Talk"):
        self.talk = talk
        self.stream = Stream(talk.chance.stream.take(32))
        account = self.stream.take(32)
        self.device = identity.Device(self.stream.take(32), self.stream.take(32))
        self.list = identity.issue_list(account, [self.device.keys], COUNTER, None)
        self.party = Party(self.device, self.list)
        self.session: ratchet.Session | None = None
        self.record = None

    @property
    def fingerprint(self) -> bytes:
        return identity.fingerprint(self.list.account)

    def offer(self, kind: int) -> tuple[bytes, bytes]:
        """A link and a sealed bundle."""
        self.link_secret = self.stream.take(32)
        bundle, private = prekeys.make_bundle(
            self.device, self.list, kind, EXPIRY, self.talk.route(), self.stream
        )
        self.party.keep(private)
        card_key = prekeys.LinkKeys.of(self.link_secret).card_key
        return self.link_secret, prekeys.seal_bundle(card_key, bundle, self.stream)

    def _initiated(self, link_secret: bytes, sealed: bytes, fingerprint: bytes) -> ratchet.Session:
        link = prekeys.LinkKeys.of(link_secret)
        bundle = prekeys.Bundle.open(link.card_key, sealed, fingerprint, TODAY, None)
        return handshake.initiate(
            self.device, self.list, self.talk.route(), link, bundle, self.stream
        )

    def initiate(self, *offered) -> None:
        self.session = self._initiated(*offered)

    def stranger(self, *offered) -> bytes:
        """The first envelope of another session on the same bundle."""
        return ratchet.seal(self._initiated(*offered), b"another", self.stream)[1]

    def stored(self) -> bytes:
        return state.write(self.session) if self.session else b""

    def seal(self, content: bytes) -> bytes:
        before, draw = self.stored(), Recorded(self.stream)
        self.session, envelope = ratchet.seal(self.session, content, draw)
        self.talk.shadow_of_mine(
            before, self.stored(), envelope,
            do="seal", content=content.hex(), draws=[value.hex() for _, value in draw.drawn],
        )
        return envelope

    def deliver(self, envelope: bytes) -> bytes | str:
        """The content, or the outcome without one, or the rule."""
        before = self.stored()
        got = outcome(self._deliver, envelope)
        if before and got not in ("dropped", "used-twice"):
            cut = self._part(envelope)
            self.talk.shadow_of_mine(
                before, self.stored(), got, do="open", bytes=cut.hex(), today=self.talk.today
            )
        return got

    def _deliver(self, envelope: bytes) -> bytes | str:
        if self.talk.i_begin:
            self.session, content = ratchet.open_part(self.session, envelope, self.talk.today)
            return content
        if self.session is not None:
            self.party.sessions[0].state = self.session
        received = self.party.receive(self.link_secret, envelope, self.talk.today, self.record)
        if received.accepted:
            self.record = received.accepted.record
        if received.session:
            self.session = received.session.state
        return received.content if received.content is not None else received.outcome

    def _part(self, envelope: bytes) -> bytes:
        """What the session was given of an envelope."""
        if not self.talk.i_begin:
            hello_key = prekeys.LinkKeys.of(self.link_secret).hello_key
            greeting = outcome(handshake.Greeting.open, hello_key, envelope)
            if isinstance(greeting, handshake.Greeting):
                return greeting.ratchet_part
        return envelope

    def reload(self) -> None:
        if self.session:
            self.session = state.read(state.write(self.session))

    def roll_back(self, stored: bytes) -> None:
        self.session = state.read(stored)

    def expire(self, today: int) -> None:
        if self.session:
            before = self.stored()
            self.session = ratchet.expire(self.session, today)
            self.talk.shadow_of_mine(before, self.stored(), None, do="expire", today=today)


class Theirs:
    """The other implementation's side. This one repeats what it does."""

    name = "other"
    SESSION = "live"

    def __init__(self, talk: "Talk"):
        self.talk = talk
        self.other = talk.other
        self.has_session = False
        self.record = None
        made = self.other.do(do="person", person="other", device=0, counter=COUNTER)
        self.fingerprint = unhex(made["fingerprint"])
        self.device_list = unhex(made["list"])
        identity.DeviceList.read(self.device_list)

    def offer(self, kind: int) -> tuple[bytes, bytes]:
        link = self.other.do(do="link", link="link")
        name = {prekeys.ONE_TIME: "one-time", prekeys.LAST_RESORT: "last-resort"}[kind]
        made = self.other.do(
            do="bundle", bundle="bundle", person="other", link="link", kind=name, expiry=EXPIRY,
            route=self.talk.route().hex(),
        )
        return unhex(link["link_secret"]), unhex(made["sealed"])

    def _initiated(self, session: str, link_secret, sealed, fingerprint) -> None:
        self.other.do(do="link", link="link", link_secret=link_secret.hex())
        self.other.do(
            do="initiate", session=session, person="other", link="link", sealed=sealed.hex(),
            fingerprint=fingerprint.hex(), today=TODAY, record=None,
            route=self.talk.route().hex(),
        )

    def initiate(self, *offered) -> None:
        self._initiated(self.SESSION, *offered)
        self.has_session = True

    def stranger(self, *offered) -> bytes:
        self._initiated("stranger", *offered)
        made = self.other.do(do="seal", session="stranger", content=b"another".hex())
        self.other.do(do="delete", session="stranger")
        return unhex(made["bytes"])

    def stored(self) -> bytes:
        if not self.has_session:
            return b""
        return unhex(self.other.do(do="state", session=self.SESSION)["stored"])

    @property
    def session(self):
        return self.stored() or None

    def seal(self, content: bytes) -> bytes:
        before = self.stored()
        made = self.other.do(do="seal", session=self.SESSION, content=content.hex())
        envelope = unhex(made["bytes"])
        draws = Listed([(d["name"], unhex(d["value"])) for d in made["draws"]])
        shadow, mine = ratchet.seal(state.read(before), content, draws)
        draws.end()
        demand(mine == envelope, "the same seal gave other bytes")
        demand(state.write(shadow) == self.stored(), "the same seal left another state")
        return envelope

    def deliver(self, envelope: bytes) -> bytes | str:
        before = self.stored()
        got = outcome(self._deliver, envelope)
        if before and got not in ("dropped", "used-twice"):
            shadow = state.read(before)
            answer = outcome(ratchet.open_part, shadow, self._part(envelope), self.talk.today)
            if isinstance(answer, tuple):
                shadow, answer = answer
            demand(answer == got, f"the same envelope gave {_shown(got)}, here {_shown(answer)}")
            demand(state.write(shadow) == self.stored(), "the same envelope left another state")
        return got

    def _deliver(self, envelope: bytes) -> bytes | str:
        if not self.talk.i_begin:
            answer = self.other.do(
                do="open", session=self.SESSION, bytes=envelope.hex(), today=self.talk.today
            )
            return unhex(answer["content"])
        answer = self.other.do(
            do="receive", person="other", link="link", bytes=envelope.hex(),
            today=self.talk.today, record=self.record, session=self.SESSION,
        )
        if answer["outcome"] == "accepted":
            self.has_session = True
            self.record = self.talk.mine.list.record.write().hex()
            demand(unhex(answer["account"]) == self.talk.mine.list.account, "another account")
            demand(unhex(answer["device_keys"]) == self.talk.mine.device.keys, "another device")
        return unhex(answer["content"]) if "content" in answer else answer["outcome"]

    def _part(self, envelope: bytes) -> bytes:
        if self.talk.i_begin:
            hello_key = prekeys.LinkKeys.of(self.talk.offered[0]).hello_key
            greeting = outcome(handshake.Greeting.open, hello_key, envelope)
            if isinstance(greeting, handshake.Greeting):
                return greeting.ratchet_part
        return envelope

    def reload(self) -> None:
        if self.has_session:
            self.other.do(do="reload", session=self.SESSION)

    def roll_back(self, stored: bytes) -> None:
        self.other.do(do="delete", session=self.SESSION)
        self.other.do(do="load", session=self.SESSION, stored=stored.hex())

    def expire(self, today: int) -> None:
        if self.has_session:
            before = state.read(self.stored())
            self.other.do(do="expire", session=self.SESSION, today=today)
            demand(
                state.write(ratchet.expire(before, today)) == self.stored(),
                "the same daily look left another state",
            )


def _shown(value) -> str:
    return f"{len(value)} bytes of content" if isinstance(value, bytes) else str(value)


class Talk:
    """One conversation."""

    def __init__(self, other: Other, seed: int, i_begin: bool):
        self.other, self.i_begin = other, i_begin
        self.chance = Chance(seed, "initiator" if i_begin else "responder")
        self.today = TODAY
        self.counts: Counter = Counter()
        other.do(do="reset")
        other.do(do="seed", seed=self.chance.stream.take(32).hex())
        self.mine, self.theirs = Mine(self), Theirs(self)
        self.sides = {"mine": self.mine, "theirs": self.theirs}
        self.first, self.second = (
            (self.mine, self.theirs) if i_begin else (self.theirs, self.mine)
        )
        self.kind = prekeys.ONE_TIME if self.chance.below(3) else prekeys.LAST_RESORT
        self.offered = (*self.second.offer(self.kind), self.second.fingerprint)
        self.first.initiate(*self.offered)
        # An initiator's store goes back to an older state now and then, in some
        # conversations. From then on envelopes may be refused by any rule.
        self.rolls_back = self.chance.one_in(3)
        self.older: list[bytes] = []
        self.rolled_back = False
        # Envelopes to each side, and those that it has opened.
        self.queues = {side: [] for side in (self.mine, self.theirs)}
        self.opened = {side: [] for side in (self.mine, self.theirs)}

    def route(self) -> bytes:
        return self.chance.bytes(self.chance.below(321))

    def shadow_of_mine(self, before: bytes, after: bytes, expected, **step) -> None:
        """The other implementation repeats what this one did."""
        self.other.do(do="load", session="shadow", stored=before.hex())
        answer = outcome(self.other.do, session="shadow", **step)
        if isinstance(answer, dict):
            member = {"seal": "bytes", "open": "content"}.get(step["do"])
            answer = unhex(answer[member]) if member else None
        demand(answer == expected, f"{step['do']}: {_shown(expected)}, there {_shown(answer)}")
        left = unhex(self.other.do(do="state", session="shadow")["stored"])
        demand(left == after, f"{step['do']} left another state there")
        self.other.do(do="delete", session="shadow")

    def _peer(self, side):
        return self.theirs if side is self.mine else self.mine

    def play(self, operations: int) -> None:
        for n in range(operations):
            if self.rolls_back:
                self._roll_back()
            side = self.mine if self.chance.below(2) else self.theirs
            self._operation(side, self.chance.below(100))
        self._drain()

    def _operation(self, side, v: int) -> None:
        if v < 38:
            self._seal(side)
        elif v < 72:
            self._deliver(side)
        elif v < 78:
            self._altered(side)
        elif v < 84:
            self._repeat(side)
        elif v < 88 and self.queues[side]:
            self.queues[side].pop(self.chance.below(len(self.queues[side])))
            self.counts["lost"] += 1
        elif v < 93:
            side.reload()
        elif v < 96:
            self.today += self.chance.below(20)
        elif v < 98:
            side.expire(self.today)
        elif self.kind == prekeys.ONE_TIME and self.second.session:
            got = self.second.deliver(self.first.stranger(*self.offered))
            demand(got == "used-twice", f"a second use of a bundle was {_shown(got)}")
            self.counts["used twice"] += 1

    def _roll_back(self) -> None:
        if not self.chance.below(8):
            self.older = [*self.older[-4:], self.first.stored()]
        if self.older and not self.chance.below(40):
            self.first.roll_back(self.older[self.chance.below(len(self.older))])
            self.rolled_back = True
            self.counts["rolled back"] += 1

    def _seal(self, side) -> None:
        if side.session is None:
            return
        for _ in range(1 + self.chance.below(4)):
            content = self.chance.bytes(self.chance.size())
            answer = outcome(side.seal, content)
            if answer == "R-515":
                self.counts["R-515"] += 1
                return
            demand(isinstance(answer, bytes), f"a seal was refused: {answer}")
            self.queues[self._peer(side)].append(Sent(answer, content))
            self.counts["sealed"] += 1

    def _deliver(self, side) -> None:
        queue = self.queues[side]
        if not queue:
            return
        at = 0 if self.chance.below(3) else self.chance.below(len(queue))
        self._give(side, queue.pop(at))

    def _give(self, side, sent: Sent) -> None:
        got = side.deliver(sent.envelope)
        if isinstance(got, bytes):
            demand(got == sent.content, "another content came out")
            self.opened[side].append(sent)
            self.counts["opened"] += 1
        else:
            # Keys and chains are given up after 30 days and after eight chains.
            allowed = {"R-501", "R-512", "R-405"}
            demand(
                got in allowed or self.rolled_back, f"an envelope that nobody altered: {got}"
            )
            self.counts[f"late {got}"] += 1

    def _altered(self, side) -> None:
        if not self.queues[side]:
            return
        sent = self.queues[side][self.chance.below(len(self.queues[side]))]
        bad = bytearray(sent.envelope)
        bad[self.chance.below(len(bad))] ^= 1 << self.chance.below(8)
        before = side.stored()
        got = side.deliver(bytes(bad))
        demand(side.stored() == before, "an altered envelope changed the state")
        demand(not isinstance(got, bytes), "an altered envelope was opened")
        self.counts[f"altered {got}"] += 1

    def _repeat(self, side) -> None:
        if not self.opened[side]:
            return
        sent = self.opened[side][self.chance.below(len(self.opened[side]))]
        got = side.deliver(sent.envelope)
        if self.rolled_back:
            self.counts["repeat, rolled back"] += 1
            return
        demand(not isinstance(got, bytes), "a repeat was opened")
        demand(got in {"R-511", "R-512", "R-501", "R-405"}, f"a repeat was {got}")
        self.counts[f"repeat {got}"] += 1

    def _drain(self) -> None:
        """All that is under way arrives, and both sides can go on."""
        for _ in range(2):
            for side in (self.second, self.first):
                self._seal(self._peer(side))
                for sent in self.queues[side]:
                    self._give(side, sent)
                self.queues[side] = []
        epochs = [
            state.read(side.stored()).epoch for side in (self.mine, self.theirs) if side.stored()
        ]
        self.counts["epochs"] += max(epochs)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m undertone_ref.live")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--operations", type=int, default=120, help="in each conversation")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("which program?")
    other, counts = Other(arguments.command), Counter()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for i_begin in (True, False):
            role = "initiator" if i_begin else "responder"
            try:
                talk = Talk(other, seed, i_begin)
                talk.play(arguments.operations)
            except (Difference, Refused) as error:
                print(f"seed {seed} as {role}: {type(error).__name__}: {error}")
                return 1
            counts += talk.counts
            counts["conversations"] += 1
    other.end()
    first, last = arguments.first, arguments.first + arguments.seeds - 1
    each = f"both roles, {arguments.operations} operations each"
    print(f"seeds {first} to {last}, {each}: no difference")
    for name, count in sorted(counts.items()):
        print(f"{name:20} {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
