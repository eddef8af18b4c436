"""Arithmetic on Ed25519's curve, for signatures that no library makes.

Vectors of R-104 and R-105 need keys with a part of small order.
"""

import hashlib

from .primitives import _D, _ORDER, _P, _decode_point

ORDER = _ORDER
IDENTITY = (0, 1)
BASE = _decode_point(bytes([0x58] + [0x66] * 31))


def add(one, other):
    (x1, y1), (x2, y2) = one, other
    k = _D * x1 * x2 * y1 * y2 % _P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, _P - 2, _P) % _P,
        (y1 * y2 + x1 * x2) * pow(1 - k, _P - 2, _P) % _P,
    )


def multiply(n, point):
    out = IDENTITY
    while n:
        if n & 1:
            out = add(out, point)
        point = add(point, point)
        n >>= 1
    return out


def encode(point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def torsion():
    """A point of order 8."""
    for y in range(2, 100):
        point = _decode_point(y.to_bytes(32, "little"))
        if point is None:
            continue
        small = multiply(ORDER, point)
        if multiply(4, small) != IDENTITY:
            return small
    raise AssertionError("there is one")


def secret_scalar(seed: bytes) -> int:
    h = bytearray(hashlib.sha512(seed).digest()[:32])
    h[0] &= 248
    h[31] = h[31] & 127 | 64
    return int.from_bytes(h, "little")


def sign_with(a: int, public: bytes, r: int, r_point, message: bytes) -> tuple[bytes, int]:
    """A signature for a scalar, a key and an R that are given, and k."""
    encoded = encode(r_point)
    k = int.from_bytes(hashlib.sha512(encoded + public + message).digest(), "little") % ORDER
    return encoded + ((r + k * a) % ORDER).to_bytes(32, "little"), k
