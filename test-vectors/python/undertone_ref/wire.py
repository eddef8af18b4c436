"""11 The relay protocol: frames, identifiers, addresses, owner's signatures.

A frame is a dict of its fields. A choice is a dict too, with the variant's name
under "is". Values: bytes, ints, bools, lists, None for an absent option.
"""

import base64
import ipaddress
from dataclasses import dataclass

from .layout import Reader, u8, u32, zero
from .links import Address, canonical_ip, encode64, valid_host
from .primitives import check_sign_public, sha256, sign, verify
from .refused import Refused, need, reported_as

MAX_MESSAGE = {"control": 262_144, "blob": 1_024}
MAX_FRAME_BYTES = 262_144
ENVELOPE_SIZES = tuple(1_024 << i for i in range(7))
BUNDLE_SIZE = 4_096
CREDIT = range(1, 1_025)

LENGTH, FRAME, FORM, COUNT, KIND_LENGTH, PADDING = (
    f"R-{n}" for n in (1101, 1102, 1103, 1106, 1107, 1108)
)
RECORD = 1_152


# Messages on a stream.


def write_message(frame: bytes) -> bytes:
    return u32(len(frame)) + frame


def check_length(length: int, stream: str) -> None:
    need(1 <= length <= MAX_MESSAGE[stream], LENGTH, f"a message of {length} bytes")


# The encoding of frames. A type reads and writes; `least` is its smallest
# size.


class Varint:
    least = 1

    def __init__(self, bits: int):
        self.most = (1 << bits) - 1

    def read(self, r: Reader) -> int:
        value = shift = 0
        while True:
            byte = r.u8()
            value |= (byte & 127) << shift
            need(value <= self.most and shift < 70, FORM, "a number of too many bits")
            if byte < 128:
                need(byte != 0 or shift == 0, FORM, "an overlong varint")
                return value
            shift += 7

    def write(self, value: int) -> bytes:
        if not 0 <= value <= self.most:
            raise ValueError(f"{value} does not fit")
        out = b""
        while value > 127:
            out += u8(value & 127 | 128)
            value >>= 7
        return out + u8(value)


V16, V32, V64 = Varint(16), Varint(32), Varint(64)


class Fixed:
    """bytes[n]"""

    def __init__(self, n: int):
        self.least = n

    def read(self, r: Reader) -> bytes:
        return r.take(self.least)

    def write(self, value: bytes) -> bytes:
        if len(value) != self.least:
            raise ValueError(f"{len(value)} bytes instead of {self.least}")
        return value


class Bytes:
    """bytes≤n"""

    least = 1

    def __init__(self, most: int):
        self.most = most

    def read(self, r: Reader) -> bytes:
        length = V64.read(r)
        need(length <= self.most, COUNT, f"{length} bytes of at most {self.most}")
        need(length <= r.left, COUNT, f"{length} bytes, and {r.left} are there")
        return r.take(length)

    def write(self, value: bytes) -> bytes:
        return V64.write(len(value)) + value


class ListOf:
    """list≤n of T"""

    least = 1

    def __init__(self, most: int, item):
        self.most, self.item = most, item

    def read(self, r: Reader) -> list:
        count = V64.read(r)
        need(count <= self.most, COUNT, f"{count} items of at most {self.most}")
        need(count * self.item.least <= r.left, COUNT, f"{count} items are not there")
        return [self.item.read(r) for _ in range(count)]

    def write(self, value: list) -> bytes:
        return V64.write(len(value)) + b"".join(map(self.item.write, value))


class Option:
    least = 1

    def __init__(self, item):
        self.item = item

    def read(self, r: Reader):
        mark = r.u8()
        need(mark in (0, 1), FORM, f"an option is {mark}")
        return self.item.read(r) if mark else None

    def write(self, value) -> bytes:
        return u8(0) if value is None else u8(1) + self.item.write(value)


class Bool:
    least = 1

    def read(self, r: Reader) -> bool:
        value = r.u8()
        need(value in (0, 1), FORM, f"a bool is {value}")
        return value == 1

    def write(self, value: bool) -> bytes:
        return u8(value)


class Struct:
    def __init__(self, **fields):
        self.fields = fields
        self.least = sum(f.least for f in fields.values())

    def read(self, r: Reader) -> dict:
        return {name: kind.read(r) for name, kind in self.fields.items()}

    def write(self, value: dict) -> bytes:
        return b"".join(kind.write(value[name]) for name, kind in self.fields.items())


