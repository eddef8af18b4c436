import unittest

from .common import EXPIRY, TODAY, Person, Scene, refused, stream

from undertone_ref import identity, links, prekeys
from undertone_ref.constants import MAX_U64


class Examples(unittest.TestCase):
    """The examples that the text gives."""

    HIGH = bytes.fromhex("8bd557bdcc78d0c23fd826588d4853953472ce02902efd0283565d8079dfc870")
    LOW = bytes.fromhex("069d8d6980eaf1bca2e4118bc612a13f23791bf2c60ceef2692b581d27b0a159")

    def test_fingerprint(self):
        self.assertEqual(
            identity.fingerprint(self.HIGH).hex(),
            "0fd9bdeee4089800041820c422c157dda255a953db7eeeeca16dfb8a07af41b0",
        )

    def test_safety_number(self):
        digits = "035189842882778533478707260537726172611079918899549786470028"
        self.assertEqual(identity.safety_number(self.LOW, self.HIGH), digits)
        self.assertEqual(identity.safety_number(self.HIGH, self.LOW), digits)
        qr = identity.safety_qr(self.HIGH, self.LOW)
        self.assertEqual(qr, b"\x01" + self.LOW + self.HIGH)
        self.assertTrue(identity.qr_matches(self.LOW, self.HIGH, qr))
        self.assertFalse(identity.qr_matches(self.LOW, self.HIGH, qr + b"\0"))

    def test_fetch_capability(self):
        secret = "9df764a92c8768b0163e7b6430418e7a8e227925afb8ee74024b0a9f76a8e390"
        self.assertEqual(
            prekeys.LinkKeys.of(bytes.fromhex(secret)).fetch_capability.hex(),
            "099c24c03f154db7408934a8859e35073e1400bd02f63cf4b56dad50c5e4502b",
        )

    def test_link(self):
        text = (
            "undertone://i/#AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQICAgICAgICA"
            "gICAgICAgICAgICAgICAgICAgICAgICEXJlbGF5LmV4YW1wbGUub3JnEVEHBwcHBwcHBwcHB"
            "wcHBwcHBwcHBwcHBwcHBwcHBwcHB1Zhi3s"
        )
        self.assertEqual(LINK.text(), text)
        self.assertEqual(len(text), 178)
        self.assertEqual(links.read_link(f" \n{text}\t"), LINK)


ADDRESS = links.Address(b"relay.example.org", 4433, b"\x07" * 32)
LINK = links.Link(1, b"\x01" * 32, b"\x02" * 32, ADDRESS)


class Lists(unittest.TestCase):
    def setUp(self):
        draw = stream("lists")
        self.one, self.five = Person(draw, 1), Person(draw, 5)

    def test_round_trip_and_every_cut(self):
        for person, length in ((self.one, 235), (self.five, 755)):
            data = person.list.data
            self.assertEqual(len(data), length)
            self.assertEqual(identity.DeviceList.read(data), person.list)
        for n in range(235):
            with refused(self, "R-201"):
                identity.DeviceList.read(self.one.list.data[:n])
        with refused(self, "R-201"):
            identity.DeviceList.read(self.one.list.data + b"\0")

    def test_altered(self):
        def alter(at, new):
            data = bytearray(self.five.list.data)
            data[at : at + len(new)] = new
            return bytes(data)

        weak, high = (1).to_bytes(32, "little"), b"\xff" * 32
        second = 41 + 130
        first_signing = self.five.list.devices[0].signing_key
        first_dh = self.five.list.devices[0].dh_key
        for rule, data in (
            ("R-202", alter(0, weak)),
            ("R-203", alter(40, b"\0")),
            ("R-203", alter(40, b"\6")),
            ("R-204", alter(41, weak)),
            ("R-204", alter(41 + 32, high)),
            ("R-212", alter(41 + 128, b"\x01\x01")),
            ("R-205", alter(second, first_signing)),
            ("R-205", alter(second + 32, first_dh)),
            ("R-206", alter(41 + 64, b"\x55" * 64)),
            ("R-207", alter(32, b"\xff")),
            ("R-207", alter(len(self.five.list.data) - 64, b"\x55" * 64)),
        ):
            with self.subTest(rule=rule), refused(self, rule):
                identity.DeviceList.read(data)

    def test_counter_rules(self):
        issue = identity.issue_list
        keys = [self.one.device.keys]
        record = self.one.list.record
        newer = issue(self.one.secret, keys, 5, record)
        self.assertEqual(newer.counter, record.counter + 1)
        self.assertEqual(newer.follow(record), newer.record)
        with refused(self, "R-208"):
            self.one.list.follow(newer.record)
        twin = issue(self.one.secret, [self.five.device.keys], record.counter, None)
        with refused(self, "R-209"):
            twin.follow(record)
        with refused(self, "R-210"):
            self.five.list.follow(record)
        with refused(self, "R-210"):
            issue(self.five.secret, keys, 5, record)
        last = identity.Record(record.account, MAX_U64, bytes(32))
        with refused(self, "R-213"):
            issue(self.one.secret, keys, 5, last)
        with refused(self, "R-211"):
            self.one.list.index_of(self.five.device)


