"""10 Stored forms: a session."""

from . import pq
from .constants import MAX_OLD_CHAINS, MAX_SKIPPED_KEYS, REMEMBERED_POSITIONS
from .envelopes import HANDSHAKE_LENGTHS
from .layout import Reader, u8, u16, u32, u64, zero
from .primitives import MLKEM768, check_dh_public
from .ratchet import (
    ZERO_KEY,
    OldChain,
    Position,
    Receiving,
    Sending,
    Session,
    SkippedKey,
)
from .refused import Refused, need, reported_as

VERSION = 1
BROKEN, COUNT, KEY = "R-1002", "R-1003", "R-1004"


def write(s: Session) -> bytes:
    out = u16(VERSION) + u8(s.role) + s.id
    out += u8(HANDSHAKE_LENGTHS.index(len(s.handshake))) + s.handshake
    out += _write_core(s) + _write_phase(s.phase)
    out += u16(len(s.old_chains))
    for c in s.old_chains:
        out += u32(c.serial) + c.header_key + c.constants + u32(c.end) + u32(c.day)
    out += u16(len(s.positions))
    for p in s.positions:
        out += u32(p.serial) + u32(p.number) + p.mark
    out += u16(len(s.skipped))
    return out + b"".join(
        u32(k.serial) + u32(k.number) + u32(k.day) + k.key for k in s.skipped.values()
    )


def _write_core(s: Session) -> bytes:
    out = s.root + u32(s.epoch) + s.tag + s.own
    out += u8(s.remote is not None) + (s.remote or ZERO_KEY)
    out += s.next_sending + s.next_receiving + u8(s.sending_due)
    c = s.sending
    out += c.header_key + c.chain_key + c.public + u32(c.previous) + u32(c.next)
    r = s.receiving
    out += u32(r.serial) + r.header_key + r.chain_key
    out += u32(r.previous) + u32(r.next) + u32(r.epoch) + r.tag
    return out + u8(s.cursor)


def _write_phase(phase: pq.Phase) -> bytes:
    match phase:
        case pq.Idle():
            return u8(0)
        case pq.Offering(seed, hash_of_key, peer_has_key, assembly):
            return u8(1) + seed + hash_of_key + u8(peer_has_key) + _write_assembly(assembly)
        case pq.Secret(ss, hash_of_key, hash_of_ct):
            return u8(2) + ss + hash_of_key + hash_of_ct
        case pq.Waiting(assembly):
            return u8(3) + _write_assembly(assembly)
        case pq.Keyed(ek):
            return u8(4) + ek
        case pq.Answering(ss, hash_of_key, ct, assembly):
            return u8(5) + ss + hash_of_key + ct + _write_assembly(assembly)


def _write_assembly(assembly: pq.Assembly | None) -> bytes:
    if assembly is None:
        return u8(0)
    bitmap = sum(1 << i for i, _ in assembly.blocks)
    return u8(1) + assembly.tag + u64(bitmap) + b"".join(block for _, block in assembly.blocks)


def read(data: bytes) -> Session:
    reader = Reader(data, BROKEN)
    version = reader.u16()
    need(version == VERSION, "R-1001", f"version {version}")
    role, id_ = int(reader.flag(BROKEN)), reader.take(32)
    kind = reader.u8()
    need(kind < len(HANDSHAKE_LENGTHS), BROKEN, f"handshake {kind}")
    handshake = reader.take(HANDSHAKE_LENGTHS[kind])
    core = _read_core(reader)
    phase = _read_phase(reader)
    old_chains = _read_all(reader, MAX_OLD_CHAINS, _read_old_chain)
    positions = _read_all(reader, REMEMBERED_POSITIONS, _read_position)
    skipped = {}
    for key in _read_all(reader, MAX_SKIPPED_KEYS, _read_skipped):
        need(key.place not in skipped, BROKEN, "two skipped keys at one place")
        skipped[key.place] = key
    reader.end(BROKEN)
    session = Session(
        id=id_, role=role, handshake=handshake, phase=phase,
        old_chains=old_chains, positions=positions, skipped=skipped, **core,
    )
    _check_serials(session)
    return session


