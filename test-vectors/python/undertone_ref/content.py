"""09 Content."""

from dataclasses import dataclass

from .constants import MAX_CONTENT, MAX_ROUTING, MAX_U32
from .layout import Reader, u8, u32, u64
from .refused import Refused, need

SHORT, LONG, VARINT, BOUND, UTF8, FLAG = (f"R-90{i}" for i in range(1, 7))
MAX_TEXT = 49152
MAX_IDS = 256
MAX_REACTION = 64
MAX_NAME = 128
MAX_FILE_NAME = 255
MAX_ADDRESS = 320
MAX_LINK = 360
MAX_SESSIONS = 32


def write_varint(x: int) -> bytes:
    out = b""
    while x > 127:
        out += u8(x & 127 | 128)
        x >>= 7
    return out + u8(x)


def read_varint(reader: Reader) -> int:
    value = shift = 0
    while True:
        byte = reader.u8()
        value |= (byte & 127) << shift
        need(value <= MAX_U32 and shift < 35, VARINT, "more than 32 bits")
        if byte < 128:
            need(byte != 0 or shift == 0, VARINT, "not the shortest form")
            return value
        shift += 7


def write_string(data: bytes, most: int) -> bytes:
    need(len(data) <= most, BOUND, f"{len(data)} bytes of at most {most}")
    return write_varint(len(data)) + data


def read_string(reader: Reader, most: int) -> bytes:
    length = read_varint(reader)
    need(length <= most, BOUND, f"{length} bytes of at most {most}")
    return reader.take(length)


def read_text(reader: Reader, most: int) -> str:
    try:
        return read_string(reader, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(UTF8, "not UTF-8") from error


def _flag(reader: Reader) -> bool:
    return reader.flag(FLAG)


def _id(reader: Reader) -> bytes:
    return reader.take(16)


def _ids(reader: Reader) -> list[bytes]:
    ids = []
    while reader.left:
        need(len(ids) < MAX_IDS, BOUND, "more than 256 ids")
        ids.append(_id(reader))
    return ids


def _write_ids(ids: list[bytes]) -> bytes:
    need(len(ids) <= MAX_IDS, BOUND, "more than 256 ids")
    return b"".join(ids)


def _sessions(reader: Reader) -> list[bytes]:
    sessions = []
    while reader.left:
        need(len(sessions) < MAX_SESSIONS, BOUND, "more than 32 sessions")
        sessions.append(reader.take(32))
    return sessions


def _write_sessions(sessions: list[bytes]) -> bytes:
    need(len(sessions) <= MAX_SESSIONS, BOUND, "more than 32 sessions")
    return b"".join(sessions)


# Each field of a payload: its name, how it is read, how it is written.


def _bytes(name: str, n: int):
    return name, lambda r: r.take(n), lambda v: v


def _text(name: str, most: int = MAX_TEXT):
    return name, lambda r: read_text(r, most), lambda v: write_string(v.encode(), most)


def _string(name: str, most: int):
    return name, lambda r: read_string(r, most), lambda v: write_string(v, most)


def _bool(name: str):
    return name, _flag, lambda v: u8(v)


KINDS = {
    1: [_text("text")],
    2: [
        _bytes("blob_id", 32),
        _bytes("read_capability", 32),
        _bytes("file_key", 32),
        _bytes("commitment", 32),
        _bytes("sha256", 32),
        ("size", Reader.u64, u64),
        _string("relay", MAX_ADDRESS),
        _text("name", MAX_FILE_NAME),
        _text("media_type", MAX_FILE_NAME),
        _text("caption"),
    ],
    3: [("ids", _ids, _write_ids)],
    4: [("ids", _ids, _write_ids)],
    5: [_bytes("target", 16), _bool("removed"), _text("text", MAX_REACTION)],
    6: [_bytes("target", 16), _text("text")],
    7: [_bytes("target", 16)],
    8: [_bool("active")],
    9: [_text("name", MAX_NAME)],
    10: [("seconds", Reader.u32, u32)],
    11: [_string("route", MAX_ROUTING)],
    12: [_string("list", MAX_TEXT)],
    13: [_text("name", MAX_NAME), _string("data", MAX_TEXT)],
    14: [_string("link", MAX_LINK)],
    15: [("cause", Reader.u8, u8), ("sessions", _sessions, _write_sessions)],
}


@dataclass(frozen=True)
class Content:
    kind: int
    id: bytes
    sent_at: int
    fields: dict

    @classmethod
    def read(cls, data: bytes) -> "Content":
        reader = Reader(data, SHORT)
        kind = read_varint(reader)
        id_, sent_at = reader.take(16), reader.u64()
        if kind not in KINDS:
            need(reader.left <= MAX_TEXT, BOUND, "the payload is too long")
            return cls(kind, id_, sent_at, {"payload": reader.rest()})
        fields = {name: read(reader) for name, read, _ in KINDS[kind]}
        reader.end(LONG)
        return cls(kind, id_, sent_at, fields)

    def write(self) -> bytes:
        out = write_varint(self.kind) + self.id + u64(self.sent_at)
        if self.kind in KINDS:
            for name, _, write in KINDS[self.kind]:
                out += write(self.fields[name])
        else:
            need(len(self.fields["payload"]) <= MAX_TEXT, BOUND, "the payload is too long")
            out += self.fields["payload"]
        need(len(out) <= MAX_CONTENT, BOUND, "the content is too long")
        return out