class Links(unittest.TestCase):
    def test_every_cut_is_told_as_such(self):
        text = LINK.text()
        for n in range(1, len(text)):
            with self.subTest(n=n), refused(self, "R-302"):
                links.read_link(text[:n])
        with refused(self, "R-301"):
            links.read_link("")

    def test_refusals(self):
        def remade(**changes):
            payload = bytearray(LINK.payload()[:-4])
            for at, value in changes.items():
                payload[int(at[1:])] = value
            payload += links.sha256(bytes(payload))[:4]
            return links.PREFIX + links.encode64(bytes(payload))

        text = LINK.text()
        for rule, bad in (
            ("R-301", "https://example.org"),
            ("R-304", remade(_0=2)),
            ("R-305", remade(_1=0)),
            ("R-305", remade(_1=4)),
            ("R-303", remade(_67=ord("R"))),
            ("R-303", text[:60] + "+" + text[61:]),
            ("R-303", text[:-5] + "AAAAA"),
            ("R-303", text + "A"),
            ("R-303", text + "AAAA"),
            ("R-303", text + "A" * 500),
            # 163 letters: the last has two bits too many.
            ("R-303", text[:-1] + chr(ord(text[-1]) + 1)),
            ("R-303", "x" * 641),
        ):
            with self.subTest(bad=bad[-30:]), refused(self, rule):
                links.read_link(bad)

    def test_own(self):
        with refused(self, "R-307"):
            links.read_link(LINK.text(), own=LINK.fingerprint)
        links.read_link(LINK.text(), own=bytes(32))

    def test_hosts(self):
        for good in (b"a", b"a-b.c", b"1.2.3.4", b"::1", b"2001:db8::1", b"1.example", b"a_b._c",
                     b"::ffff:192.0.2.1"):
            self.assertTrue(links.valid_host(good), good)
        for bad in (b"", b"A", b"a.", b"-a", b"1.2.3", b"01.2.3.4", b"::0:1", b"[::1]", b"a b"):
            self.assertFalse(links.valid_host(bad), bad)

    def test_routes(self):
        route = links.Route(ADDRESS, b"\x09" * 32)
        self.assertEqual(links.Route.read(route.write()), route)
        for bad in (b"", route.write()[:-1], route.write() + b"\0"):
            with refused(self, "R-306"):
                links.Route.read(bad)


class Bundles(unittest.TestCase):
    def setUp(self):
        self.scene = Scene("bundles")

    def open(self, sealed=None, today=TODAY, expected=None, record=None):
        scene = self.scene
        return prekeys.Bundle.open(
            scene.link.card_key, sealed or scene.sealed, expected or scene.bob.fingerprint,
            today, record,
        )

    def test_round_trip(self):
        bundle = self.open()
        self.assertEqual(bundle.data, self.scene.bundle)
        self.assertEqual(bundle.digest, self.scene.prekey.digest)
        stored = self.scene.prekey.write()
        self.assertEqual(len(stored), 150)
        self.assertEqual(prekeys.PrivatePrekey.read(stored), self.scene.prekey)

    def test_outside(self):
        sealed = self.scene.sealed
        other = self.scene.alice
        for rule, arguments in (
            ("R-350", {"sealed": sealed[:-1]}),
            ("R-351", {"sealed": sealed[:-1] + bytes([sealed[-1] ^ 1])}),
            ("R-356", {"today": EXPIRY + 1}),
            ("R-358", {"today": EXPIRY - 33}),
            ("R-357", {"expected": other.fingerprint}),
            ("R-210", {"record": other.list.record}),
        ):
            with self.subTest(rule=rule), refused(self, rule):
                self.open(**arguments)
        self.open(today=EXPIRY)
        self.open(today=EXPIRY - 32)

    def test_inside(self):
        length = len(self.scene.bob.list.data)
        for rule, at, new in (
            ("R-352", 0, b"\0"),
            ("R-352", 0, b"\3"),
            ("R-353", 22, b"\xff" * 32),
            ("R-354", 54, b"\xff\xff\xff"),
            ("R-352", 1622, b"\xff\xff"),
            ("R-201", 1622, b"\0\xea"),
            ("R-352", 1624 + length, b"\x01\x41"),
            ("R-352", 4003, b"\1"),
            ("R-352", 17, b"\1"),
            ("R-355", 18, b"\xff"),
            ("R-355", 4004, b"\x55" * 64),
        ):
            data = bytearray(self.scene.bundle)
            data[at : at + len(new)] = new
            with self.subTest(rule=rule, at=at), refused(self, rule):
                prekeys.Bundle.read(bytes(data))

    def test_stored_prekey(self):
        stored = self.scene.prekey.write()
        for rule, bad in (
            ("R-352", b""),
            ("R-359", b"\2" + stored[1:] + b"\0"),
            ("R-352", stored[:1] + b"\0" + stored[2:]),
            ("R-352", stored[:-1]),
            ("R-352", stored + b"\0"),
        ):
            with refused(self, rule):
                prekeys.PrivatePrekey.read(bad)

    def test_r_110(self):
        with refused(self, "R-110"):
            bob = self.scene.bob
            prekeys.make_bundle(bob.device, bob.list, 1, EXPIRY, bytes(321), self.scene.draw)


if __name__ == "__main__":
    unittest.main()
