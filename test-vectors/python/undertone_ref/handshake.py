"""04 Handshake."""

from dataclasses import dataclass

from . import pq
from .constants import (
    IDENTITY_BLOCK_LONG,
    IDENTITY_BLOCK_SHORT,
    MAX_ROUTING,
    RETENTION_DAYS,
    SEALED_HANDSHAKE_LONG,
    SEALED_HANDSHAKE_SHORT,
    later,
)
from .envelopes import BUCKETS
from .identity import Device, DeviceList, Record
from .layout import Reader, u8, u16, zero
from .prekeys import Bundle, PrivatePrekey, check_route_made
from .primitives import (
    LABEL_HANDSHAKE_CHAIN,
    LABEL_HELLO_SEAL,
    LABEL_IDENTITY_KEY,
    LABEL_SESSION_KEYS,
    MLKEM1024,
    ZERO_NONCE,
    check_dh_public,
    dh,
    dh_public,
    expand,
    extract,
    open_,
    seal,
)
from .ratchet import INITIATOR, RESPONDER, Session, open_part
from .refused import Refused, need, reported_as
from .transcript import add


# Section 2: identity block.


def write_identity_block(index: int, device_list: DeviceList, route: bytes) -> bytes:
    block = u8(index) + u16(len(device_list.data)) + device_list.data + u16(len(route)) + route
    need(len(block) <= IDENTITY_BLOCK_LONG, "R-409", "more than an identity block holds")
    short = len(block) <= IDENTITY_BLOCK_SHORT
    return block + bytes((IDENTITY_BLOCK_SHORT if short else IDENTITY_BLOCK_LONG) - len(block))


@dataclass(frozen=True)
class Identity:
    """Who calls, and where to answer."""

    list: DeviceList
    index: int
    route: bytes

    @property
    def device_keys(self) -> bytes:
        return self.list.devices[self.index].device_keys

    @classmethod
    def read(cls, block: bytes) -> "Identity":
        reader = Reader(block, "R-407")
        index = reader.u8()
        device_list = DeviceList.read(reader.take(reader.u16()))
        length = reader.u16()
        need(length <= MAX_ROUTING, "R-407", "the route is too long")
        route = reader.take(length)
        need(zero(reader.rest()), "R-407", "padding is not zero")
        need(index < len(device_list.devices), "R-407", "no device at the index")
        return cls(device_list, index, route)


# Section 3: key schedule.


@dataclass
class Schedule:
    """The keys, as far as they are computed."""

    psk: bytes
    t3: bytes
    prk1: bytes
    identity_key: bytes

    @classmethod
    def begin(cls, psk: bytes, ss: bytes, ek_pk: bytes, ek_ik: bytes, t3: bytes) -> "Schedule":
        prk1 = extract(psk, ss + ek_pk + ek_ik)
        return cls(psk, t3, prk1, expand(prk1, LABEL_IDENTITY_KEY + t3, 32))

    def finish(self, t4: bytes, ik_pk: bytes) -> dict[str, bytes]:
        chain = expand(self.prk1, LABEL_HANDSHAKE_CHAIN + t4, 32)
        prk2 = extract(chain, ik_pk)
        out = expand(prk2, LABEL_SESSION_KEYS + t4, 96)
        return {
            "handshake_chain": chain,
            "prk2": prk2,
            "root": out[:32],
            "hk_a": out[32:64],
            "hk_b": out[64:],
        }


def _trace(trace, t, ss, ek_pk, ek_ik, ik_pk, schedule, block, keys) -> None:
    if trace is None:
        return
    trace["handshake"] = {
        "t1": t[0], "t2": t[1], "t3": t[2], "t4": t[3], "ss": ss,
        "dh_ephemeral_prekey": ek_pk, "dh_ephemeral_identity": ek_ik,
        "dh_identity_prekey": ik_pk, "prk1": schedule.prk1,
        "identity_key": schedule.identity_key, "identity_block": block, **keys,
    }


def _new_session(role: int, id_: bytes, keys: dict[str, bytes], **rest) -> Session:
    """Section 7."""
    mine, theirs = ("hk_a", "hk_b") if role == INITIATOR else ("hk_b", "hk_a")
    return Session(
        id=id_, role=role, root=keys["root"], epoch=0, tag=pq.first_tag(id_),
        next_sending=keys[mine], next_receiving=keys[theirs], **rest,
    )


# Section 5: the initiator.