def _read_core(reader: Reader) -> dict:
    root, epoch, tag, own = reader.take(32), reader.u32(), reader.take(8), reader.take(32)
    has_remote, remote = reader.flag(BROKEN), reader.take(32)
    with reported_as(KEY):
        check_dh_public(remote)
    need(has_remote or zero(remote), BROKEN, "a remote key that is not there")
    next_sending, next_receiving = reader.take(32), reader.take(32)
    sending_due = reader.flag(BROKEN)
    sending = Sending(
        reader.take(32), reader.take(32), reader.take(32), reader.u32(), reader.u32()
    )
    chain = sending_due or not zero(sending.public)
    need(chain or not has_remote, BROKEN, "no sending chain, and none to begin")
    return {
        "root": root, "epoch": epoch, "tag": tag, "own": own,
        "remote": remote if has_remote else None,
        "next_sending": next_sending, "next_receiving": next_receiving,
        "sending_due": sending_due,
        "sending": sending,
        "receiving": Receiving(
            reader.u32(), reader.take(32), reader.take(32), reader.u32(), reader.u32(),
            reader.u32(), reader.take(8),
        ),
        "cursor": reader.u8(),
    }


def _read_phase(reader: Reader) -> pq.Phase:
    kind = reader.u8()
    if kind == 0:
        return pq.Idle()
    if kind == 1:
        seed, hash_of_key, flag = reader.take(64), reader.take(32), reader.flag(BROKEN)
        return pq.Offering(seed, hash_of_key, flag, _read_assembly(reader, pq.CIPHERTEXT))
    if kind == 2:
        return pq.Secret(reader.take(32), reader.take(32), reader.take(32))
    if kind == 3:
        return pq.Waiting(_read_assembly(reader, pq.KEY))
    if kind == 4:
        ek = reader.take(MLKEM768.key_len)
        with reported_as(KEY):
            MLKEM768.check_key(ek)
        return pq.Keyed(ek)
    if kind == 5:
        ss, hash_of_key = reader.take(32), reader.take(32)
        ct = reader.take(MLKEM768.ciphertext_len)
        return pq.Answering(ss, hash_of_key, ct, _read_assembly(reader, pq.KEY))
    raise Refused(BROKEN, f"phase {kind}")


def _read_assembly(reader: Reader, kind: int) -> pq.Assembly | None:
    if not reader.flag(BROKEN):
        return None
    tag, bitmap, total = reader.take(8), reader.u64(), pq.BLOCKS[kind]
    need(bitmap < (1 << total) - 1, BROKEN, "a bitmap of too many blocks")
    here = [i for i in range(total) if bitmap >> i & 1]
    return pq.Assembly(tag, tuple((i, reader.take(32)) for i in here))


def _read_all(reader: Reader, most: int, read_one) -> tuple:
    count = reader.u16()
    need(count <= most, COUNT, f"{count} entries")
    return tuple(read_one(reader) for _ in range(count))


def _read_old_chain(reader: Reader) -> OldChain:
    return OldChain(
        reader.u32(), reader.take(32), reader.take(16), reader.u32(), reader.u32()
    )


def _read_position(reader: Reader) -> Position:
    return Position(reader.u32(), reader.u32(), reader.take(8))


def _read_skipped(reader: Reader) -> SkippedKey:
    return SkippedKey(reader.u32(), reader.u32(), reader.u32(), reader.take(32))


def _check_serials(s: Session) -> None:
    """Section 1.5, the last paragraph."""
    before = 0
    for chain in s.old_chains:
        need(before < chain.serial < s.receiving.serial, BROKEN, "serials of old chains")
        before = chain.serial
    for entry in (*s.positions, *s.skipped.values()):
        past = 0 < entry.serial < s.receiving.serial
        here = entry.serial == s.receiving.serial != 0 and entry.number < s.receiving.next
        need(past or here, BROKEN, "a place that was not reached")
