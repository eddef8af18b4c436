"""14 Backups: recovery keys, the file, its records."""

from dataclasses import dataclass

from .constants import MAX_CONTENT
from .content import read_string, read_text
from .layout import Reader, u8, u16, u32
from .primitives import (
    LABEL_BACKUP_CHUNKS,
    LABEL_BACKUP_COMMITMENT,
    LABEL_BACKUP_HEAD,
    LABEL_RECOVERY_CHECK,
    expand,
    extract,
    hash8,
    hash_,
    open_,
    same,
    seal,
)
from .refused import Refused, need, reported_as

# Section 1: recovery keys.

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PARTS, PART, LINE = 4, 8, 16
# Unicode's White_Space, and the dashes that are passed over.
_PASSED = {"-", "\u2212", *map(chr, range(0x2010, 0x2016))}


def _check(i: int, part: bytes) -> bytes:
    return hash_(LABEL_RECOVERY_CHECK, u8(i), part)[:2]


def write_key(secret: bytes) -> str:
    groups = []
    for i in range(PARTS):
        part = secret[PART * i : PART * (i + 1)]
        bits = int.from_bytes(part + _check(i, part), "big")
        line = "".join(LETTERS[bits >> 5 * (LINE - 1 - n) & 31] for n in range(LINE))
        groups += [line[n : n + 4] for n in range(0, LINE, 4)]
    return "-".join(groups)


def read_key(text: str) -> bytes:
    letters = [c for c in text if c not in _PASSED and not c.isspace()]
    alike = {"O": "0", "I": "1", "L": "1"}
    values = []
    for letter in letters:
        letter = letter.upper() if letter.isascii() else letter
        letter = alike.get(letter, letter)
        need(letter in LETTERS and len(letter) == 1, "R-1401", f"the character {letter!r}")
        values.append(LETTERS.index(letter))
    need(len(values) == PARTS * LINE, "R-1401", f"{len(values)} characters")
    secret, wrong = b"", []
    for i in range(PARTS):
        bits = 0
        for value in values[LINE * i : LINE * (i + 1)]:
            bits = bits << 5 | value
        line = bits.to_bytes(PART + 2, "big")
        secret += line[:PART]
        if line[PART:] != _check(i, line[:PART]):
            wrong.append(i + 1)
    need(not wrong, "R-1402", f"an error in lines {wrong}")
    return secret


# Section 2: the file.

MAGIC, VERSION, HEAD = b"UTBACKUP", 1, 82
CHUNK = 65_536
SEALED = CHUNK + 16


@dataclass(frozen=True)
class _Keys:
    commitment: bytes
    chunks: bytes

    @classmethod
    def of(cls, secret: bytes, salt: bytes, version: int) -> "_Keys":
        prk = extract(salt, secret)
        return cls(
            expand(prk, LABEL_BACKUP_COMMITMENT + u16(version), 32),
            expand(prk, LABEL_BACKUP_CHUNKS + u16(version), 32),
        )


def _nonce(i: int, last: bool) -> bytes:
    return bytes(7) + u32(i) + u8(last)


def write_file(secret: bytes, salt: bytes, version: int, records: bytes) -> bytes:
    return written(secret, salt, version, records)["file"]


