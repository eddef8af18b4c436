"""03 Links: payload, text, routes; relay addresses inside them."""

import base64
import ipaddress
import re
from dataclasses import dataclass

from .constants import MAX_ROUTING
from .layout import Reader, u8, u16
from .primitives import sha256
from .refused import Refused, need

PREFIX = "undertone://i/#"
MAX_LETTERS = 640
KINDS = {1: "single-use", 2: "reusable", 3: "reset"}
RESET = 3
_LETTERS = re.compile(r"[A-Za-z0-9_-]*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Unicode's White_Space.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def canonical_ip(address) -> str:
    """RFC 5952; its section 5 for an IPv4 address that is mapped."""
    mapped = getattr(address, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(address)


def valid_host(host: bytes) -> bool:
    """A lower-case DNS name, or an IP address in its canonical form."""
    try:
        text = host.decode("ascii")
    except UnicodeDecodeError:
        return False
    if not 1 <= len(text) <= 253:
        return False
    try:
        return canonical_ip(ipaddress.ip_address(text)) == text
    except ValueError:
        pass
    labels = text.split(".")
    if labels[-1].isdigit():
        return False
    return all(_LABEL.fullmatch(label) for label in labels)


@dataclass(frozen=True)
class Address:
    """Where a relay is: section 1, and chapter 11."""

    host: bytes
    port: int
    root: bytes

    @classmethod
    def read(cls, reader: Reader, rule: str) -> "Address":
        length = reader.u8()
        address = cls(reader.take(length), reader.u16(), reader.take(32))
        need(address.valid, rule, "no address of a relay")
        return address

    @property
    def valid(self) -> bool:
        return valid_host(self.host) and self.port != 0

    def write(self) -> bytes:
        return u8(len(self.host)) + self.host + u16(self.port) + self.root


@dataclass(frozen=True)
class Link:
    kind: int
    secret: bytes
    fingerprint: bytes
    address: Address

    def payload(self) -> bytes:
        data = u8(1) + u8(self.kind) + self.secret + self.fingerprint + self.address.write()
        return data + sha256(data)[:4]

    def text(self) -> str:
        return PREFIX + encode64(self.payload())


def encode64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(letters: str) -> tuple[bytes, bool]:
    """The bytes that the letters give, and whether nothing is left over."""
    whole = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
    data = base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4))
    return data, encode64(data) == letters


def _truncated(payload: bytes) -> bool:
    """Whether the payload ends before its layout does."""
    return len(payload) < 67 or len(payload) < 66 + 35 + payload[66] + 4


def read_link(text: str, own: bytes | None = None) -> Link:
    """Section 3, in its order. ``own`` is the fingerprint of one's own account."""
    text = text.strip(WHITE_SPACE)
    need(len(text.encode()) <= MAX_LETTERS, "R-303", "too long for a link")
    if not text.startswith(PREFIX):
        need(bool(text) and PREFIX.startswith(text), "R-301", "not a link")
        raise Refused("R-302", "the end is missing")
    letters = text[len(PREFIX) :]
    need(bool(_LETTERS.fullmatch(letters)), "R-303", "a letter outside base64url")
    payload, exact = _decode(letters)
    link = read_payload(payload, exact)
    need(link.fingerprint != own, "R-307", "a link of one's own")
    return link


def read_payload(payload: bytes, exact: bool = True) -> Link:
    """From step 5. ``exact``: no letters or bits are left over."""
    need(len(payload) > 0, "R-302", "the end is missing")
    need(payload[0] == 1, "R-304", f"version {payload[0]}")
    need(not _truncated(payload), "R-302", "the end is missing")
    reader = Reader(payload, "R-302")
    reader.take(1)
    kind, secret, fingerprint = reader.u8(), reader.take(32), reader.take(32)
    address = Address.read(reader, "R-303")
    check = reader.take(4)
    reader.end("R-303")
    need(check == sha256(payload[:-4])[:4], "R-303", "the checksum does not fit")
    need(exact, "R-303", "surplus bits, or a single letter")
    need(kind in KINDS, "R-305", f"kind {kind}")
    return Link(kind, secret, fingerprint, address)


def read_reset_link(payload: bytes, contact: bytes) -> Link:
    """13 section 3: what a contact gave; ``contact`` is their account's fingerprint."""
    link = read_payload(payload)
    need(link.kind == RESET, "R-1301", f"kind {link.kind}")
    need(link.fingerprint == contact, "R-1302", "another account")
    return link


@dataclass(frozen=True)
class Route:
    """Section 5."""

    address: Address
    write_capability: bytes

    @classmethod
    def read(cls, data: bytes) -> "Route":
        need(len(data) <= MAX_ROUTING, "R-306", "too long for a route")
        reader = Reader(data, "R-306")
        route = cls(Address.read(reader, "R-306"), reader.take(32))
        reader.end("R-306")
        return route

    def write(self) -> bytes:
        return self.address.write() + self.write_capability
