"""08 Attachments: blobs."""

from dataclasses import dataclass

from .constants import FILE_CHUNK, MAX_FILE, MIN_PADDED_FILE
from .layout import u8, u32, zero
from .primitives import (
    LABEL_FILE_COMMITMENT,
    LABEL_FILE_STREAM,
    expand,
    open_,
    same,
    seal,
    sha256,
)
from .refused import Refused, need

TAG = 16
COMMITMENT = 32


def commitment(file_key: bytes) -> bytes:
    return expand(file_key, LABEL_FILE_COMMITMENT, 32)


def stream_key(file_key: bytes) -> bytes:
    return expand(file_key, LABEL_FILE_STREAM, 32)


def padded_length(n: int) -> int:
    """Section 2."""
    need(n <= MAX_FILE, "R-801", "the file is too long")
    length = max(n, MIN_PADDED_FILE)
    e = length.bit_length() - 1
    k = (e.bit_length() - 1) + 1
    mask = 2 ** (e - k) - 1
    return (length + mask) & ~mask


def chunk_count(n: int) -> int:
    return -(-padded_length(n) // FILE_CHUNK)


def blob_length(n: int) -> int:
    return COMMITMENT + padded_length(n) + TAG * chunk_count(n)


def nonce(i: int, last: bool) -> bytes:
    return bytes(7) + u32(i) + u8(1 if last else 0)


@dataclass(frozen=True)
class FileOpener:
    """Opens the chunks of one blob, in any order."""

    key: bytes
    n: int

    @classmethod
    def begin(cls, file_key: bytes, first: bytes, n: int) -> "FileOpener":
        """``first`` are the blob's first 32 bytes."""
        need(same(first, commitment(file_key)), "R-802", "a commitment to another key")
        need(n <= MAX_FILE, "R-801", "the file is too long")
        return cls(stream_key(file_key), n)

    def open_chunk(self, i: int, chunk: bytes) -> bytes:
        """The content in chunk ``i``, without padding."""
        count, padded = chunk_count(self.n), padded_length(self.n)
        need(0 <= i < count, "R-806", "no such chunk")
        length = min(FILE_CHUNK, padded - i * FILE_CHUNK)
        need(len(chunk) == length + TAG, "R-803", "a chunk of another length")
        plain = open_(self.key, nonce(i, i == count - 1), b"", chunk)
        if plain is None:
            raise Refused("R-804", f"chunk {i} does not open")
        here = max(0, min(len(plain), self.n - i * FILE_CHUNK))
        need(zero(plain[here:]), "R-805", "padding is not zero")
        return plain[:here]


def seal_file(file_key: bytes, content: bytes, n: int | None = None) -> bytes:
    """The whole blob. ``n`` is the length that was announced."""
    n = len(content) if n is None else n
    padded = padded_length(n)
    need(len(content) == n, "R-807", "the content is longer or shorter than was said")
    plain = content + bytes(padded - n)
    key, count = stream_key(file_key), chunk_count(n)
    out = [commitment(file_key)]
    for i in range(count):
        piece = plain[i * FILE_CHUNK : (i + 1) * FILE_CHUNK]
        out.append(seal(key, nonce(i, i == count - 1), b"", piece))
    return b"".join(out)


def open_attachment(
    file_key: bytes, blob: bytes, n: int, hash_: bytes, first: bytes
) -> bytes:
    """09 section 3: a blob that was fetched for a message that names hash and commitment."""
    need(sha256(blob) == hash_ and blob[:32] == first, "R-907", "not the blob of the message")
    return open_file(file_key, blob, n)


def open_file(file_key: bytes, blob: bytes, n: int) -> bytes:
    """The whole content.

    The blob is cut into chunks as its length demands; a blob that is too short
    or too long has a chunk of another length at its end.
    """
    opener = FileOpener.begin(file_key, blob[:COMMITMENT], n)
    out, count = [], chunk_count(n)
    for i in range(count):
        start = COMMITMENT + i * (FILE_CHUNK + TAG)
        end = start + FILE_CHUNK + TAG if i < count - 1 else len(blob)
        out.append(opener.open_chunk(i, blob[start:end]))
    return b"".join(out)
