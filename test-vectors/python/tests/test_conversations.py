import unittest

from .common import EXPIRY, TODAY, Person, Scene, Talk, refused

from undertone_ref import handshake, identity, pq, prekeys, ratchet, state
from undertone_ref.constants import MAX_CONTENT, MAX_U32
from undertone_ref.layout import u16
from undertone_ref.envelopes import BUCKETS, Part, smallest_bucket
from undertone_ref.primitives import ZERO_NONCE
from undertone_ref.primitives import seal as aead_seal


class Handshakes(unittest.TestCase):
    def test_first_contact_in_any_order(self):
        scene = Scene("order")
        alice, one = ratchet.seal(scene.initiate(), b"one", scene.draw)
        alice, two = ratchet.seal(alice, b"two", scene.draw)
        self.assertEqual(one[:2428], two[:2428])
        received = scene.receive(two)
        self.assertEqual((received.outcome, received.content), ("accepted", b"two"))
        self.assertEqual(received.accepted.identity.route, b"to alice")
        self.assertEqual(received.accepted.record, scene.alice.list.record)
        again = scene.receive(one)
        self.assertEqual((again.outcome, again.content), ("repeat", b"one"))
        with refused(self, "R-511"):
            scene.receive(one)
        # The private keys of a one-time bundle are gone: another session on it.
        _, other = ratchet.seal(scene.initiate(), b"other", scene.draw)
        self.assertEqual(scene.receive(other).outcome, "used-twice")
        # After the session was deleted its repeats are dropped.
        scene.bob.party.forget_session(received.session)
        self.assertEqual(scene.receive(one).outcome, "dropped")

    def test_long_identity_makes_8_kib(self):
        scene = Scene("long", devices=5)
        # Five devices and eight bytes of a route just fit the short block.
        self.assertEqual(len(scene.initiate().handshake), 2428)
        session = scene.initiate(route=b"to alice!")
        self.assertEqual(len(session.handshake), 4060)
        _, envelope = ratchet.seal(session, b"", scene.draw)
        self.assertEqual(len(envelope), 8192)
        self.assertEqual(scene.receive(envelope).outcome, "accepted")

    def test_last_resort_bundle_twice(self):
        scene = Scene("last", prekeys.LAST_RESORT)
        for text in (b"one", b"two"):
            _, envelope = ratchet.seal(scene.initiate(), text, scene.draw)
            self.assertEqual(scene.receive(envelope).outcome, "accepted")

    def test_refusals(self):
        scene = Scene("refusals", prekeys.LAST_RESORT)
        session, envelope = ratchet.seal(scene.initiate(), b"x", scene.draw)
        party = scene.bob.party
        for rule, arguments in (
            ("R-401", {"envelope": envelope[:-1]}),
            ("R-401", {"envelope": b"\0" + envelope[1:]}),
            ("R-513", {"envelope": envelope[:-1] + bytes([envelope[-1] ^ 1])}),
            ("R-501", {"envelope": envelope[:2430] + bytes(12) + envelope[2442:]}),
            ("R-405", {"envelope": envelope, "today": EXPIRY + 31}),
            ("R-210", {"envelope": envelope, "record": scene.bob.list.record}),
        ):
            with self.subTest(rule=rule), refused(self, rule):
                scene.receive(**arguments)
            self.assertEqual((party.sessions, party.replay), ([], set()))
        newer = identity.issue_list(
            scene.alice.secret, [scene.alice.device.keys], 0, scene.alice.list.record
        )
        with refused(self, "R-208"):
            scene.receive(envelope, record=newer.record)
        self.assertEqual(scene.receive(envelope, today=EXPIRY + 30).outcome, "accepted")
        greeting = handshake.Greeting.open(scene.link.hello_key, envelope)
        with refused(self, "R-410"):
            handshake.accept(
                greeting, scene.bob.device, scene.prekey, scene.link, TODAY, party.replay,
                lambda _: None,
            )

    def _greeting(self, scene, **changes):
        _, envelope = ratchet.seal(scene.initiate(), b"x", scene.draw)
        plain = handshake.Greeting.open(scene.link.hello_key, envelope)
        return handshake.Greeting(**{**plain.__dict__, **changes})

    def _accept(self, scene, greeting, device=None, prekey=None):
        return handshake.accept(
            greeting, device or scene.bob.device, prekey or scene.prekey, scene.link, TODAY,
            set(), lambda _: None,
        )

    def test_refusals_inside(self):
        scene = Scene("inside")
        self.assertEqual(self._accept(scene, self._greeting(scene)).content, b"x")
        low = (1).to_bytes(32, "little")
        for rule, changes in (
            ("R-404", {"bundle_id": bytes(16)}),
            ("R-403", {"ephemeral": low}),
            ("R-406", {"ciphertext": bytes(1568)}),
            ("R-406", {"sealed_identity": bytes(784)}),
        ):
            with self.subTest(rule=rule), refused(self, rule):
                self._accept(scene, self._greeting(scene, **changes))

    def test_r_408(self):
        scene = Scene("self")
        bundle = prekeys.Bundle.read(scene.bundle)
        with refused(self, "R-408"):
            handshake.initiate(
                scene.bob.device, scene.bob.list, b"", scene.link, bundle, scene.draw
            )

    def test_identity_blocks(self):
        scene = Scene("blocks")
        block = handshake.write_identity_block(0, scene.alice.list, b"r")
        self.assertEqual(len(block), 768)
        self.assertEqual(handshake.Identity.read(block).route, b"r")
        length = len(scene.alice.list.data)
        for rule, at, new in (
            ("R-407", 1, b"\xff\xff"),
            ("R-201", 1, b"\0\xea"),
            ("R-407", 3 + length, b"\x01\x41"),
            ("R-407", 767, b"\1"),
            ("R-407", 0, b"\1"),
        ):
            bad = bytearray(block)
            bad[at : at + len(new)] = new
            with self.subTest(at=at), refused(self, rule):
                handshake.Identity.read(bytes(bad))
        route = bytes(768 - 5 - length)
        self.assertEqual(len(handshake.write_identity_block(0, scene.alice.list, route)), 768)
        self.assertEqual(
            len(handshake.write_identity_block(0, scene.alice.list, route + b"\0")), 2400
        )


