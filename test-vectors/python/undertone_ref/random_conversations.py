"""Random conversations (test-vectors/README.md), and the two hashes over them."""

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor

from . import handshake, identity, prekeys, ratchet, state
from .draws import Stream
from .layout import u8, u32, u64
from .party import Party
from .primitives import sha256
from .refused import Refused

COUNTER = 1_700_000_000
TODAY = 20_000
EXPIRY = 20_030
_AT_ONCE = 20


def _person(stream: Stream) -> Party:
    account, signing, dh = stream.take(32), stream.take(32), stream.take(32)
    device = identity.Device(signing, dh)
    return Party(device, identity.issue_list(account, [device.keys], COUNTER, None))


class _Play:
    """One conversation."""

    def __init__(self, index: int):
        self.stream = Stream(sha256(b"Undertone vectors conversation" + u64(index)))
        self.log = b""
        self.today = TODAY
        # Envelopes to Alice, to Bob.
        self.queues: tuple[list[bytes], list[bytes]] = ([], [])
        take = self.stream.take
        self.alice_party, self.bob_party = _person(self.stream), _person(self.stream)
        self.link_secret = take(32)
        link = prekeys.LinkKeys.of(self.link_secret)
        route = take(take(1)[0])
        bundle, private = prekeys.make_bundle(
            self.bob_party.device, self.bob_party.list, prekeys.ONE_TIME, EXPIRY, route, self.stream
        )
        sealed = prekeys.seal_bundle(link.card_key, bundle, self.stream)
        self.bob_party.keep(private)
        route = take(take(1)[0])
        opened = prekeys.Bundle.open(
            link.card_key, sealed, identity.fingerprint(self.bob_party.list.account), TODAY, None
        )
        self.alice = handshake.initiate(
            self.alice_party.device, self.alice_party.list, route, link, opened, self.stream
        )
        self.record = None

    @property
    def bob(self):
        return self.bob_party.sessions[0] if self.bob_party.sessions else None

    def play(self) -> tuple[bytes, bytes]:
        for _ in range(8 + self.stream.take(1)[0] % 25):
            o = self.stream.take(1)[0]
            self._operate(o % 2, o // 2 % 16)
        bob = state.write(self.bob.state) if self.bob else b""
        alice = state.write(self.alice)
        return self.log, u32(len(alice)) + alice + u32(len(bob)) + bob

    def _operate(self, side: int, v: int) -> None:
        if v <= 6:
            self._logged(self._seal, side, 600 if v < 6 else 6000)
        elif v <= 14:
            queue = self.queues[side]
            if not queue:
                return
            k = self.stream.take(1)[0] % len(queue)
            envelope = queue.pop(k) if v <= 12 else queue[k]
            if v == 14:
                envelope = self._altered(envelope)
            self._logged(self._deliver, side, envelope)
        else:
            self.today += self.stream.take(1)[0] % 12

    def _altered(self, envelope: bytes) -> bytes:
        p = int.from_bytes(self.stream.take(2), "big") % len(envelope)
        b = self.stream.take(1)[0] % 8
        out = bytearray(envelope)
        out[p] ^= 1 << b
        return bytes(out)

    def _logged(self, operation, *arguments) -> None:
        try:
            kind, value = operation(*arguments)
        except Refused as refused:
            kind, value = 3, refused.rule.encode()
        self.log += u8(kind) + u32(len(value)) + value

    def _seal(self, side: int, most: int) -> tuple[int, bytes]:
        content = self.stream.take(int.from_bytes(self.stream.take(2), "big") % most)
        if side == 0:
            self.alice, envelope = ratchet.seal(self.alice, content, self.stream)
        elif self.bob is None:
            raise Refused("R-515")
        else:
            self.bob.state, envelope = ratchet.seal(self.bob.state, content, self.stream)
        self.queues[1 - side].append(envelope)
        return 1, envelope

    def _deliver(self, side: int, envelope: bytes) -> tuple[int, bytes]:
        if side == 0:
            self.alice, content = ratchet.open_part(self.alice, envelope, self.today)
            return 2, content
        received = self.bob_party.receive(self.link_secret, envelope, self.today, self.record)
        if received.content is None:
            return 3, received.outcome.encode()
        if received.accepted:
            self.record = received.accepted.record
        return 2, received.content


def play(index: int) -> tuple[bytes, bytes]:
    """What is hashed of conversation ``index``: operations, and states."""
    return _Play(index).play()


def hashes(count: int) -> dict[str, bytes]:
    operations, states = hashlib.sha256(), hashlib.sha256()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for log, stored in pool.map(play, range(count), chunksize=_AT_ONCE):
            operations.update(log)
            states.update(stored)
    return {"conversations": operations.digest(), "states": states.digest()}