def written(secret: bytes, salt: bytes, version: int, records: bytes) -> dict:
    """The file, and what it is made of."""
    keys = _Keys.of(secret, salt, version)
    head = MAGIC + u16(version) + salt + keys.commitment
    head += hash8(LABEL_BACKUP_HEAD, head)
    count = max(1, -(-len(records) // CHUNK))
    records = records.ljust(count * CHUNK, b"\0")
    chunks, out = [], head
    for i in range(count):
        nonce = _nonce(i, i == count - 1)
        sealed = seal(keys.chunks, nonce, b"", records[CHUNK * i : CHUNK * (i + 1)])
        chunks.append({"nonce": nonce, "begins": sealed[:16], "tag": sealed[-16:]})
        out += sealed
    return {
        "prk": extract(salt, secret), "commitment": keys.commitment, "chunk_key": keys.chunks,
        "head": head, "chunks": chunks, "file": out,
    }


def _head(data: bytes, secret: bytes) -> _Keys:
    need(data.startswith(MAGIC), "R-1403", "no backup")
    need(len(data) >= HEAD, "R-1407", "the head is cut")
    fits = hash8(LABEL_BACKUP_HEAD, data[:74]) == data[74:HEAD]
    version = int.from_bytes(data[8:10], "big")
    need(fits and version != 0, "R-1404", "the head is damaged")
    need(version <= VERSION, "R-1405", f"version {version}")
    keys = _Keys.of(secret, data[10:42], version)
    need(same(keys.commitment, data[42:74]), "R-1406", "another key")
    return keys


def _chunks(data: bytes, secret: bytes):
    """The chunks' plaintexts, one after the other, each once it has opened."""
    keys, at, i = _head(data, secret), HEAD, 0
    while True:
        chunk = data[at : at + SEALED]
        need(len(chunk) == SEALED, "R-1407", "the file ends within a chunk")
        at += SEALED
        last = at == len(data)
        plain = open_(keys.chunks, _nonce(i, last), b"", chunk)
        if plain is None:
            other = open_(keys.chunks, _nonce(i, not last), b"", chunk)
            need(other is not None, "R-1408", f"chunk {i} does not open")
            raise Refused("R-1407" if last else "R-1409", "more, or less, was sealed")
        yield plain
        if last:
            return
        i += 1


# Section 3: records.

BROKEN = "R-1410"
MAX_RECORD = 131_072
END = 255


class _Stream:
    """Records over the borders of chunks: only what was opened is looked at."""

    def __init__(self, chunks):
        self.chunks, self.here = chunks, b""

    def take(self, n: int) -> bytes:
        while len(self.here) < n:
            more = next(self.chunks, None)
            need(more is not None, BROKEN, "there is no end")
            self.here += more
        out, self.here = self.here[:n], self.here[n:]
        return out

    def finish(self) -> None:
        while self.here is not None:
            need(not any(self.here), BROKEN, "padding that is not zero")
            self.here = next(self.chunks, None)


def _one_of(r: Reader, most: int, least: int = 0) -> int:
    value = r.u8()
    need(least <= value <= most, BROKEN, f"{value} is none of {least} to {most}")
    return value


def _address(r: Reader) -> bytes:
    return read_string(r, 288)


def _account(r: Reader) -> dict:
    return {
        "secret": r.take(32), "device": r.u8(), "list": read_string(r, 2_048),
        "name": read_text(r, 128), "relay": _address(r), "token": r.take(32),
        "next_contact": r.u64(), "next_message": r.u64(), "next_link": r.u64(), "made": r.u64(),
    }


def _relay(r: Reader) -> dict:
    return {"relay": _address(r), "token": r.take(32)}


def _contact(r: Reader) -> dict:
    return {
        "number": r.u64(), "account": r.take(32), "verified": r.flag(BROKEN),
        "blocked": r.flag(BROKEN), "named_here": r.flag(BROKEN), "name": read_text(r, 128),
        "calls_themselves": read_text(r, 128), "list_record": read_string(r, 72),
        "gave": read_string(r, 360), "was_given": r.u64(), "timer": r.u32(), "timer_at": r.u64(),
    }


def _link(r: Reader) -> dict:
    return {
        "number": r.u64(), "kind": _one_of(r, 3, 1), "label": read_text(r, 128),
        "secret": r.take(32), "seed": r.take(32), "relay": _address(r), "contact": r.u64(),
    }


def _leftover(r: Reader) -> dict:
    out = {"relay": _address(r), "what": _one_of(r, 2, 1), "seed": r.take(32)}
    return out | {"depot": r.take(32) if out["what"] == 2 else None}


def _erased(r: Reader) -> dict:
    return {"contact": r.u64(), "id": r.take(16), "day": r.u32()}


def _pending(r: Reader) -> dict:
    return {
        "contact": r.u64(), "place": r.u64(), "message": r.u64(), "sent": r.flag(BROKEN),
        "day": r.u32(), "content": read_string(r, MAX_CONTENT),
    }


def _message(r: Reader) -> dict:
    out = {
        "place": r.u64(), "contact": r.u64(), "id": r.take(16), "sent_at": r.u64(),
        "outgoing": r.flag(BROKEN), "state": _one_of(r, 6),
    }
    if out["state"] == 5:
        read_text(r, 1_024)
    what = _one_of(r, 5, 1)
    if what == 1:
        read_text(r, 49_152)
    elif what == 2:
        read_text(r, 255), r.u64(), read_text(r, 255), read_text(r, 49_152)
    elif what == 3:
        read_text(r, 128), read_string(r, 49_152)
    elif what == 4:
        r.u32(), read_string(r, 49_152)
    out |= {"edited_at": r.u64(), "timer": r.u32(), "disappears": r.u64()}
    sides = set()
    while r.left:
        side = r.flag(BROKEN)
        need(side not in sides, BROKEN, "two reactions of one side")
        sides.add(side)
        r.u64(), read_text(r, 64)
    return out


_RECORDS = {
    1: _account, 2: _relay, 3: _contact, 4: _link, 5: _leftover, 6: _erased, 7: _pending,
    8: _message,
}


def read_records(secret: bytes, data: bytes):
    """Every record's type and fields, as it is read: R-1403 to R-1410."""
    stream = _Stream(_chunks(data, secret))
    count = before = 0
    while True:
        kind, length = stream.take(1)[0], int.from_bytes(stream.take(4), "big")
        need(kind in _RECORDS or kind == END, BROKEN, f"a record of type {kind}")
        need(length <= MAX_RECORD, BROKEN, f"a record of {length} bytes")
        need(kind >= before, BROKEN, "records out of order")
        before, body = kind, stream.take(length)
        if kind == END:
            need(body == count.to_bytes(8, "big"), BROKEN, "another count")
            stream.finish()
            return
        reader = Reader(body, BROKEN)
        with reported_as(BROKEN):
            fields = _RECORDS[kind](reader)
        reader.end(BROKEN)
        count += 1
        yield kind, fields


def read_file(secret: bytes, data: bytes) -> dict[str, int]:
    """How much is in it, and when it was made."""
    counts = dict.fromkeys(("records", "contacts", "messages", "made"), 0)
    for kind, fields in read_records(secret, data):
        counts["records"] += 1
        counts["contacts"] += kind == 3
        counts["messages"] += kind == 8
        if kind == 1:
            counts["made"] = fields["made"]
    return counts