class Messages(unittest.TestCase):
    def test_out_of_order_and_lost(self):
        talk = Talk("order")
        first = talk.write("alice")
        envelopes = [talk.write("alice", bytes([i])) for i in range(8)]
        talk.give("bob", first)
        talk.give("alice", talk.write("bob", b"meanwhile"))
        later = [talk.write("alice", bytes([i])) for i in range(8, 12)]
        # 5, 8 and 0 are lost for now.
        for i in (7, 2, 11, 1, 9, 4, 3, 6, 10):
            talk.give("bob", (envelopes + later)[i])
        self.assertEqual([k.place for k in talk.bob.skipped.values()], [(2, 1), (2, 6), (3, 0)])
        for i in (5, 8, 0):
            self.assertEqual(talk.give("bob", (envelopes + later)[i]), bytes([i]))
        self.assertEqual(talk.bob.skipped, {})
        for i in range(12):
            talk.refuse(self, "bob", (envelopes + later)[i], "R-511")

    def test_buckets(self):
        talk = Talk("buckets")
        for content, length in ((797, 1024), (798, 2048), (MAX_CONTENT, 65536)):
            envelope = talk.write("alice", bytes(content))
            self.assertEqual(len(envelope), length)
            self.assertEqual(len(talk.give("bob", envelope)), content)
        with refused(self, "R-705"):
            talk.write("alice", bytes(MAX_CONTENT + 1))
        for length in BUCKETS:
            for h in (0, 2428, 4060):
                if length > h and (not h or length >= 4096) and length - h >= 97:
                    self.assertEqual(Part.cut(bytes(length - h)).handshake_length, h)
        for length in (0, 36, 96, 1023, 1025, 1668 - 1, 65537):
            with refused(self, "R-701"):
                Part.cut(bytes(length))
        self.assertIsNone(smallest_bucket(MAX_CONTENT + 1, 4060))

    def test_every_altered_byte(self):
        talk = Talk("altered")
        envelope = talk.write("alice")
        for at in range(0, len(envelope), 7):
            bad = bytearray(envelope)
            bad[at] ^= 1
            talk.refuse(self, "bob", bytes(bad), "R-501" if at < 81 else "R-513")
        talk.give("bob", envelope)

    def test_r_510_and_r_515(self):
        talk = Talk("gap")
        envelopes = [talk.write("alice") for _ in range(2003)]
        talk.refuse(self, "bob", envelopes[2001], "R-510")
        talk.give("bob", envelopes[2000])
        talk.give("bob", envelopes[2002])
        self.assertEqual(len(talk.bob.skipped), 2001)
        scene = Scene("silent")
        silent = handshake._new_session(
            ratchet.RESPONDER, bytes(32), {"root": b"", "hk_a": b"", "hk_b": b""},
            handshake=b"", own=bytes(32), remote=None, sending_due=False, phase=pq.Waiting(None),
        )
        with refused(self, "R-515"):
            ratchet.seal(silent, b"", scene.draw)

    def test_bound_of_skipped_keys_and_their_age(self):
        talk = Talk("bound")
        for round_ in range(3):
            envelopes = [talk.write("alice") for _ in range(1501)]
            talk.give("bob", envelopes[-1])
            talk.give("alice", talk.write("bob"))
        self.assertEqual(len(talk.bob.skipped), 4000)
        # The first 500 of the first of these chains went.
        self.assertNotIn((2, 499), talk.bob.skipped)
        self.assertIn((2, 500), talk.bob.skipped)
        talk.today += 31
        self.assertEqual(ratchet.expire(talk.bob, talk.today).skipped, {})
        self.assertEqual(len(ratchet.expire(talk.bob, talk.today - 1).skipped), 4000)
        talk.refuse(self, "bob", envelopes[0], "R-512")

    def test_old_chains_are_eight(self):
        talk = Talk("chains")
        late = []
        for _ in range(10):
            late.append(talk.write("alice"))
            talk.give("bob", talk.write("alice"))
            talk.give("alice", talk.write("bob"))
        self.assertEqual(len(talk.bob.old_chains), 8)
        talk.refuse(self, "bob", late[0], "R-501")
        self.assertEqual(talk.give("bob", late[1]), b"x")

    def test_rolled_back_peer(self):
        talk = Talk("rollback")
        talk.give("bob", talk.write("alice"))
        old = talk.alice
        talk.give("bob", talk.write("alice"))
        talk.alice = old
        talk.refuse(self, "bob", talk.write("alice"), "R-505")
        # Alice's copy from before she began a chain begins it with another key.
        talk.give("alice", talk.write("bob"))
        before = talk.alice
        talk.give("bob", talk.write("alice"))
        talk.alice = before
        talk.refuse(self, "bob", talk.write("alice"), "R-504")
        # A chain that Bob has passed.
        talk = Talk("rollback 2")
        talk.give("bob", talk.write("alice"))
        old = talk.alice
        talk.give("alice", talk.write("bob"))
        talk.give("bob", talk.write("alice"))
        talk.alice = old
        talk.refuse(self, "bob", talk.write("alice"), "R-507")

    def test_bodies(self):
        """What only a peer can do: bodies that open and are no bodies."""
        talk = Talk("bodies")
        for rule, body in (
            ("R-702", b"\xff\xff"),
            ("R-703", b"\x00\x01"),  # in an envelope of 2 KiB
            ("R-601", b"\0\0\3"),
            ("R-601", b"\0\0\1\0\0\0\1\x25\1"),
            ("R-601", b"\0\0\1\0\0\0\1\0\0"),
            ("R-601", b"\0\0\1\0\0\0\1\0\x26"),
            ("R-601", b"\0\0\2\0\0\0\1\0\x22"),
            ("R-704", b"\0\0\0\1"),
        ):
            length = 2048 if rule == "R-703" else 1024
            talk.refuse(self, "bob", self._forged(talk, body, length), rule)

    def _forged(self, talk, body, length):
        s, nonce = talk.alice, talk.draw.take(12)
        header = ratchet.Header(
            s.sending.public, s.sending.previous, s.sending.next, s.epoch, s.tag
        )
        if s.sending_due:
            talk.write("alice")
            return self._forged(talk, body, length)
        sealed = aead_seal(s.sending.header_key, nonce, s.id, header.write())
        _, key = ratchet.advance(s.sending.chain_key)
        plain = body + bytes(length - 97 - len(body))
        sealed_body = aead_seal(ratchet.body_key(key, nonce), ZERO_NONCE, s.id + sealed, plain)
        return nonce + sealed + sealed_body


