"""Two parties, and a demand that something is refused."""

import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from undertone_ref import handshake, identity, prekeys, ratchet, state  # noqa: E402
from undertone_ref.draws import Stream  # noqa: E402
from undertone_ref.party import Party  # noqa: E402
from undertone_ref.primitives import sha256  # noqa: E402
from undertone_ref.refused import Refused  # noqa: E402

TODAY = 20_000
EXPIRY = TODAY + 30


@contextlib.contextmanager
def refused(test, rule):
    with test.assertRaises(Refused) as caught:
        yield
    test.assertEqual(caught.exception.rule, rule)


def stream(name):
    return Stream(sha256(name.encode()))


class Person:
    def __init__(self, draw, devices=1, counter=1_700_000_000):
        self.secret = draw.take(32)
        made = [identity.Device(draw.take(32), draw.take(32)) for _ in range(devices)]
        self.device = made[0]
        self.list = identity.issue_list(self.secret, [d.keys for d in made], counter, None)
        self.party = Party(self.device, self.list)

    @property
    def fingerprint(self):
        return identity.fingerprint(self.list.account)


class Scene:
    """Bob with a link and a bundle; Alice who has the link."""

    def __init__(self, name="scene", kind=prekeys.ONE_TIME, devices=1):
        self.draw = stream(name)
        self.alice, self.bob = Person(self.draw, devices), Person(self.draw)
        self.link_secret = self.draw.take(32)
        self.link = prekeys.LinkKeys.of(self.link_secret)
        self.kind = kind
        self.bundle, self.prekey = prekeys.make_bundle(
            self.bob.device, self.bob.list, kind, EXPIRY, b"to bob", self.draw
        )
        self.sealed = prekeys.seal_bundle(self.link.card_key, self.bundle, self.draw)
        self.bob.party.keep(self.prekey)

    def initiate(self, today=TODAY, route=b"to alice"):
        bundle = prekeys.Bundle.open(
            self.link.card_key, self.sealed, self.bob.fingerprint, today, None
        )
        return handshake.initiate(
            self.alice.device, self.alice.list, route, self.link, bundle, self.draw
        )

    def receive(self, envelope, today=TODAY, record=None):
        return self.bob.party.receive(self.link_secret, envelope, today, record)


class Talk:
    """A session of both sides. Each has opened a message of the other."""

    def __init__(self, name="talk", answered=True):
        self.scene = Scene(name)
        self.draw = self.scene.draw
        self.today = TODAY
        self.alice, first = ratchet.seal(self.scene.initiate(), b"first", self.draw)
        self.bob = self.scene.receive(first).session.state
        if answered:
            self.give("alice", self.write("bob", b"answer"))

    def write(self, side, content=b"x"):
        session, envelope = ratchet.seal(getattr(self, side), content, self.draw)
        setattr(self, side, session)
        return envelope

    def give(self, side, envelope):
        session, content = ratchet.open_part(getattr(self, side), envelope, self.today)
        setattr(self, side, session)
        return content

    def refuse(self, test, side, envelope, rule):
        """The envelope is refused, and the stored form is what it was."""
        before = state.write(getattr(self, side))
        with refused(test, rule):
            self.give(side, envelope)
        test.assertEqual(state.write(getattr(self, side)), before)
