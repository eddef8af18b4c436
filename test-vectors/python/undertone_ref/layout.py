"""Reading and writing of layouts (README, "Notation")."""

from .refused import Refused, need


def u8(x: int) -> bytes:
    return x.to_bytes(1, "big")


def u16(x: int) -> bytes:
    return x.to_bytes(2, "big")


def u32(x: int) -> bytes:
    return x.to_bytes(4, "big")


def u64(x: int) -> bytes:
    return x.to_bytes(8, "big")


class Reader:
    """Reads fields in order. Where the bytes end early it reports ``short``."""

    def __init__(self, data: bytes, short: str):
        self.data = bytes(data)
        self.at = 0
        self.short = short

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, n: int) -> bytes:
        if self.left < n:
            raise Refused(self.short, f"{n} bytes wanted at {self.at}, {self.left} there")
        out = self.data[self.at : self.at + n]
        self.at += n
        return out

    def rest(self) -> bytes:
        return self.take(self.left)

    def number(self, n: int) -> int:
        return int.from_bytes(self.take(n), "big")

    def u8(self) -> int:
        return self.number(1)

    def u16(self) -> int:
        return self.number(2)

    def u32(self) -> int:
        return self.number(4)

    def u64(self) -> int:
        return self.number(8)

    def flag(self, rule: str) -> bool:
        value = self.u8()
        need(value in (0, 1), rule, f"a flag is {value}")
        return value == 1

    def end(self, rule: str) -> None:
        need(self.left == 0, rule, f"{self.left} bytes are left over")


def zero(data: bytes) -> bool:
    return not any(data)
