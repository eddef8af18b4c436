"""Injected randomness.

Everything that draws takes ``draw(name, n)`` and asks it for n bytes; the names
are those of test-vectors/README.md.
"""

import hashlib

from .layout import u64


class DrawError(Exception):
    """A draw that the list does not hold, or one that was left over."""


class Listed:
    """Hands out listed values in order. A name may be None."""

    def __init__(self, values: list[tuple[str | None, bytes]]):
        self._left = list(values)

    def __call__(self, name: str, n: int) -> bytes:
        if not self._left:
            raise DrawError(f"no draw is left for {name}")
        listed, value = self._left.pop(0)
        if listed not in (None, name) or len(value) != n:
            raise DrawError(f"{name} of {n} bytes wanted, {listed} of {len(value)} is next")
        return value

    def end(self) -> None:
        if self._left:
            raise DrawError(f"{self._left[0][0]} was not drawn")


class Stream:
    """The generator of bytes of test-vectors/README.md."""

    def __init__(self, seed: bytes):
        self._seed = seed
        self._block = 0
        self._ready = bytearray()

    def take(self, n: int) -> bytes:
        while len(self._ready) < n:
            block = b"Undertone vectors stream" + self._seed + u64(self._block)
            self._ready += hashlib.sha256(block).digest()
            self._block += 1
        out = bytes(self._ready[:n])
        del self._ready[:n]
        return out

    def __call__(self, _name: str, n: int) -> bytes:
        return self.take(n)


class Recorded:
    """Draws from another source and remembers what was drawn."""

    def __init__(self, source):
        self._source = source
        self.drawn: list[tuple[str, bytes]] = []

    def __call__(self, name: str, n: int) -> bytes:
        value = self._source(name, n)
        self.drawn.append((name, value))
        return value
