"""03 Prekeys: keys of a link, bundles, stored private prekeys."""

from dataclasses import dataclass

from .constants import (
    BUNDLE,
    BUNDLE_LIFETIME_DAYS,
    CLOCK_SLACK_DAYS,
    MAX_ROUTING,
    SEALED_BUNDLE,
    later,
)
from .identity import Device, DeviceList, Record, fingerprint
from .layout import Reader, u8, u16, u32, zero
from .primitives import (
    LABEL_BUNDLE,
    LABEL_CARD_SEAL,
    LABEL_LINK_CARD,
    LABEL_LINK_FETCH,
    LABEL_LINK_HELLO,
    LABEL_LINK_PSK,
    MLKEM1024,
    check_dh_public,
    dh_public,
    expand,
    open_,
    seal,
    sign,
    verify,
)
from .refused import Refused, need, reported_as
from .transcript import T0, add

ONE_TIME, LAST_RESORT = 1, 2
_SIGNED = BUNDLE - 64


@dataclass(frozen=True)
class LinkKeys:
    """Section 1."""

    fetch_capability: bytes
    card_key: bytes
    hello_key: bytes
    psk: bytes

    @classmethod
    def of(cls, link_secret: bytes) -> "LinkKeys":
        labels = (LABEL_LINK_FETCH, LABEL_LINK_CARD, LABEL_LINK_HELLO, LABEL_LINK_PSK)
        return cls(*(expand(link_secret, label, 32) for label in labels))


def bundle_digest(bundle: bytes) -> bytes:
    return add(T0, 1, bundle)


def check_route_made(route: bytes) -> None:
    """01 section 6."""
    need(len(route) <= MAX_ROUTING, "R-110", "the route is too long")


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and verified."""

    data: bytes
    kind: int
    id: bytes
    index: int
    expiry: int
    prekey: bytes
    kem_key: bytes
    list: DeviceList
    route: bytes

    @property
    def digest(self) -> bytes:
        return bundle_digest(self.data)

    @property
    def device_keys(self) -> bytes:
        return self.list.devices[self.index].device_keys

    @classmethod
    def read(cls, data: bytes) -> "Bundle":
        """Section 3, initiator's duty, step 2."""
        reader = Reader(data, "R-352")
        kind = reader.u8()
        need(kind in (ONE_TIME, LAST_RESORT), "R-352", f"kind {kind}")
        id_, index, expiry = reader.take(16), reader.u8(), reader.u32()
        prekey = reader.take(32)
        with reported_as("R-353"):
            check_dh_public(prekey)
        kem_key = reader.take(MLKEM1024.key_len)
        with reported_as("R-354"):
            MLKEM1024.check_key(kem_key)
        device_list = DeviceList.read(reader.take(reader.u16()))
        length = reader.u16()
        need(length <= MAX_ROUTING, "R-352", "the route is too long")
        route = reader.take(length)
        need(reader.left >= 64, "R-352", "no room for the signature")
        need(zero(data[reader.at : _SIGNED]), "R-352", "padding is not zero")
        need(index < len(device_list.devices), "R-352", "no device at the index")
        with reported_as("R-355"):
            signing_key = device_list.devices[index].signing_key
            verify(signing_key, LABEL_BUNDLE + data[:_SIGNED], data[_SIGNED:])
        return cls(
            bytes(data), kind, id_, index, expiry, prekey, kem_key, device_list, route
        )

    @classmethod
    def open(
        cls,
        card_key: bytes,
        sealed: bytes,
        expected: bytes,
        today: int,
        record: Record | None,
    ) -> "Bundle":
        """Section 3, initiator's duty; ``expected`` is the link's fingerprint."""
        need(len(sealed) == SEALED_BUNDLE, "R-350", f"{len(sealed)} bytes")
        data = open_(card_key, sealed[:12], LABEL_CARD_SEAL, sealed[12:])
        if data is None:
            raise Refused("R-351", "the bundle does not open")
        bundle = cls.read(data)
        need(fingerprint(bundle.list.account) == expected, "R-357", "another account")
        need(today <= bundle.expiry, "R-356", "expired")
        latest = later(later(today, BUNDLE_LIFETIME_DAYS), CLOCK_SLACK_DAYS)
        need(bundle.expiry <= latest, "R-358", "valid for too long")
        bundle.list.follow(record)
        return bundle


@dataclass(frozen=True)
class PrivatePrekey:
    """10 section 2."""

    kind: int
    id: bytes
    expiry: int
    digest: bytes
    dh_secret: bytes
    kem_seed: bytes

    def write(self) -> bytes:
        return (
            u8(1) + u8(self.kind) + self.id + u32(self.expiry) + self.digest
            + self.dh_secret + self.kem_seed
        )

    @classmethod
    def read(cls, data: bytes) -> "PrivatePrekey":
        need(len(data) > 0, "R-352", "no bytes")
        need(data[0] == 1, "R-359", f"version {data[0]}")
        reader = Reader(data[1:], "R-352")
        kind = reader.u8()
        need(kind in (ONE_TIME, LAST_RESORT), "R-352", f"kind {kind}")
        prekey = cls(
            kind, reader.take(16), reader.u32(), reader.take(32), reader.take(32), reader.take(64)
        )
        reader.end("R-352")
        return prekey


def make_bundle(
    device: Device, device_list: DeviceList, kind: int, expiry: int, route: bytes, draw
) -> tuple[bytes, PrivatePrekey]:
    """The signed bundle and its private half."""
    check_route_made(route)
    index = device_list.index_of(device)
    id_, dh_secret = draw("bundle-id", 16), draw("prekey", 32)
    seed = draw("prekey-kem-seed", 64)
    data = u8(kind) + id_ + u8(index) + u32(expiry) + dh_public(dh_secret)
    data += MLKEM1024.key(seed)
    data += u16(len(device_list.data)) + device_list.data + u16(len(route)) + route
    data += bytes(_SIGNED - len(data))
    data += sign(device.signing_secret, LABEL_BUNDLE + data)
    return data, PrivatePrekey(kind, id_, expiry, bundle_digest(data), dh_secret, seed)


def seal_bundle(card_key: bytes, bundle: bytes, draw) -> bytes:
    nonce = draw("card-nonce", 12)
    return nonce + seal(card_key, nonce, LABEL_CARD_SEAL, bundle)
