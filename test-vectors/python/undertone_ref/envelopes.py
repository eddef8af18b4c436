"""07 Envelopes: sizes, parts, and the body's layout."""

from dataclasses import dataclass

from .constants import (
    MAX_BUCKET,
    MAX_CONTENT,
    MIN_BUCKET,
    MIN_FIRST_CONTACT_BUCKET,
    OVERHEAD,
    PIECE_SLACK,
    SEALED_HANDSHAKE_LONG,
    SEALED_HANDSHAKE_SHORT,
    SEALED_HEADER,
)
from .layout import u16, zero
from .refused import Refused, need

BUCKETS = tuple(MIN_BUCKET << i for i in range(7))
HANDSHAKE_LENGTHS = (0, SEALED_HANDSHAKE_SHORT, SEALED_HANDSHAKE_LONG)


@dataclass(frozen=True)
class Part:
    """The ratchet part of an envelope, cut into its fields (section 1)."""

    nonce: bytes
    sealed_header: bytes
    sealed_body: bytes
    handshake_length: int
    bucket: int

    @property
    def mark(self) -> bytes:
        """05 section 7: the first 8 bytes of the sealed header's tag."""
        return self.sealed_header[53:61]

    @classmethod
    def cut(cls, part: bytes) -> "Part":
        for h in HANDSHAKE_LENGTHS:
            bucket = len(part) + h
            if bucket not in BUCKETS or (h and bucket < MIN_FIRST_CONTACT_BUCKET):
                continue
            need(len(part) >= OVERHEAD, "R-701", "too short")
            at = 12 + SEALED_HEADER
            return cls(part[:12], part[12:at], part[at:], h, bucket)
        raise Refused("R-701", f"{len(part)} bytes are no ratchet part")


def smallest_bucket(content_length: int, handshake_length: int) -> int | None:
    """Section 3; None where no bucket is large enough."""
    for bucket in BUCKETS:
        fits = bucket >= content_length + handshake_length + OVERHEAD + 2 + PIECE_SLACK
        if fits and (bucket >= MIN_FIRST_CONTACT_BUCKET or not handshake_length):
            return bucket
    return None


def check_content(content: bytes) -> None:
    need(len(content) <= MAX_CONTENT, "R-705", "content is too long")


def body_length(bucket: int, handshake_length: int) -> int:
    return bucket - handshake_length - OVERHEAD


def write_body(content: bytes, run: bytes, length: int) -> bytes:
    body = u16(len(content)) + content + run
    return body + bytes(length - len(body))


def read_body(body: bytes, handshake_length: int, bucket: int, read_run):
    """Content and run. ``read_run`` reads a run from the bytes behind the
    content: it gives the run or None, and how many bytes it took."""
    length = int.from_bytes(body[:2], "big")
    need(len(body) >= 2 + length, "R-702", "content goes beyond the body")
    need(smallest_bucket(length, handshake_length) == bucket, "R-703", "not the smallest bucket")
    behind = body[2 + length :]
    run, taken = read_run(behind)
    need(zero(behind[taken:]), "R-704", "padding is not zero")
    return body[2 : 2 + length], run


assert BUCKETS[-1] == MAX_BUCKET