class Choice:
    """Variants in the order of their indexes: name, and structure."""

    least = 1

    def __init__(self, *variants):
        self.variants = variants

    def read(self, r: Reader) -> dict:
        index = V32.read(r)
        need(index < len(self.variants), FRAME, f"no variant {index}")
        name, kind = self.variants[index]
        return {"is": name} | kind.read(r)

    def write(self, value: dict) -> bytes:
        for index, (name, kind) in enumerate(self.variants):
            if name == value["is"]:
                return V32.write(index) + kind.write(value)
        raise ValueError(f"no variant {value['is']}")


class Zeros(Bytes):
    """Padding."""

    def read(self, r: Reader) -> bytes:
        value = super().read(r)
        need(zero(value), PADDING, "padding is not zero")
        return value


class Word(Choice):
    """A choice whose variants have no fields: its name alone."""

    def __init__(self, *names):
        super().__init__(*((name, Struct()) for name in names))

    def read(self, r: Reader) -> str:
        return super().read(r)["is"]

    def write(self, value: str) -> bytes:
        return super().write({"is": value})


B16, B32, B64 = Fixed(16), Fixed(32), Fixed(64)

REQUEST = Choice(
    ("owner", Struct(body=Bytes(MAX_FRAME_BYTES), signatures=ListOf(256, B64))),
    ("deliver", Struct(write_capability=B32, envelope=Bytes(65_536))),
    ("take", Struct(fetch_capability=B32, take_id=B16)),
    (
        "acknowledge",
        Struct(floors=ListOf(256, Struct(mailbox=B32, incarnation=B16, floor=V64))),
    ),
    ("delete-blob", Struct(blob=B32, delete_capability=B32)),
    ("ticket", Struct(session_key=B32, mailboxes=ListOf(2_048, B32))),
    ("resume", Struct(body=Bytes(66_592), signature=B64)),
    ("padding", Struct(zeros=Zeros(2_304))),
)
RESUME_BODY = Struct(id=V64, credit=V32, ticket=Bytes(66_560))
CLIENT_FRAME = Struct(id=V64, request=REQUEST)

LIMITS = Struct(envelopes=V32, bytes=V64)
HASHES = ListOf(64, B32)
OPERATIONS = Choice(
    (
        "create-mailbox",
        Struct(
            read_key=B32, token=B32, kind=Word("queue"), limits=Option(LIMITS), hashes=HASHES
        ),
    ),
    ("set-limits", Struct(read_key=B32, limits=LIMITS)),
    ("add-capabilities", Struct(read_key=B32, hashes=HASHES)),
    ("revoke-capabilities", Struct(read_key=B32, hashes=HASHES)),
    ("subscribe", Struct(read_keys=ListOf(256, B32), credit=V32)),
    ("status", Struct(read_keys=ListOf(256, B32))),
    ("delete-mailbox", Struct(read_key=B32)),
    (
        "fill-depot",
        Struct(
            depot_key=B32, depot=B32, token=B32, mode=Word("add", "replace"),
            bundles=ListOf(50, Bytes(4_096)), last_resort=Option(Bytes(4_096)), expiry=V32,
        ),
    ),
    ("depot-status", Struct(depot_key=B32, depot=B32)),
    ("delete-depot", Struct(depot_key=B32, depot=B32)),
)
OWNER_BODY = Struct(id=V64, operation=OPERATIONS)

MAILBOX_STATE = Struct(
    incarnation=B16, acknowledged=V64, expired=V64, head=V64, bytes=V64, limits=LIMITS
)
PREKEY = Choice(
    ("one-time", Struct(bundle=Bytes(4_096))),
    ("last-resort", Struct(bundle=Bytes(4_096))),
    ("used-up", Struct()),
)
RESPONSE = Choice(
    ("done", Struct()),
    ("mailboxes", Struct(states=ListOf(2_048, Option(MAILBOX_STATE)))),
    ("prekey", Struct(prekey=PREKEY)),
    ("depot", Struct(left=V32, last_resort=Bool(), expiry=V32, incarnation=B16)),
    ("ticket", Struct(ticket=Bytes(66_560), seconds=V32)),
)
PUSH = Choice(
    ("envelope", Struct(mailbox=B32, incarnation=B16, number=V64, envelope=Bytes(65_536))),
    ("damaged", Struct(mailbox=B32, incarnation=B16, number=V64)),
    ("ended", Struct(mailbox=B32, reason=Word("replaced", "deleted"))),
)
OUTCOME = Choice(("response", Struct(response=RESPONSE)), ("error", Struct(code=V16)))
SERVER_FRAME = Choice(
    ("reply", Struct(id=V64, outcome=OUTCOME)),
    ("push", Struct(push=PUSH)),
    ("padding", Struct(zeros=Zeros(2_304))),
)
BLOB_REQUEST = Choice(
    (
        "put",
        Struct(
            blob=B32, token=B32, read_hash=B32, delete_hash=B32, length=V64, sha256=B32, expiry=V32
        ),
    ),
    ("get", Struct(blob=B32, read_capability=B32, offset=V64)),
)
BLOB_REPLY = Choice(
    ("ready", Struct(offset=V64)),
    ("stored", Struct()),
    ("content", Struct(length=V64, sha256=B32)),
    ("refused", Struct(code=V16)),
)


