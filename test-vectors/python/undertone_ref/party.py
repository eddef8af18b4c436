"""A person with sessions: what arrives in a first-contact mailbox (04 section 6)."""

from dataclasses import dataclass, field

from . import handshake, ratchet
from .handshake import Greeting
from .identity import Device, DeviceList, Record
from .prekeys import ONE_TIME, LinkKeys, PrivatePrekey
from .ratchet import Session
from .refused import Refused, need


@dataclass
class Prekey:
    """What the inviter keeps of a bundle (03-prekeys section 4)."""

    id: bytes
    kind: int
    digest: bytes
    private: PrivatePrekey | None


@dataclass
class Held:
    """A session that somebody has."""

    state: Session


@dataclass
class Received:
    outcome: str
    session: Held | None = None
    accepted: handshake.Accepted | None = None
    content: bytes | None = None


@dataclass
class Party:
    device: Device
    list: DeviceList
    prekeys: dict[bytes, Prekey] = field(default_factory=dict)
    sessions: list[Held] = field(default_factory=list)
    replay: set[bytes] = field(default_factory=set)
    # The sessions accepted over a link, by its secret; the last one last.
    over_link: dict[bytes, list[Held]] = field(default_factory=dict)

    def keep(self, prekey: PrivatePrekey) -> Prekey:
        kept = Prekey(prekey.id, prekey.kind, prekey.digest, prekey)
        self.prekeys[prekey.id] = kept
        return kept

    def forget_session(self, held: Held) -> None:
        self.sessions = [s for s in self.sessions if s is not held]
        for secret, accepted in self.over_link.items():
            self.over_link[secret] = [s for s in accepted if s is not held]

    def receive(
        self, link_secret: bytes, envelope: bytes, today: int, record: Record | None,
        lookup: bool = True, trace: dict | None = None,
    ) -> Received:
        """An envelope in the first-contact mailbox of a link."""
        link = LinkKeys.of(link_secret)
        try:
            greeting = Greeting.open(link.hello_key, envelope)
        except Refused as refused:
            accepted = self.over_link.get(link_secret, [])
            if refused.rule != "R-401" or not accepted:
                raise
            return self._give("ordinary", accepted[-1], envelope, today, trace)
        prekey = self.prekeys.get(greeting.bundle_id)
        if prekey is None:
            need(lookup, "R-404", "another bundle than any that is at hand")
            return Received("dropped")
        if lookup:
            known = self._look_up(greeting, prekey, today, trace)
            if known is not None:
                return known
        return self._accept(link_secret, link, greeting, prekey, today, record, trace)

    def _give(self, outcome, held: Held, part: bytes, today: int, trace) -> Received:
        held.state, content = ratchet.open_part(held.state, part, today, trace)
        return Received(outcome, held, content=content)

    def _look_up(self, greeting: Greeting, prekey: Prekey, today: int, trace) -> Received | None:
        """Step 5: a session that is on record, was deleted, or can't be."""
        id_ = greeting.session_id(prekey.digest)
        for held in self.sessions:
            if held.state.id == id_:
                return self._give("repeat", held, greeting.ratchet_part, today, trace)
        if id_ in self.replay:
            return Received("dropped")
        if prekey.private is None:
            return Received("used-twice" if prekey.kind == ONE_TIME else "dropped")
        return None

    def _accept(self, link_secret, link, greeting, prekey, today, record, trace) -> Received:
        if prekey.private is None:
            # Only where nobody looked it up.
            need(greeting.session_id(prekey.digest) not in self.replay, "R-410")
            return Received("dropped")
        accepted = handshake.accept(
            greeting, self.device, prekey.private, link, today, self.replay,
            lambda _: record, trace,
        )
        held = Held(accepted.session)
        self.sessions.append(held)
        self.over_link.setdefault(link_secret, []).append(held)
        self.replay.add(accepted.session.id)
        if prekey.kind == ONE_TIME:
            prekey.private = None
        return Received("accepted", held, accepted, accepted.content)