def initiate(
    device: Device, device_list: DeviceList, route: bytes, link, bundle: Bundle, draw,
    trace: dict | None = None,
) -> Session:
    """A session from a bundle that was opened. ``link`` are its LinkKeys."""
    check_route_made(route)
    index = device_list.index_of(device)
    need(bundle.device_keys != device.keys, "R-408", "the device is itself")
    block = write_identity_block(index, device_list, route)
    ek = draw("ephemeral-key", 32)
    m = draw("handshake-kem-message", 32)
    with reported_as("R-403"):
        ek_pk = dh(ek, bundle.prekey)
        ek_ik = dh(ek, bundle.device_keys[32:])
        ik_pk = dh(device.dh_secret, bundle.prekey)
    nonce = draw("hello-nonce", 12)
    ss, ct = MLKEM1024.encapsulate(bundle.kem_key, m)
    t1 = bundle.digest
    t2 = add(t1, 2, dh_public(ek))
    t3 = add(t2, 3, ct)
    schedule = Schedule.begin(link.psk, ss, ek_pk, ek_ik, t3)
    identity = seal(schedule.identity_key, ZERO_NONCE, t3, block)
    t4 = add(t3, 4, identity)
    keys = schedule.finish(t4, ik_pk)
    plain = bundle.id + dh_public(ek) + ct + identity
    sealed = nonce + seal(link.hello_key, nonce, LABEL_HELLO_SEAL, plain)
    _trace(trace, (t1, t2, t3, t4), ss, ek_pk, ek_ik, ik_pk, schedule, block, keys)
    return _new_session(
        INITIATOR, t4, keys, handshake=sealed, own=bytes(32), remote=bundle.prekey,
        sending_due=True, phase=pq.Idle(),
    )


# Section 6: the responder.


@dataclass(frozen=True)
class Greeting:
    """What was in front of an envelope: steps 1 to 3."""

    bundle_id: bytes
    ephemeral: bytes
    ciphertext: bytes
    sealed_identity: bytes
    ratchet_part: bytes

    @classmethod
    def open(cls, hello_key: bytes, envelope: bytes) -> "Greeting":
        need(len(envelope) in BUCKETS, "R-401", "no bucket's length")
        for length in (SEALED_HANDSHAKE_SHORT, SEALED_HANDSHAKE_LONG):
            if len(envelope) < length:
                continue
            sealed = envelope[:length]
            plain = open_(hello_key, sealed[:12], LABEL_HELLO_SEAL, sealed[12:])
            if plain is not None:
                return cls._read(plain, envelope[length:])
        raise Refused("R-401", "no handshake of this link")

    @classmethod
    def _read(cls, plain: bytes, part: bytes) -> "Greeting":
        reader = Reader(plain, "R-401")
        bundle_id, ephemeral = reader.take(16), reader.take(32)
        with reported_as("R-402"):
            check_dh_public(ephemeral)
        ciphertext = reader.take(MLKEM1024.ciphertext_len)
        return cls(bundle_id, ephemeral, ciphertext, reader.rest(), part)

    def transcript(self, digest: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        """T1 to T4."""
        t2 = add(digest, 2, self.ephemeral)
        t3 = add(t2, 3, self.ciphertext)
        return digest, t2, t3, add(t3, 4, self.sealed_identity)

    def session_id(self, digest: bytes) -> bytes:
        return self.transcript(digest)[3]


@dataclass(frozen=True)
class Accepted:
    session: Session
    identity: Identity
    record: Record
    content: bytes


def accept(
    greeting: Greeting, device: Device, prekey: PrivatePrekey, link, today: int,
    replay: set[bytes], record_of, trace: dict | None = None,
) -> Accepted:
    """Steps 6 to 11. ``replay`` are the ids of the replay record; ``record_of``
    gives what is on record of an account, or None."""
    need(greeting.bundle_id == prekey.id, "R-404", "another bundle")
    t = greeting.transcript(prekey.digest)
    _, _, t3, t4 = t
    need(t4 not in replay, "R-410", "accepted before")
    need(today <= later(prekey.expiry, RETENTION_DAYS), "R-405", "too late")
    ss = MLKEM1024.decapsulate(prekey.kem_seed, greeting.ciphertext)
    with reported_as("R-403"):
        ek_pk = dh(prekey.dh_secret, greeting.ephemeral)
        ek_ik = dh(device.dh_secret, greeting.ephemeral)
    schedule = Schedule.begin(link.psk, ss, ek_pk, ek_ik, t3)
    block = open_(schedule.identity_key, ZERO_NONCE, t3, greeting.sealed_identity)
    if block is None:
        raise Refused("R-406", "the identity does not open")
    identity = Identity.read(block)
    need(identity.device_keys != device.keys, "R-408", "the device is itself")
    with reported_as("R-403"):
        ik_pk = dh(prekey.dh_secret, identity.device_keys[32:])
    keys = schedule.finish(t4, ik_pk)
    _trace(trace, t, ss, ek_pk, ek_ik, ik_pk, schedule, block, keys)
    session = _new_session(
        RESPONDER, t4, keys, handshake=b"", own=prekey.dh_secret, remote=None,
        sending_due=False, phase=pq.Waiting(None),
    )
    session, content = open_part(session, greeting.ratchet_part, today, trace)
    record = identity.list.follow(record_of(identity.list.account))
    return Accepted(session, identity, record, content)