def read_frame(kind, data: bytes) -> dict:
    reader = Reader(data, FRAME)
    value = kind.read(reader)
    reader.end(FRAME)
    return value


def write_frame(kind, value: dict) -> bytes:
    return kind.write(value)


def check_stream_kind(byte: int) -> str:
    need(byte in (1, 2), "R-1104", f"a stream of kind {byte}")
    return "control" if byte == 1 else "blob"


def check_envelope_size(length: int) -> None:
    need(length in ENVELOPE_SIZES, "R-1110", f"an envelope of {length} bytes")


def check_bundle_size(length: int) -> None:
    need(length == BUNDLE_SIZE, "R-1111", f"a bundle of {length} bytes")


def check_credit(credit: int) -> None:
    need(credit in CREDIT, "R-1115", f"a credit of {credit}")


# R-1107: the largest length behind the request id, by the request's index; and of
# what a relay sends, by its first byte.
CLIENT_BOUNDS = (MAX_FRAME_BYTES, 65_579, 49, 14_859, 65, 65_579, 66_667, 2_315)
SERVER_BOUNDS = (MAX_FRAME_BYTES, 65_606, 2_315)


def check_bound(kind, head: bytes, length: int) -> None:
    """R-1107: no frame of this kind has so many bytes."""
    need(length <= _bound_of(kind, head), KIND_LENGTH, f"{length} bytes")


def _bound_of(kind, head: bytes) -> int:
    if kind is SERVER_FRAME:
        at, bounds = 0, SERVER_BOUNDS
    else:
        # The request id ends with the first byte that has no high bit.
        at = next((n for n, byte in enumerate(head) if byte < 128), len(head)) + 1
        bounds = CLIENT_BOUNDS
    if len(head) <= at or head[at] >= len(bounds):
        return 0
    return min(at + bounds[head[at]], MAX_FRAME_BYTES)


# Identifiers.


def _named(label: str):
    return lambda value: sha256(b"undertone/1 " + label.encode() + value)


mailbox_id = _named("mailbox id")
write_capability_hash = _named("write capability")
depot_id = _named("depot id")
token_hash = _named("admission token")
blob_read_hash = _named("blob read")
blob_delete_hash = _named("blob delete")


def envelope_hash(envelope: bytes) -> bytes:
    return _named("envelope")(envelope)[:16]


# Owner requests.


def operation_code(operation: dict) -> int:
    return [name for name, _ in OPERATIONS.variants].index(operation["is"])


def keys_of(operation: dict) -> list[bytes]:
    """The keys that an operation names, in their order."""
    for name in ("read_key", "depot_key"):
        if name in operation:
            return [operation[name]]
    return operation["read_keys"]


def signed_message(exporter: bytes, code: int, body: bytes) -> bytes:
    return b"undertone/1 owner request" + exporter + u8(code) + u32(len(body)) + body


def owner_request(exporter: bytes, id_: int, operation: dict, secrets: list[bytes]) -> dict:
    """The request, signed by each of the keys that it names."""
    body = OWNER_BODY.write({"id": id_, "operation": operation})
    message = signed_message(exporter, operation_code(operation), body)
    signatures = [sign(secret, message) for secret in secrets]
    return {"is": "owner", "body": body, "signatures": signatures}


def resume_request(exporter: bytes, id_: int, credit: int, ticket: bytes, secret: bytes) -> dict:
    body = RESUME_BODY.write({"id": id_, "credit": credit, "ticket": ticket})
    message = b"undertone/1 resume" + exporter + u32(len(body)) + body
    return {"is": "resume", "body": body, "signature": sign(secret, message)}


