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
_LETTERS = re.compile(r"[A-Za-z0-9_-]*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def valid_host(host: bytes) -> bool:
    """A lower-case DNS name, or an IP address in its canonical form."""
    try:
        text = host.decode("ascii")
    except UnicodeDecodeError:
        return False
    if not 1 <= len(text) <= 253:
        return False
    try:
        return str(ipaddress.ip_address(text)) == text
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


def _decode_groups(letters: str) -> tuple[bytes, bool]:
    """The bytes of the letters, and whether the last letters decode exactly.

    Where the letters that are left behind whole groups of four are one, or
    have bits too many that are not zero, the bytes are those of the groups.
    """
    whole = len(letters) // 4 * 4
    tail = letters[whole:]
    data = base64.urlsafe_b64decode(letters[:whole])
    if not tail:
        return data, True
    if len(tail) == 1:
        return data, False
    last = base64.urlsafe_b64decode(tail + "=" * (4 - len(tail)))
    if encode64(last) != tail:
        return data, False
    return data + last, True


def _truncated(payload: bytes) -> bool:
    """Whether the payload ends before its layout does."""
    return len(payload) < 67 or len(payload) < 66 + 35 + payload[66] + 4


def read_link(text: str) -> Link:
    """Section 3; the first rule that applies is reported."""
    text = text.strip()
    if not text.startswith(PREFIX):
        need(bool(text) and PREFIX.startswith(text), "R-301", "not a link")
        raise Refused("R-302", "the end is missing")
    letters = text[len(PREFIX) :]
    clean = _LETTERS.match(letters).group()
    if len(clean) >= 2:
        version = base64.urlsafe_b64decode(clean[:2] + "==")[0]
        need(version == 1, "R-304", f"version {version}")
    need(clean == letters, "R-303", "a letter outside base64url")
    payload, exact = _decode_groups(letters)
    need(not _truncated(payload), "R-302", "the end is missing")
    need(len(text) <= MAX_LETTERS, "R-303", "too many letters")
    need(exact, "R-303", "surplus bits or letters")
    reader = Reader(payload, "R-302")
    reader.take(1)
    kind, secret, fingerprint = reader.u8(), reader.take(32), reader.take(32)
    address = Address.read(reader, "R-303")
    check = reader.take(4)
    reader.end("R-303")
    need(check == sha256(payload[:-4])[:4], "R-303", "the checksum does not fit")
    need(kind in KINDS, "R-305", f"kind {kind}")
    return Link(kind, secret, fingerprint, address)


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
