"""05 Double ratchet: the state of a session, sealing, opening."""

from dataclasses import dataclass, field, replace

from . import pq
from .constants import (
    MAX_OLD_CHAINS,
    MAX_SKIP,
    MAX_SKIPPED_KEYS,
    MAX_U32,
    REMEMBERED_POSITIONS,
    RETENTION_DAYS,
    later,
)
from .envelopes import (
    Part,
    body_length,
    check_content,
    read_body,
    smallest_bucket,
    write_body,
)
from .layout import Reader, u8, u32
from .primitives import (
    LABEL_BODY,
    LABEL_CHAIN,
    LABEL_CHAIN_CONSTANTS,
    LABEL_EPOCH_STEP,
    LABEL_NONCE,
    LABEL_STEP,
    ZERO_NONCE,
    check_dh_public,
    dh,
    dh_public,
    expand,
    extract,
    hash_,
    hash16,
    open_,
    seal as aead_seal,
)
from .refused import Refused, need, reported_as

INITIATOR, RESPONDER = 0, 1
ZERO_KEY = bytes(32)
# A sender's chain is full where `next` is this (section 4).
CHAIN_FULL = MAX_U32 - 1


# Section 1: state.


@dataclass(frozen=True)
class Sending:
    header_key: bytes = ZERO_KEY
    chain_key: bytes = ZERO_KEY
    public: bytes = ZERO_KEY
    previous: int = 0
    next: int = 0


@dataclass(frozen=True)
class Receiving:
    serial: int = 0
    header_key: bytes = ZERO_KEY
    chain_key: bytes = ZERO_KEY
    previous: int = 0
    next: int = 0
    epoch: int = 0
    tag: bytes = bytes(8)

    @property
    def exists(self) -> bool:
        return self.serial != 0


@dataclass(frozen=True)
class OldChain:
    serial: int
    header_key: bytes
    constants: bytes
    end: int
    day: int


@dataclass(frozen=True)
class Position:
    serial: int
    number: int
    mark: bytes


@dataclass(frozen=True)
class SkippedKey:
    serial: int
    number: int
    day: int
    key: bytes

    @property
    def place(self) -> tuple[int, int]:
        return self.serial, self.number


@dataclass
class Session:
    id: bytes
    role: int
    handshake: bytes
    root: bytes
    epoch: int
    tag: bytes
    own: bytes
    remote: bytes | None
    next_sending: bytes
    next_receiving: bytes
    sending_due: bool
    phase: pq.Phase
    sending: Sending = Sending()
    receiving: Receiving = Receiving()
    cursor: int = 0
    old_chains: tuple[OldChain, ...] = ()
    positions: tuple[Position, ...] = ()
    # By place, in the order in which they were added.
    skipped: dict[tuple[int, int], SkippedKey] = field(default_factory=dict)

    def candidate(self) -> "Session":
        return replace(self, skipped=dict(self.skipped))


def expired(day: int, today: int) -> bool:
    """Day + 30 is before today."""
    return later(day, RETENTION_DAYS) < today


# Section 2: header.


@dataclass(frozen=True)
class Header:
    key: bytes
    previous: int
    number: int
    epoch: int
    tag: bytes
    flags: int = 0

    def write(self) -> bytes:
        return (
            self.key + u32(self.previous) + u32(self.number) + u32(self.epoch)
            + self.tag + u8(self.flags)
        )

    @classmethod
    def read(cls, data: bytes) -> "Header":
        reader = Reader(data, "R-501")
        return cls(
            reader.take(32), reader.u32(), reader.u32(), reader.u32(), reader.take(8), reader.u8()
        )

    @property
    def constants(self) -> bytes:
        return chain_constants(self.key, self.previous, self.epoch, self.tag)


def chain_constants(key: bytes, previous: int, epoch: int, tag: bytes) -> bytes:
    return hash16(LABEL_CHAIN_CONSTANTS, key, u32(previous), u32(epoch), tag)


# Section 3: steps.


@dataclass(frozen=True)
class EpochSecret:
    """What an epoch step mixes in."""

    epoch: int
    ss: bytes
    h_ek: bytes
    h_ct: bytes

    @property
    def tag(self) -> bytes:
        return pq.epoch_tag(self.epoch, self.h_ek, self.h_ct)


