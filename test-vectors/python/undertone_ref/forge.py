"""What only a peer, or the holder of a link, could send: for refused vectors."""

from dataclasses import replace

from . import handshake, prekeys, ratchet
from .constants import OVERHEAD
from .identity import DeviceList
from .layout import u8, u16
from .primitives import (
    LABEL_HELLO_SEAL,
    MLKEM1024,
    ZERO_NONCE,
    dh,
    dh_public,
    seal as aead_seal,
)
from .ratchet import Header, Session
from .transcript import add


def zeros(name: str, n: int) -> bytes:
    """Draws that nobody looks at."""
    return bytes([7]) * n


def message(
    session: Session, draw=zeros, body: bytes | None = None, length: int | None = None, **header
) -> bytes:
    """The ratchet part of the session's next message, with fields of its header
    or its whole body (cut or filled with zero to its length) replaced."""
    s, envelope = ratchet.seal(session, b"forged", draw)
    part = envelope[len(session.handshake) :]
    # A receiver takes a nonce as it comes.
    nonce = part[:12]
    true = Header(s.sending.public, s.sending.previous, s.sending.next - 1, s.epoch, s.tag)
    data = replace(true, **header).write()
    sealed = aead_seal(s.sending.header_key, nonce, s.id, data)
    chain_key = session.sending.chain_key
    if session.sending_due:
        # The half-step is in the state that came out; its first key is known
        # only by doing the step again.
        chain_key = _first_chain_key(session, draw)
    _, key = ratchet.advance(chain_key)
    if body is None:
        from .envelopes import write_body

        body = write_body(b"forged", b"", len(part) - OVERHEAD)
    size = (len(part) if length is None else length) - OVERHEAD
    body = (body + bytes(max(0, size - len(body))))[:size]
    return nonce + sealed + aead_seal(ratchet.body_key(key, nonce), ZERO_NONCE, s.id + sealed, body)


def _first_chain_key(session: Session, draw) -> bytes:
    trace: dict = {}
    ratchet.seal(session, b"forged", draw, trace)
    return trace["half_step"]["chain_key"]


def block(index: int, data: bytes, route: bytes, size: int = 768) -> bytes:
    out = u8(index) + u16(len(data)) + data + u16(len(route)) + route
    return out + bytes(size - len(out))


def greeting(
    device, device_list: DeviceList, link: prekeys.LinkKeys, bundle: prekeys.Bundle,
    ephemeral_public: bytes | None = None, identity_block: bytes | None = None,
    bundle_id: bytes | None = None, ciphertext: bytes | None = None,
    sealed_identity: bytes | None = None,
) -> bytes:
    """A whole first-contact envelope, with parts replaced."""
    ek, nonce = bytes([9]) * 32, bytes([5]) * 12
    public = dh_public(ek) if ephemeral_public is None else ephemeral_public
    ss, ct = MLKEM1024.encapsulate(bundle.kem_key, bytes([8]) * 32)
    ct = ct if ciphertext is None else ciphertext
    t3 = add(add(bundle.digest, 2, public), 3, ct)
    schedule = handshake.Schedule.begin(
        link.psk, ss, dh(ek, bundle.prekey), dh(ek, bundle.device_keys[32:]), t3
    )
    if identity_block is None:
        identity_block = block(0, device_list.data, b"r")
    sealed = aead_seal(schedule.identity_key, ZERO_NONCE, t3, identity_block)
    sealed = sealed if sealed_identity is None else sealed_identity
    t4 = add(t3, 4, sealed)
    keys = schedule.finish(t4, dh(device.dh_secret, bundle.prekey))
    plain = (bundle_id or bundle.id) + public + ct + sealed
    hello = nonce + aead_seal(link.hello_key, nonce, LABEL_HELLO_SEAL, plain)
    session = handshake._new_session(
        ratchet.INITIATOR, t4, keys, handshake=hello, own=bytes(32), remote=bundle.prekey,
        sending_due=True, phase=ratchet.pq.Idle(),
    )
    return ratchet.seal(session, b"forged", zeros)[1]
