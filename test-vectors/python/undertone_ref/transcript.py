"""04 section 1: the running hash."""

from .layout import u8, u32
from .primitives import LABEL_TRANSCRIPT, hash_

T0 = hash_(LABEL_TRANSCRIPT)


def add(t: bytes, kind: int, data: bytes) -> bytes:
    return hash_(LABEL_TRANSCRIPT, t, u8(kind), u32(len(data)), data)