def step(root: bytes, exchange: bytes, secret: EpochSecret | None) -> tuple[bytes, bytes, bytes]:
    """Root, chain key and next header key."""
    if secret is None:
        out = expand(extract(root, exchange), LABEL_STEP, 96)
    else:
        info = LABEL_EPOCH_STEP + u32(secret.epoch) + secret.h_ek + secret.h_ct
        out = expand(extract(root, exchange + secret.ss), info, 96)
    return out[:32], out[32:64], out[64:]


def _sending_half_step(s: Session, secret: EpochSecret | None, draw, trace) -> None:
    s.own = draw("ratchet-key", 32)
    with reported_as("R-503"):
        exchange = dh(s.own, s.remote)
    header_key = s.next_sending
    s.root, chain_key, s.next_sending = step(s.root, exchange, secret)
    s.sending = Sending(header_key, chain_key, dh_public(s.own), s.sending.next, 0)
    s.sending_due = False
    _trace_step(trace, secret, exchange, s.root, chain_key, s.next_sending)


def _receiving_half_step(s: Session, header: Header, secret: EpochSecret | None, trace) -> None:
    with reported_as("R-503"):
        exchange = dh(s.own, header.key)
    header_key = s.next_receiving
    s.root, chain_key, s.next_receiving = step(s.root, exchange, secret)
    s.receiving = Receiving(
        s.receiving.serial + 1, header_key, chain_key, header.previous, 0, header.epoch, header.tag
    )
    s.remote = header.key
    s.sending_due = True
    _trace_step(trace, secret, exchange, s.root, chain_key, s.next_receiving)


def _trace_step(trace, secret, exchange, root, chain_key, next_header_key) -> None:
    if trace is None:
        return
    trace["half_step"] = {
        "kind": "epoch" if secret else "plain",
        "exchange": exchange,
        "root": root,
        "chain_key": chain_key,
        "next_header_key": next_header_key,
    }
    if secret:
        trace["half_step"] |= {
            "epoch": secret.epoch, "ss": secret.ss, "h_ek": secret.h_ek, "h_ct": secret.h_ct,
        }


def _trace_message(trace, header_key, header, message_key, digest, body_key, run) -> None:
    if trace is not None:
        trace["message"] = {
            "header_key": header_key,
            "header": header,
            "message_key": message_key,
            "nonce_digest": digest,
            "body_key": body_key,
            "run": run,
        }


# Section 4: chains.


def advance(chain_key: bytes) -> tuple[bytes, bytes]:
    """The next chain key, and the message key."""
    out = expand(chain_key, LABEL_CHAIN, 64)
    return out[:32], out[32:]


def nonce_digest(header: bytes, body: bytes) -> bytes:
    return hash_(LABEL_NONCE, header, body)


def make_nonce(message_key: bytes, drawn: bytes, digest: bytes) -> bytes:
    return expand(message_key, LABEL_NONCE + drawn + digest, 12)


def body_key(message_key: bytes, nonce: bytes) -> bytes:
    return expand(message_key, LABEL_BODY + nonce, 32)


# Section 5: sealing.


def seal(session: Session, content: bytes, draw, trace: dict | None = None) -> tuple[Session, bytes]:
    """The candidate that becomes the state, and the envelope."""
    check_content(content)
    s = session.candidate()
    stepped_epoch = False
    if s.sending_due:
        secret = _raise_epoch(s)
        stepped_epoch = secret is not None
        _sending_half_step(s, secret, draw, trace)
    elif s.remote is None:
        raise Refused("R-515", "a responder that has received nothing")
    if not stepped_epoch:
        s.phase, s.cursor = pq.work_before_send(s.phase, s.epoch, s.cursor, draw)
    need(s.sending.next < CHAIN_FULL, "R-514", "the chain has no further number")
    header = Header(
        s.sending.public, s.sending.previous, s.sending.next, s.epoch, s.tag
    ).write()
    chain_key, message_key = advance(s.sending.chain_key)
    s.sending = replace(s.sending, chain_key=chain_key, next=s.sending.next + 1)

    bucket = smallest_bucket(len(content), len(s.handshake))
    length = body_length(bucket, len(s.handshake))
    room = length - 2 - len(content)
    run, s.cursor = pq.run_to_send(s.phase, s.epoch, s.cursor, room, draw)
    body = write_body(content, run.write() if run else b"", length)

    digest = nonce_digest(header, body)
    nonce = make_nonce(message_key, draw("envelope-random", 12), digest)
    sealed_header = aead_seal(s.sending.header_key, nonce, s.id, header)
    key = body_key(message_key, nonce)
    sealed_body = aead_seal(key, ZERO_NONCE, s.id + sealed_header, body)
    _trace_message(trace, s.sending.header_key, header, message_key, digest, key, run)
    return s, s.handshake + nonce + sealed_header + sealed_body