def check_resume(
    exporter: bytes, frame_id: int, session_key: bytes, body: bytes, signature: bytes
) -> int:
    """The credit, after R-1112 and R-1118."""
    read = read_frame(RESUME_BODY, body)
    need(read["id"] == frame_id, "R-1112", "another request id")
    message = b"undertone/1 resume" + exporter + u32(len(body)) + body
    with reported_as("R-1118"):
        check_sign_public(session_key)
        verify(session_key, message, signature)
    return read["credit"]


def padding(written: int, frame) -> bytes:
    """The message of a padding frame that makes ``written`` bytes a multiple of
    a record. ``frame`` makes the frame of so many zeros."""
    for n in range(2_305):
        message = write_message(frame(bytes(n)))
        if (written + len(message)) % RECORD == 0:
            return message
    raise AssertionError("a record is longer than any padding")


def check_owner_request(exporter: bytes, frame_id: int, request: dict) -> dict:
    """The operation, after R-1112, R-1113 and R-1114."""
    body = read_frame(OWNER_BODY, request["body"])
    operation = body["operation"]
    need(body["id"] == frame_id, "R-1112", "another request id")
    keys = keys_of(operation)
    need(0 < len(keys) == len(request["signatures"]), "R-1113", "keys and signatures")
    need(len(set(keys)) == len(keys), "R-1116", "a key twice")
    message = signed_message(exporter, operation_code(operation), request["body"])
    for key, signature in zip(keys, request["signatures"]):
        with reported_as("R-1114"):
            check_sign_public(key)
            verify(key, message, signature)
    return operation


# Addresses.

SPELLING, CHECK = "R-1130", "R-1131"
_SPKI = bytes.fromhex("302a300506032b6570032100")
ROOT, TOKEN = 32, 32


def root_fingerprint(public: bytes) -> bytes:
    return sha256(_SPKI + public)


@dataclass(frozen=True)
class TextAddress:
    address: Address
    token: bytes | None

    def write(self) -> str:
        host = self.address.host.decode()
        if ":" in host:
            host = f"[{host}]"
        head = f"{'ut-relay' if self.token is None else 'ut-join'}:{host}:{self.address.port}:"
        key = self.address.root + (self.token or b"")
        return head + encode64(key + _check(head, key))

    @classmethod
    def read(cls, text: str, kind: str | None = None) -> "TextAddress":
        scheme, _, rest = text.partition(":")
        kinds = ("ut-relay", "ut-join") if kind is None else (f"ut-{kind}",)
        need(scheme in kinds, SPELLING, "no address of this kind")
        host, rest = _split_host(rest)
        port, colon, key = rest.partition(":")
        need(bool(colon), CHECK, "the end is missing")
        need(port.isascii() and port.isdigit() and str(int(port)) == port, SPELLING, "port")
        need(1 <= int(port) <= 65_535, SPELLING, "port")
        length = ROOT + (TOKEN if scheme == "ut-join" else 0)
        letters = -(-(length + 4) * 8 // 6)
        need(len(key) == letters, CHECK, "too few or too many letters")
        data = _decode64(key)
        need(data[length:] == _check(text[: -len(key)], data[:length]), CHECK, "check")
        address = Address(host.encode(), int(port), data[:ROOT])
        return cls(address, data[ROOT:length] or None)


def _check(head: str, key: bytes) -> bytes:
    return sha256(b"undertone/1 address" + head.encode() + key)[:4]


def _split_host(rest: str) -> tuple[str, str]:
    """The host without brackets, and what is behind the colon."""
    if rest.startswith("["):
        host, end, behind = rest[1:].partition("]:")
        need(bool(end), CHECK, "the end is missing")
        need(_canonical_ipv6(host), SPELLING, "no IPv6 address in its only spelling")
        return host, behind
    host, end, behind = rest.partition(":")
    need(bool(end), CHECK, "the end is missing")
    need(host.isascii() and valid_host(host.encode()), SPELLING, "no host in its only spelling")
    return host, behind


def _canonical_ipv6(host: str) -> bool:
    try:
        return canonical_ip(ipaddress.IPv6Address(host)) == host
    except ValueError:
        return False


def _decode64(letters: str) -> bytes:
    try:
        data = base64.b64decode(letters + "=" * (-len(letters) % 4), b"-_", validate=True)
    except ValueError as error:
        raise Refused(CHECK, "no base64url") from error
    need(encode64(data) == letters, CHECK, "surplus bits")
    return data
