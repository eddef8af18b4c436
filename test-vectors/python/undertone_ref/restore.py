"""14 Backups, sections 3 and 5: what the records of a backup say together."""

import unicodedata

from .backup import read_records
from .content import Content
from .identity import DeviceList, Record, check_account_key, fingerprint
from .layout import Reader
from .links import RESET, WHITE_SPACE, Address, read_reset_link
from .primitives import sign_public
from .refused import need, reported_as

WRONG = "R-1411"
REUSABLE = 2
MAX_RELAYS, MAX_CONTACTS = 8, 4_000
# Kinds of content that are in no backup.
NOT_KEPT = {3, 4, 8, 11, 12, 14, 15}
# States of a message: those of an incoming one, and those of an outgoing one.
INCOMING, OUTGOING = {3, 6}, {0, 1, 2, 3, 4, 5}
_TURNING = {"\u200e", "\u200f", *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))}


def _check_name(name: str) -> None:
    shown = name.strip(WHITE_SPACE)
    need(shown != "" and len(shown.encode()) <= 128, WRONG, "no name")
    bad = any(c in _TURNING or unicodedata.category(c) == "Cc" for c in shown)
    need(not bad, WRONG, "a name that can't be shown")


def _check_address(data: bytes) -> None:
    with reported_as(WRONG):
        reader = Reader(data, WRONG)
        Address.read(reader, WRONG)
        reader.end(WRONG)


class _Backup:
    """What was read so far."""

    def __init__(self, now: int):
        self.now = now
        self.account: dict | None = None
        self.relays = 0
        self.contacts: dict[int, dict] = {}
        self.accounts: set[bytes] = set()
        self.owed: set[tuple[int, int]] = set()
        self.last = {"contact": 0, "link": 0, "message": 0}
        self.places: dict[tuple[int, bytes], int] = {}
        self.ids: dict[tuple[int, int], bytes] = {}
        self.messages: set[tuple] = set()

    def take(self, kind: int, fields: dict) -> None:
        need(kind == 1 or self.account is not None, WRONG, "no account stands in front")
        take = (self._account, self._relay, self._contact, self._link, self._leftover,
                self._erased, self._pending, self._message)[kind - 1]
        take(fields)

    def finish(self) -> dict[str, int]:
        need(self.account is not None, WRONG, "no account")
        need(not self.owed, WRONG, "a reset link that was given is not there")
        return {
            "contacts": len(self.contacts), "messages": len(self.messages),
            "pending": len(self.places), "made": self.account["made"],
        }

    def _ascends(self, what: str, number: int) -> None:
        need(self.last[what] < number < self.account[f"next_{what}"], WRONG, f"{what} {number}")
        self.last[what] = number

    def _of(self, contact: int) -> None:
        need(contact in self.contacts, WRONG, f"there is no contact {contact}")

    def _account(self, one: dict) -> None:
        need(self.account is None, WRONG, "two accounts")
        with reported_as(WRONG):
            devices = DeviceList.read(one["list"])
        own = sign_public(one["secret"])
        need(devices.account == own, WRONG, "another account's list")
        need(one["device"] < len(devices.devices), WRONG, "no such device")
        _check_name(one["name"])
        _check_address(one["relay"])
        self.account = one
        self.accounts.add(own)

    def _relay(self, one: dict) -> None:
        _check_address(one["relay"])
        self.relays += 1
        need(self.relays <= MAX_RELAYS, WRONG, "too many relays")

    def _contact(self, one: dict) -> None:
        self._ascends("contact", one["number"])
        need(len(self.contacts) < MAX_CONTACTS, WRONG, "too many contacts")
        with reported_as(WRONG):
            check_account_key(one["account"])
        need(one["account"] not in self.accounts, WRONG, "an account that is known")
        self.accounts.add(one["account"])
        _check_name(one["name"])
        if one["calls_themselves"]:
            _check_name(one["calls_themselves"])
        with reported_as(WRONG):
            if one["list_record"]:
                record = Record.read(one["list_record"])
                need(record.account == one["account"], WRONG, "another's list")
            if one["gave"]:
                read_reset_link(one["gave"], fingerprint(one["account"]))
        self.contacts[one["number"]] = one
        if one["was_given"]:
            self.owed.add((one["was_given"], one["number"]))

    def _link(self, one: dict) -> None:
        self._ascends("link", one["number"])
        if one["kind"] == RESET:
            self._of(one["contact"])
            self.owed.discard((one["number"], one["contact"]))
        else:
            need(one["kind"] == REUSABLE and one["contact"] == 0, WRONG, "no link of a backup")
        if one["label"]:
            _check_name(one["label"])
        _check_address(one["relay"])

    def _leftover(self, one: dict) -> None:
        _check_address(one["relay"])

    def _erased(self, one: dict) -> None:
        self._of(one["contact"])

    def _pending(self, one: dict) -> None:
        contact, place = one["contact"], one["place"]
        self._of(contact)
        with reported_as(WRONG):
            content = Content.read(one["content"])
        need(content.kind not in NOT_KEPT, WRONG, f"a content of kind {content.kind}")
        need(one["message"] < self.account["next_message"], WRONG, "no such message")
        known = self.places.setdefault((contact, content.id), place)
        need(known == place, WRONG, "one id at two places")
        known = self.ids.setdefault((contact, place), content.id)
        need(known == content.id, WRONG, "two ids at one place")

    def _message(self, one: dict) -> None:
        self._of(one["contact"])
        self._ascends("message", one["place"])
        states = OUTGOING if one["outgoing"] else INCOMING
        need(one["state"] in states, WRONG, "a state that can't be")
        key = (one["id"],) if one["outgoing"] else (one["id"], one["contact"])
        need(key not in self.messages, WRONG, "a message twice")
        if not 0 < one["disappears"] <= self.now:
            self.messages.add(key)


def restore(secret: bytes, data: bytes, now: int) -> dict[str, int]:
    """What a new device has after it took the backup: R-1403 to R-1411."""
    backup = _Backup(now)
    for kind, fields in read_records(secret, data):
        backup.take(kind, fields)
    return backup.finish()