def _raise_epoch(s: Session) -> EpochSecret | None:
    """06 section 6, offering side; the state's epoch, tag and phase change."""
    if not isinstance(s.phase, pq.Secret) or s.epoch == MAX_U32:
        return None
    secret = EpochSecret(s.epoch + 1, s.phase.ss, s.phase.h_ek, s.phase.h_ct)
    s.epoch, s.tag, s.cursor = secret.epoch, secret.tag, 0
    s.phase = pq.Waiting(None)
    return secret


# Section 6: opening.


@dataclass
class _Past:
    """What an opened message does to the memory of the past."""

    place: tuple[int, int]
    mark: bytes
    ended: OldChain | None = None
    used: tuple[int, int] | None = None
    skipped: list[SkippedKey] = field(default_factory=list)


def open_part(
    session: Session, part: bytes, today: int, trace: dict | None = None
) -> tuple[Session, bytes]:
    """The candidate that becomes the state, and the content."""
    cut = Part.cut(part)
    s = session.candidate()
    kind, header_key, header = _find_chain(s, cut, today)
    need(header.flags == 0, "R-502", f"flags {header.flags}")
    if kind == "receiving":
        message_key, past = _of_receiving(s, header, cut.mark, today)
    elif kind == "next":
        message_key, past = _of_next(s, header, cut.mark, today, trace)
    else:
        message_key, past = _of_old(s, kind, header, cut.mark, today)
    key = body_key(message_key, cut.nonce)
    body = open_(key, ZERO_NONCE, s.id + cut.sealed_header, cut.sealed_body)
    if body is None:
        raise Refused("R-513", "the body does not open")
    content, run = read_body(body, cut.handshake_length, cut.bucket, pq.read_run)
    s.phase = pq.after_message(s.phase, s.epoch, run, stepped=kind == "next")
    _settle(s, past, today)
    header = header.write()
    digest = nonce_digest(header, body)
    _trace_message(trace, header_key, header, message_key, digest, key, run)
    return s, content


def _find_chain(s: Session, cut: Part, today: int):
    """Step 2: which chain, its header key, and the header."""
    trials = [("receiving", s.receiving.header_key)] if s.receiving.exists else []
    trials.append(("next", s.next_receiving))
    for old in reversed(s.old_chains):
        if not expired(old.day, today):
            trials.append((old, old.header_key))
    for kind, key in trials:
        data = open_(key, cut.nonce, s.id, cut.sealed_header)
        if data is not None:
            return kind, key, Header.read(data)
    raise Refused("R-501", "no header key opens it")


def _check_gap(number: int, next_: int) -> None:
    need(number != MAX_U32, "R-514", "a number that is never sent")
    need(number - next_ <= MAX_SKIP, "R-510", f"{number - next_} messages are missing")


def _skip_to(s: Session, end: int, past: _Past, today: int) -> None:
    """Advance the receiving chain to number ``end``; what lies before is skipped."""
    chain_key = s.receiving.chain_key
    for number in range(s.receiving.next, end):
        chain_key, key = advance(chain_key)
        past.skipped.append(SkippedKey(s.receiving.serial, number, today, key))
    s.receiving = replace(s.receiving, chain_key=chain_key, next=max(end, s.receiving.next))


def _take_number(s: Session, number: int, past: _Past, today: int) -> bytes:
    """The key of message ``number`` of the receiving chain."""
    _skip_to(s, number, past, today)
    chain_key, key = advance(s.receiving.chain_key)
    s.receiving = replace(s.receiving, chain_key=chain_key, next=number + 1)
    return key


