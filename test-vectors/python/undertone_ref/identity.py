"""02 Identity: accounts, devices, device lists, safety numbers."""

from dataclasses import dataclass

from .constants import MAX_DEVICES, MAX_EXTENSION, MAX_U64
from .layout import Reader, u8, u16, u64
from .primitives import (
    LABEL_ACCOUNT_FINGERPRINT,
    LABEL_DEVICE_CERTIFICATE,
    LABEL_DEVICE_LIST,
    LABEL_DEVICE_LIST_HASH,
    LABEL_SAFETY_NUMBER,
    check_dh_public,
    check_sign_public,
    dh_public,
    expand,
    hash_,
    sign,
    sign_public,
    verify,
)
from .refused import need, reported_as


def check_account_key(account: bytes) -> None:
    with reported_as("R-202"):
        check_sign_public(account)


def fingerprint(account: bytes) -> bytes:
    return hash_(LABEL_ACCOUNT_FINGERPRINT, account)


def check_device_keys(keys: bytes) -> None:
    with reported_as("R-204"):
        check_sign_public(keys[:32])
        check_dh_public(keys[32:])


@dataclass(frozen=True)
class Device:
    """A device's private keys (section 2)."""

    signing_secret: bytes
    dh_secret: bytes

    @property
    def stored(self) -> bytes:
        return self.signing_secret + self.dh_secret

    @property
    def keys(self) -> bytes:
        return sign_public(self.signing_secret) + dh_public(self.dh_secret)


def certificate(account_secret: bytes, device_keys: bytes) -> bytes:
    account = sign_public(account_secret)
    return sign(account_secret, LABEL_DEVICE_CERTIFICATE + account + device_keys)


@dataclass(frozen=True)
class Entry:
    device_keys: bytes
    certificate: bytes
    extension: bytes

    @property
    def signing_key(self) -> bytes:
        return self.device_keys[:32]

    @property
    def dh_key(self) -> bytes:
        return self.device_keys[32:]


@dataclass(frozen=True)
class Record:
    """What a contact remembers of a list (section 5)."""

    account: bytes
    counter: int
    list_hash: bytes

    @classmethod
    def read(cls, data: bytes) -> "Record":
        reader = Reader(data, "R-201")
        record = cls(reader.take(32), reader.u64(), reader.take(32))
        reader.end("R-201")
        return record

    def write(self) -> bytes:
        return self.account + u64(self.counter) + self.list_hash


@dataclass(frozen=True)
class DeviceList:
    """A list that was read and verified, with the very bytes received."""

    data: bytes
    account: bytes
    counter: int
    devices: tuple[Entry, ...]

    @classmethod
    def read(cls, data: bytes) -> "DeviceList":
        reader = Reader(data, "R-201")
        account = reader.take(32)
        check_account_key(account)
        counter = reader.u64()
        count = reader.u8()
        need(1 <= count <= MAX_DEVICES, "R-203", f"{count} devices")
        devices: list[Entry] = []
        for _ in range(count):
            devices.append(_read_entry(reader, account, devices))
        signature = reader.take(64)
        reader.end("R-201")
        with reported_as("R-207"):
            verify(account, LABEL_DEVICE_LIST + data[:-64], signature)
        return cls(bytes(data), account, counter, tuple(devices))

    @property
    def record(self) -> Record:
        return Record(self.account, self.counter, hash_(LABEL_DEVICE_LIST_HASH, self.data))

    def follow(self, record: Record | None) -> Record:
        """Compare with the record; what is on record afterwards (section 5)."""
        if record is None:
            return self.record
        need(self.account == record.account, "R-210", "another account")
        need(self.counter >= record.counter, "R-208", "an older list")
        if self.counter == record.counter:
            need(self.record.list_hash == record.list_hash, "R-209", "another list")
        return self.record

    def index_of(self, device: Device) -> int:
        """Where this device stands on its own account's list."""
        keys = [entry.device_keys for entry in self.devices]
        need(device.keys in keys, "R-211", "this device is not on the list")
        return keys.index(device.keys)


def _read_entry(reader: Reader, account: bytes, before: list[Entry]) -> Entry:
    keys = reader.take(64)
    check_device_keys(keys)
    signature = reader.take(64)
    length = reader.u16()
    need(length <= MAX_EXTENSION, "R-212", "extension too long")
    entry = Entry(keys, signature, reader.take(length))
    for other in before:
        _check_distinct(entry.device_keys, other.device_keys)
    with reported_as("R-206"):
        verify(account, LABEL_DEVICE_CERTIFICATE + account + keys, signature)
    return entry


def _check_distinct(one: bytes, other: bytes) -> None:
    need(one[:32] != other[:32], "R-205", "a signing key stands twice")
    need(one[32:] != other[32:], "R-205", "an X25519 key stands twice")


def next_counter(account: bytes, unix_seconds: int, previous: Record | None) -> int:
    if previous is None:
        return unix_seconds
    need(previous.account == account, "R-210", "another account's record")
    need(previous.counter < MAX_U64, "R-213", "the counter can't rise")
    return max(previous.counter + 1, unix_seconds)


def issue_list(
    account_secret: bytes,
    devices: list[bytes],
    unix_seconds: int,
    previous: Record | None,
) -> DeviceList:
    """Sign a list of device keys (section 4, issuer's duty)."""
    account = sign_public(account_secret)
    counter = next_counter(account, unix_seconds, previous)
    need(1 <= len(devices) <= MAX_DEVICES, "R-203", f"{len(devices)} devices")
    for i, keys in enumerate(devices):
        for other in devices[:i]:
            _check_distinct(keys, other)
    entries = tuple(Entry(keys, certificate(account_secret, keys), b"") for keys in devices)
    data = account + u64(counter) + u8(len(entries))
    for entry in entries:
        data += entry.device_keys + entry.certificate + u16(0)
    data += sign(account_secret, LABEL_DEVICE_LIST + data)
    return DeviceList(data, account, counter, entries)


# Section 6.


def safety_number(one: bytes, other: bytes) -> str:
    """Sixty digits."""
    low, high = sorted((one, other))
    stream = expand(hash_(LABEL_SAFETY_NUMBER, low, high), LABEL_SAFETY_NUMBER, 60)
    groups = (int.from_bytes(stream[5 * i : 5 * i + 5], "big") % 100_000 for i in range(12))
    return "".join(f"{group:05}" for group in groups)


def safety_qr(one: bytes, other: bytes) -> bytes:
    low, high = sorted((one, other))
    return u8(1) + low + high


def qr_matches(one: bytes, other: bytes, scanned: bytes) -> bool:
    return scanned == safety_qr(one, other)
