"""01 Primitives and labels."""

import hashlib
import hmac
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kyber_py.ml_kem import ML_KEM_768, ML_KEM_1024

from .refused import Refused, need


def _label(text: str) -> bytes:
    return b"Undertone v1 " + text.encode("ascii")


# Section 3. The order is that of the table.
LABEL_ACCOUNT_FINGERPRINT = _label("account fingerprint")
LABEL_DEVICE_CERTIFICATE = _label("device certificate")
LABEL_DEVICE_LIST = _label("device list")
LABEL_DEVICE_LIST_HASH = _label("list hash")
LABEL_SAFETY_NUMBER = _label("safety number")
LABEL_LINK_FETCH = _label("link fetch")
LABEL_LINK_CARD = _label("link card")
LABEL_LINK_HELLO = _label("link hello")
LABEL_LINK_PSK = _label("link psk")
LABEL_BUNDLE = _label("prekey bundle")
LABEL_CARD_SEAL = _label("card seal")
LABEL_HELLO_SEAL = _label("hello seal")
LABEL_TRANSCRIPT = _label("transcript")
LABEL_IDENTITY_KEY = _label("identity key")
LABEL_HANDSHAKE_CHAIN = _label("handshake chain")
LABEL_SESSION_KEYS = _label("session keys")
LABEL_STEP = _label("step")
LABEL_EPOCH_STEP = _label("epoch step")
LABEL_CHAIN = _label("chain")
LABEL_BODY = _label("body")
LABEL_NONCE = _label("nonce")
LABEL_CHAIN_CONSTANTS = _label("chain constants")
LABEL_EPOCH_TAG = _label("epoch tag")
LABEL_KEM_KEY_HASH = _label("kem key")
LABEL_KEM_CIPHERTEXT_HASH = _label("kem ciphertext")
LABEL_FILE_COMMITMENT = _label("file commitment")
LABEL_FILE_STREAM = _label("file stream")
LABEL_RECOVERY_CHECK = _label("recovery key check")
LABEL_BACKUP_HEAD = _label("backup head")
LABEL_BACKUP_COMMITMENT = _label("backup commitment")
LABEL_BACKUP_CHUNKS = _label("backup chunks")

LABELS = {name: value for name, value in globals().items() if name.startswith("LABEL_")}

ZERO_NONCE = bytes(12)


# Hashes and key derivation.


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hash_(label: bytes, *parts: bytes) -> bytes:
    return sha256(label + b"".join(parts))


def hash8(label: bytes, *parts: bytes) -> bytes:
    return hash_(label, *parts)[:8]


def hash16(label: bytes, *parts: bytes) -> bytes:
    return hash_(label, *parts)[:16]


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract (RFC 5869, section 2.2)."""
    return _hmac(salt, ikm)


def expand(prk: bytes, info: bytes, n: int) -> bytes:
    """HKDF-Expand (RFC 5869, section 2.3)."""
    out, block, i = b"", b"", 1
    while len(out) < n:
        block = _hmac(prk, block + info + bytes([i]))
        out += block
        i += 1
    return out[:n]


def same(a: bytes, b: bytes) -> bool:
    """Compare secrets."""
    return hmac.compare_digest(a, b)


# AES-256-GCM.


def seal(key: bytes, nonce: bytes, ad: bytes, plain: bytes) -> bytes:
    return AESGCM(key).encrypt(nonce, plain, ad)


def open_(key: bytes, nonce: bytes, ad: bytes, sealed: bytes) -> bytes | None:
    """The plaintext, or None where it does not open."""
    if len(sealed) < 16:
        return None
    try:
        return AESGCM(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        return None


# X25519, section 2.1.

_P = 2**255 - 19


def dh_public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def check_dh_public(public: bytes) -> None:
    need(int.from_bytes(public, "little") < _P, "R-101", "X25519 key is not canonical")


def dh(private: bytes, public: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError as error:
        raise Refused("R-102", "the exchange gives all zero") from error


# Ed25519, section 2.2. Decoding and the order of a point are done here with
# plain numbers (RFC 8032, section 5.1.3); the equation is the library's, which
# computes S·B − k·A without the cofactor, compares its encoding with R, and
# refuses an S that is not below the group order.

_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)


def _decode_point(data: bytes) -> tuple[int, int] | None:
    """The affine point, or None where the bytes are no canonical encoding."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P != u:
        x = x * _SQRT_M1 % _P
        if v * x * x % _P != u:
            return None
    if x == 0 and sign:
        return None
    return (_P - x if x % 2 != sign else x), y


def _double(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    k = _D * x * x * y * y % _P
    return (
        2 * x * y * pow(1 + k, _P - 2, _P) % _P,
        (y * y + x * x) * pow(1 - k, _P - 2, _P) % _P,
    )


def _weak(data: bytes) -> bool:
    """No canonical encoding of a point, or one of order 1, 2, 4 or 8."""
    point = _decode_point(data)
    if point is None:
        return True
    for _ in range(3):
        point = _double(point)
    return point == (0, 1)


def sign_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def check_sign_public(public: bytes) -> None:
    need(not _weak(public), "R-104", "Ed25519 key is not canonical, or of small order")


_ORDER = 2**252 + 27742317777372353535851937790883648493


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    need(len(signature) == 64, "R-105", "a signature has 64 bytes")
    need(int.from_bytes(signature[32:], "little") < _ORDER, "R-105", "S is not reduced")
    need(not _weak(signature[:32]), "R-105", "R is no point, or of small order")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature as error:
        raise Refused("R-105", "the signature does not verify") from error


# ML-KEM, section 2.3.


class Kem:
    """One parameter set of FIPS 203, private keys as seeds."""

    def __init__(self, name: str, scheme, key_len: int, ciphertext_len: int):
        self.name = name
        self._scheme = scheme
        self.key_len = key_len
        self.ciphertext_len = ciphertext_len

        # Every message in which pieces travel needs the key of one seed again.
        self._derive = lru_cache(maxsize=64)(scheme.key_derive)

    def key(self, seed: bytes) -> bytes:
        """The encapsulation key of a seed ``d ‖ z``."""
        return self._derive(seed)[0]

    def check_key(self, ek: bytes) -> None:
        """The modulus check of section 7.2."""
        for i in range(0, self.key_len - 32, 3):
            a, b, c = ek[i : i + 3]
            need(
                a | (b & 15) << 8 < 3329 and b >> 4 | c << 4 < 3329,
                "R-103",
                "a coefficient is 3329 or more",
            )

    def encapsulate(self, ek: bytes, m: bytes) -> tuple[bytes, bytes]:
        """Shared secret and ciphertext for the message ``m``."""
        return self._scheme._encaps_internal(ek, m)

    def decapsulate(self, seed: bytes, ciphertext: bytes) -> bytes:
        _, dk = self._derive(seed)
        return self._scheme.decaps(dk, ciphertext)


MLKEM768 = Kem("ML-KEM-768", ML_KEM_768, 1184, 1088)
MLKEM1024 = Kem("ML-KEM-1024", ML_KEM_1024, 1568, 1568)
