"""12 The operator's log."""

from .layout import u16, u32, u64
from .primitives import sha256
from .refused import need


def entry_hash(previous: bytes, number: int, day: int, action: str, detail: str) -> bytes:
    out = b"undertone relay audit" + previous + u64(number) + u32(day)
    for text in (action.encode(), detail.encode()):
        out += u16(len(text)) + text
    return sha256(out)


def verify(entries: list[dict], anchors: list[tuple[int, bytes]]) -> bytes | None:
    """R-1210. The hash of the last entry."""
    hashes = {}
    previous = bytes(32)
    for n, entry in enumerate(entries, 1):
        need(entry["number"] == n, "R-1210", f"entry {n} is missing")
        texts = (entry["day"], entry["action"], entry["detail"])
        previous = entry_hash(previous, n, *texts)
        need(entry["hash"] == previous, "R-1210", f"entry {n} was altered")
        hashes[n] = previous
    for number, hash_ in anchors:
        need(hashes.get(number) == hash_, "R-1210", f"the anchor {number} is not in it")
    return previous if entries else None