class PostQuantum(unittest.TestCase):
    def _alternate(self, content, messages):
        """The numbers of the messages that raise an epoch (06 section 9)."""
        scene = Scene("epochs")
        sides = {"alice": scene.initiate(), "bob": None}
        raised, epoch = [], 0
        for n in range(1, messages + 1):
            one, other = ("alice", "bob") if n % 2 else ("bob", "alice")
            sides[one], envelope = ratchet.seal(sides[one], bytes(content), scene.draw)
            if sides[other] is None:
                sides[other] = scene.receive(envelope).session.state
            else:
                sides[other], _ = ratchet.open_part(sides[other], envelope, TODAY)
            if sides[one].epoch > epoch:
                raised.append(n)
            epoch = sides[one].epoch
            for session in sides.values():
                stored = state.write(session)
                self.assertEqual(state.read(stored), session)
                self.assertEqual(state.write(state.read(stored)), stored)
        return raised

    def test_figures(self):
        self.assertEqual(self._alternate(302, 27), [5, 12, 19, 26])
        self.assertEqual(self._alternate(797, 84), [35, 84])

    def test_mixture_costs_a_round(self):
        run = pq.Run(pq.KEY, 1, 0, b"notatag!", tuple(bytes([i]) * 32 for i in range(37)))
        self.assertEqual(pq.after_message(pq.Waiting(None), 0, run, True), pq.Waiting(None))
        late = pq.Run(pq.KEY, 2, 0, b"notatag!", (bytes(32),))
        self.assertEqual(pq.after_message(pq.Waiting(None), 0, late, True), pq.Waiting(None))

    def test_r_602(self):
        ek = b"\xff" * 1184
        blocks = tuple(ek[i : i + 32] for i in range(0, 1184, 32))
        run = pq.Run(pq.KEY, 1, 0, pq.h_ek(ek)[:8], blocks)
        with refused(self, "R-602"):
            pq.after_message(pq.Waiting(None), 0, run, True)

    def test_another_key_while_answering(self):
        keys = [pq.MLKEM768.key(bytes([i]) * 64) for i in range(2)]
        phase, _ = pq.work_before_send(pq.Keyed(keys[0]), 0, 5, lambda _, n: bytes(n))
        self.assertIsInstance(phase, pq.Answering)
        for ek, whole, then in ((keys[0], 37, pq.Answering), (keys[1], 20, pq.Answering),
                                (keys[1], 37, pq.Keyed)):
            run, _ = pq.cut_run(pq.KEY, ek, pq.h_ek(ek)[:8], 1, 3, 15 + 32 * whole, None)
            phase = pq.after_message(phase, 0, run, False)
            self.assertIsInstance(phase, then)
        self.assertEqual(phase, pq.Keyed(keys[1]))

    def test_first_pass_in_order_and_then_anywhere(self):
        ek, cursor, firsts = bytes(1184), 0, []
        draws = iter([u16(37 + 5), u16(65_535)])
        for _ in range(4):
            run, cursor = pq.cut_run(
                pq.KEY, ek, bytes(8), 1, cursor, 15 + 32 * 20 + 31, lambda *_: next(draws)
            )
            firsts.append((run.first, run.count, cursor))
        # The second run is longer than what is left: it goes on with block 0.
        self.assertEqual(firsts, [(0, 20, 20), (20, 20, 37), (5, 20, 37), (65_535 % 37, 20, 37)])
        self.assertEqual(pq.cut_run(pq.KEY, ek, bytes(8), 1, 37, 46, None), (None, 37))

    def test_peer_that_lost_the_key(self):
        offering = pq.Offering(bytes(64), bytes(32), True, None)
        self.assertFalse(pq.after_message(offering, 0, None, True).peer_has_key)
        self.assertTrue(pq.after_message(offering, 0, None, False).peer_has_key)
        run = pq.Run(pq.KEY, 1, 0, bytes(8), (bytes(32),))
        self.assertFalse(pq.after_message(offering, 0, run, True).peer_has_key)

    def test_last_epoch(self):
        for phase in (pq.Idle(), pq.Keyed(bytes(1184))):
            self.assertEqual(pq.work_before_send(phase, MAX_U32, 0, None), (phase, 0))
        answering = pq.Answering(b"", b"", bytes(1088), None)
        self.assertEqual(pq.run_to_send(answering, MAX_U32, 0, 1000, None), (None, 0))