def _of_receiving(s: Session, header: Header, mark: bytes, today: int):
    """Section 6.1."""
    r = s.receiving
    same = (header.key, header.previous, header.epoch, header.tag) == (
        s.remote, r.previous, r.epoch, r.tag,
    )
    need(same, "R-504", "constants of the chain differ")
    if header.number < r.next:
        return _of_past(s, r.serial, header.number, mark, today)
    _check_gap(header.number, r.next)
    past = _Past((r.serial, header.number), mark)
    return _take_number(s, header.number, past, today), past


def _of_next(s: Session, header: Header, mark: bytes, today: int, trace):
    """Section 6.2."""
    with reported_as("R-503"):
        check_dh_public(header.key)
    r = s.receiving
    if r.exists:
        need(header.key != s.remote, "R-508", "the ratchet key of the chain before")
        need(r.serial != MAX_U32, "R-514", "no further chain can be counted")
        need(header.previous >= r.next, "R-506", "the previous chain was longer")
    else:
        need(header.previous == 0, "R-506", "there was no previous chain")
    _check_gap(header.previous, r.next)
    _check_gap(header.number, 0)
    secret = _follow_epoch(s, header)
    past = _Past((r.serial + 1, header.number), mark)
    if r.exists:
        _skip_to(s, header.previous, past, today)
        constants = chain_constants(s.remote, r.previous, r.epoch, r.tag)
        past.ended = OldChain(r.serial, r.header_key, constants, header.previous, today)
    _receiving_half_step(s, header, secret, trace)
    return _take_number(s, header.number, past, today), past


def _follow_epoch(s: Session, header: Header) -> EpochSecret | None:
    """Step 5 of 6.2, and 06 section 6, answering side."""
    if (header.epoch, header.tag) == (s.epoch, s.tag):
        return None
    if isinstance(s.phase, pq.Answering) and header.epoch == s.epoch + 1:
        secret = EpochSecret(header.epoch, s.phase.ss, s.phase.h_ek, s.phase.h_ct)
        if secret.tag == header.tag:
            s.epoch, s.tag, s.cursor = secret.epoch, secret.tag, 0
            s.phase = pq.Idle()
            return secret
    raise Refused("R-509", "an epoch that can't follow")


def _of_old(s: Session, old: OldChain, header: Header, mark: bytes, today: int):
    """Section 6.3."""
    need(header.constants == old.constants, "R-504", "constants of the chain differ")
    need(header.number < old.end, "R-507", "behind the announced end")
    return _of_past(s, old.serial, header.number, mark, today)


def _of_past(s: Session, serial: int, number: int, mark: bytes, today: int):
    """Section 6.4."""
    place = (serial, number)
    found = s.skipped.get(place)
    if found is not None and not expired(found.day, today):
        return found.key, _Past(place, mark, used=place)
    for position in s.positions:
        if (position.serial, position.number) == place:
            need(position.mark == mark, "R-505", "another header at this position")
            raise Refused("R-511", "received before")
    raise Refused("R-512", "the key is gone")


def _settle(s: Session, past: _Past, today: int) -> None:
    """What happens, in this order, when the candidate becomes the state."""
    _drop_expired(s, today)
    if past.ended:
        s.old_chains += (past.ended,)
        if len(s.old_chains) > MAX_OLD_CHAINS:
            gone, s.old_chains = s.old_chains[0].serial, s.old_chains[1:]
            s.skipped = {p: k for p, k in s.skipped.items() if k.serial != gone}
    if past.used:
        del s.skipped[past.used]
    for key in past.skipped:
        s.skipped[key.place] = key
    for place in list(s.skipped)[: max(0, len(s.skipped) - MAX_SKIPPED_KEYS)]:
        del s.skipped[place]
    position = Position(*past.place, past.mark)
    s.positions = (s.positions + (position,))[-REMEMBERED_POSITIONS:]
    s.handshake = b""


def _drop_expired(s: Session, today: int) -> None:
    s.skipped = {p: k for p, k in s.skipped.items() if not expired(k.day, today)}
    s.old_chains = tuple(c for c in s.old_chains if not expired(c.day, today))


def expire(session: Session, today: int) -> Session:
    """The daily look (section 7)."""
    s = session.candidate()
    _drop_expired(s, today)
    return s