class Stored(unittest.TestCase):
    def setUp(self):
        self.talk = Talk("stored")
        lost = self.talk.write("alice")
        self.talk.give("bob", self.talk.write("alice"))
        self.talk.give("alice", self.talk.write("bob"))
        self.talk.give("bob", self.talk.write("alice"))
        self.lost = lost
        self.stored = state.write(self.talk.bob)

    def test_every_cut(self):
        for n in range(len(self.stored)):
            with refused(self, "R-1002"):
                state.read(self.stored[:n])
        with refused(self, "R-1002"):
            state.read(self.stored + b"\0")

    def test_refusals(self):
        skipped = len(self.stored) - 44 * len(self.talk.bob.skipped)
        self.assertGreater(len(self.talk.bob.skipped), 0)
        for rule, at, new in (
            ("R-1001", 1, b"\2"),
            ("R-1002", 2, b"\2"),
            ("R-1002", 35, b"\3"),
            ("R-1002", 36 + 76, b"\2"),
            ("R-1002", 36 + 76, b"\0"),
            ("R-1004", 36 + 77, b"\xff" * 32),
            ("R-1002", 36 + 173, b"\2"),
            ("R-1002", 36 + 367, b"\6"),
            ("R-1003", skipped - 2, b"\xff\xff"),
            ("R-1002", skipped, b"\0\0\0\0"),
            ("R-1002", skipped, b"\0\0\0\xff"),
        ):
            bad = bytearray(self.stored)
            bad[at : at + len(new)] = new
            with self.subTest(at=at), refused(self, rule):
                state.read(bytes(bad))

    def test_a_read_session_goes_on(self):
        self.talk.bob = state.read(self.stored)
        self.assertEqual(self.talk.give("bob", self.lost), b"x")
        self.assertEqual(self.talk.give("alice", self.talk.write("bob", b"on")), b"on")


class ManyDevices(unittest.TestCase):
    def test_index_of_another_device(self):
        scene = Scene("many", devices=3)
        draw = scene.draw
        other = Person(draw, 2)
        with refused(self, "R-211"):
            bundle = prekeys.Bundle.read(scene.bundle)
            handshake.initiate(other.device, scene.alice.list, b"", scene.link, bundle, draw)


if __name__ == "__main__":
    unittest.main()
