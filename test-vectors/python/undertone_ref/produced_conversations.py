"""Vectors that it makes of conversations: 04 to 07, 10."""

from dataclasses import replace

from . import forge, identity, pq, prekeys, ratchet, state
from .constants import MAX_U32
from .envelopes import BUCKETS, smallest_bucket
from .layout import u16, u32, u64
from .primitives import MLKEM768, sha256
from .random_conversations import COUNTER, EXPIRY, TODAY

P = 2**255 - 19


def make(maker) -> None:
    for family in (_handshake, _ratchet, _post_quantum, _padding, _state, _random):
        family(maker)


class Scene:
    """Bob offers, Alice begins; steps of both."""

    def __init__(self, script, kind="one-time", devices=1, route=b"to alice", begin=True):
        self.script, self.today = script, TODAY
        self.names = 0
        self.kind, self.route = kind, route
        self.alice = self._person("alice", devices)
        self.bob = self._person("bob", 1)
        self.link_secret = script.stream.take(32)
        script.do(do="link", link="link", link_secret=self.link_secret)
        self.bundle("bundle", kind)
        self.record = None
        if begin:
            self.initiate("alice")

    def _person(self, name, devices):
        take = self.script.stream.take
        secret = take(32)
        made = [identity.Device(take(32), take(32)) for _ in range(devices)]
        self.script.do(
            do="person", person=name, account_secret=secret, device=0, counter=COUNTER,
            devices=[{"signing_secret": d.signing_secret, "dh_secret": d.dh_secret} for d in made],
        )
        return secret, made

    def bundle(self, name, kind, person="bob", expiry=EXPIRY):
        self.script.do(
            do="bundle", bundle=name, person=person, link="link", kind=kind, expiry=expiry,
            route=b"to " + person.encode(),
        )

    def party(self, name):
        return self.script.world.people[name]

    def fingerprint(self, name="bob"):
        return identity.fingerprint(self.party(name).list.account)

    def initiating(self, session, bundle="bundle", **changes):
        return {
            "do": "initiate", "session": session, "person": "alice", "link": "link",
            "bundle": bundle, "fingerprint": self.fingerprint(), "today": self.today,
            "record": None, "route": self.route,
        } | changes

    def initiate(self, session, **changes):
        self.script.do(**self.initiating(session, **changes))

    def write(self, session, content=b"x"):
        """Seals; the envelope's name."""
        self.names += 1
        name = f"envelope {self.names}"
        if isinstance(content, bytes) and len(content) > 40 and len(set(content)) == 1:
            content = {"repeat": content[:1].hex(), "count": len(content)}
        self.script.do(do="seal", session=session, content=content, envelope=name)
        return name

    def receiving(self, envelope, **changes):
        how = {"envelope": envelope} if isinstance(envelope, str) else {"bytes": envelope}
        return {
            "do": "receive", "person": "bob", "link": "link", "today": self.today,
            "record": None, "session": "bob",
        } | how | changes

    def receive(self, envelope, **changes):
        return self.script.do(**self.receiving(envelope, **changes))

    def opening(self, session, envelope, **changes):
        how = {"envelope": envelope} if isinstance(envelope, str) else {"bytes": envelope}
        return {"do": "open", "session": session, "today": self.today} | how | changes

    def open(self, session, envelope, **changes):
        return self.script.do(**self.opening(session, envelope, **changes))

    def state(self, session):
        return self.script.world.sessions[session].state

    def states(self):
        for session in ("alice", "bob"):
            self.script.do(do="state", session=session)

    def talk(self):
        """Both have opened a message of the other."""
        self.receive(self.write("alice", b"hello"))
        self.open("alice", self.write("bob", b"hello yourself"))
        return self

    def forged(self, session, **changes):
        return forge.message(self.state(session), **changes)

    def load(self, session, loaded):
        self.script.do(do="load", session=session, stored=state.write(loaded))


# 04


def _handshake(maker) -> None:
    def scene(name, about, play, rule=None, stage=None, spec="04 §6", **options):
        def run(script):
            play(Scene(script, **options), script)

        maker.conversation("handshake", name, about, [spec], run, rule, stage)

    def first(s, script):
        s.receive(s.write("alice", b"one"))
        s.receive(s.write("alice", b"two"))
        s.open("alice", s.write("bob", b"three"))
        s.receive(s.write("alice", b"four, without a handshake in front"))
        s.states()

    scene("one-time", "First contact, a reply, and an envelope without a handshake.", first)
    scene("last-resort", "The same on a last-resort bundle.", first, kind="last-resort")
    scene("long-identity", "Five devices, and a block of 2,400 bytes.", first, devices=5,
          route=bytes(320))
    scene("route-just-fits", "A list and a route that fill the short block.", first, devices=5,
          route=bytes(8))
    scene("empty-route", "A route of no bytes.", first, route=b"")

    def later_first(s, script):
        names = [s.write("alice", b"%d" % i) for i in range(4)]
        for i in (2, 0, 3, 1):
            s.receive(names[i])
        for name in names:
            script.refuse("R-511", **s.receiving(name))
        s.states()

    scene("any-establishes", "The third envelope arrives first, then the others, then all again.",
          later_first, "R-511", "header")

    def used_twice(s, script):
        one = s.write("alice")
        s.initiate("alice again")
        s.receive(one)
        s.receive(s.write("alice again"))
        script.do(do="delete", session="bob")
        s.receive(one)

    scene("used-twice-and-dropped", "A second session on a one-time bundle; a repeat of a session "
          "that was deleted.", used_twice)

    def two_sessions(s, script):
        s.receive(s.write("alice", b"one"))
        s.initiate("alice again")
        s.receive(s.write("alice again", b"another"), session="bob again")
        s.receive(s.write("alice", b"two"), session="none")
        script.do(do="state", session="bob again")

    scene("last-resort-twice", "Two sessions on a last-resort bundle.", two_sessions,
          kind="last-resort")

    def no_lookup(s, script):
        envelope = s.write("alice")
        s.receive(envelope)
        script.refuse("R-410", **s.receiving(envelope, lookup=False, session="another"))

    scene("r-410", "A handshake that was accepted, and nobody looks it up.", no_lookup, "R-410",
          "compare", kind="last-resort")

    def on_the_day(rule, day):
        def play(s, script):
            envelope = s.write("alice")
            if rule:
                script.refuse(rule, **s.receiving(envelope, today=day))
            s.receive(envelope, today=EXPIRY + 30)

        return play

    scene("last-day", "30 days after the expiry.", on_the_day(None, 0))
    scene("r-405", "31 days after the expiry.", on_the_day("R-405", EXPIRY + 31), "R-405",
          "compare")

    def records(s, script):
        envelope = s.write("alice")
        secret, devices = s.alice
        keys = [d.keys for d in devices]
        newer = identity.issue_list(secret, keys, COUNTER + 1, None).record
        twin = identity.Record(newer.account, COUNTER, bytes(32))
        script.refuse("R-208", **s.receiving(envelope, record=newer.write()))
        script.refuse("R-209", **s.receiving(envelope, record=twin.write()))
        other = s.party("bob").list.record
        script.refuse("R-210", **s.receiving(envelope, record=other.write()))
        s.receive(envelope, record=s.party("alice").list.record.write())

    scene("r-208-to-r-210", "Records that the list contradicts; at last its own.", records, "R-210",
          "compare")

    def nothing_in_front(s, script):
        envelope = s.write("alice")
        s.talk()
        for bytes_ in ({"repeat": "00", "count": 4096}, {"repeat": "ff", "count": 1024}):
            changed = s.receiving(b"") | {"bytes": bytes_}
            script.refuse("R-501", **changed)
        script.refuse("R-701", **(s.receiving(b"")))
        s.receive(envelope)

    scene("ordinary-junk", "Junk goes to the session, which does not know it.", nothing_in_front,
          "R-701", "header", kind="last-resort")

    def no_session(s, script):
        script.refuse("R-401", **(s.receiving(b"") | {"bytes": {"repeat": "00", "count": 8192}}))
        script.refuse("R-401", **(s.receiving(b"") | {"bytes": {"repeat": "00", "count": 1000}}))
        name = s.write("alice")
        script.do(do="edit", envelope="altered", of=name, xor=b"\x40", at=2427)
        script.refuse("R-401", **s.receiving("altered"))
        s.receive(name)

    scene("r-401", "Junk, and a handshake with an altered bit.", no_session, "R-401", "unseal")

    def forged(rule, more, **changes):
        def play(s, script):
            link = prekeys.LinkKeys.of(s.link_secret)
            bundle = prekeys.Bundle.open(
                link.card_key, script.world.bundles["bundle"][2], s.fingerprint(), TODAY, None
            )
            alice = s.party("alice")
            made = {n: v(s) if callable(v) else v for n, v in changes.items()}
            envelope = forge.greeting(alice.device, alice.list, link, bundle, **made)
            script.refuse(rule, **s.receiving(envelope, **more))
            s.receive(s.write("alice"))

        return play

    def listed(s):
        return s.party("alice").list.data

    def block(alter):
        return lambda s: alter(forge.block(0, listed(s), b"r"), 3 + len(listed(s)))

    def at(where, new):
        return lambda data, route_at: data[:where] + new + data[where + len(new) :]

    def behind_list(new):
        return lambda data, route_at: data[:route_at] + new + data[route_at + len(new) :]

    low = (1).to_bytes(32, "little")
    for rule, name, about, stage, changes in (
        ("R-402", "ephemeral", "An ephemeral key that is not canonical.", "read",
         {"ephemeral_public": P.to_bytes(32, "little")}),
        ("R-403", "ephemeral", "An ephemeral key of low order.", "exchange",
         {"ephemeral_public": low}),
        ("R-404", "bundle", "A bundle that Bob never made.", "compare", {"bundle_id": b"\5" * 16}),
        ("R-406", "ciphertext", "A ciphertext for nobody.", "unseal",
         {"ciphertext": bytes(1568)}),
        ("R-406", "identity", "An identity that does not open.", "unseal",
         {"sealed_identity": bytes(784)}),
        ("R-407", "index", "A device that is not on the list.", "read",
         {"identity_block": block(at(0, b"\1"))}),
        ("R-407", "list-length", "A list that goes beyond the block.", "read",
         {"identity_block": block(at(1, u16(766)))}),
        ("R-201", "list-length", "A list that is one byte longer.", "read",
         {"identity_block": block(at(1, u16(236)))}),
        ("R-207", "list", "A list with another counter.", "verify",
         {"identity_block": block(at(3 + 39, b"\xee"))}),
        ("R-407", "route-length", "A route of 321 bytes.", "read",
         {"identity_block": block(behind_list(u16(321)))}),
        ("R-407", "padding", "The last byte of the block is not zero.", "read",
         {"identity_block": block(at(767, b"\1"))}),
    ):
        more = {"lookup": False} if rule == "R-404" else {}
        scene(f"{rule.lower()}-{name}", about, forged(rule, more, **changes), rule, stage)

    def long_block(s, script):
        link = prekeys.LinkKeys.of(s.link_secret)
        bundle = prekeys.Bundle.read(
            prekeys.open_(link.card_key, script.world.bundles["bundle"][2][:12],
                          prekeys.LABEL_CARD_SEAL, script.world.bundles["bundle"][2][12:])
        )
        alice = s.party("alice")
        envelope = forge.greeting(
            alice.device, alice.list, link, bundle,
            identity_block=forge.block(0, alice.list.data, b"r", 2400),
        )
        s.receive(envelope)

    scene("long-block-that-need-not", "A long block that holds little is accepted.", long_block)

    def itself(s, script):
        script.refuse("R-408", **s.initiating("x", person="bob"))

    scene("r-408-initiator", "A device that calls itself.", itself, "R-408", "compare",
          spec="04 §5", begin=False)

    def bad_bundles(s, script):
        script.refuse("R-356", **s.initiating("x", today=EXPIRY + 1))
        script.refuse("R-358", **s.initiating("x", today=EXPIRY - 33))
        script.refuse("R-357", **s.initiating("x", fingerprint=s.fingerprint("alice")))
        record = s.party("alice").list.record.write()
        script.refuse("R-210", **s.initiating("x", record=record))
        script.refuse("R-110", **s.initiating("x", route={"repeat": "00", "count": 321}))

    scene("bundles-that-are-none", "What an initiator compares, then a route that is too long.",
          bad_bundles, "R-110", "make", spec="03-prekeys §3", begin=False)


# 05


def _ratchet(maker) -> None:
    def scene(name, about, play, rule=None, stage="header", spec="05 §6"):
        def run(script):
            s = Scene(script).talk()
            play(s, script)
            s.states()

        maker.conversation("ratchet", name, about, [spec], run, rule, rule and stage)

    def alternation(s, script):
        for i in range(12):
            one, other = ("alice", "bob") if i % 2 == 0 else ("bob", "alice")
            s.open(other, s.write(one, b"%d" % i))

    scene("alternation", "Twelve messages, by turns.", alternation)

    def bursts(s, script):
        for i in range(3):
            for one, other in (("alice", "bob"), ("bob", "alice")):
                for name in [s.write(one, b"%d" % n) for n in range(3 + i)]:
                    s.open(other, name)
        script.do(do="reload", session="bob")
        s.open("bob", s.write("alice", b"after reading the state again"))

    scene("bursts", "Several in a row, by turns.", bursts)

    def disorder(s, script):
        one = [s.write("alice", b"1.%d" % i) for i in range(4)]
        s.open("bob", one[1])
        s.open("alice", s.write("bob", b"between"))
        two = [s.write("alice", b"2.%d" % i) for i in range(3)]
        s.open("bob", two[2])
        s.open("alice", s.write("bob", b"between"))
        three = [s.write("alice", b"3.%d" % i) for i in range(2)]
        for name in (three[1], one[3], two[0], one[0], three[0], two[1], one[2]):
            s.open("bob", name)
        script.refuse("R-511", **s.opening("bob", one[0]))
        script.refuse("R-511", **s.opening("bob", two[2]))

    scene("skipped-across-steps", "Messages of three chains, in disorder.", disorder, "R-511")

    def loss(s, script):
        for i in range(5):
            s.write("alice", b"lost")
            s.open("bob", s.write("alice", b"here"))
            s.write("bob", b"lost")
            s.write("bob", b"lost")
            s.open("alice", s.write("bob", b"here"))

    scene("lost", "Most messages are lost.", loss)

    def both_at_once(s, script):
        for i in range(4):
            one, other = s.write("alice", b"a%d" % i), s.write("bob", b"b%d" % i)
            s.open("bob", one)
            s.open("alice", other)

    scene("crossing", "Messages that cross each other.", both_at_once)

    # Refusals of a header that only the peer can make.

    def header(rule, fresh, **changes):
        """``fresh``: on a chain that Bob does not know yet."""

        def play(s, script):
            if not fresh:
                s.open("bob", s.write("alice"))
            made = {n: v(s) if callable(v) else v for n, v in changes.items()}
            script.refuse(rule, **s.opening("bob", s.forged("alice", **made)))
            s.open("bob", s.write("alice", b"the next one"))

        return play

    def bobs_remote(s):
        return s.state("bob").remote

    low = (1).to_bytes(32, "little")
    for rule, name, about, fresh, changes in (
        ("R-502", "chain", "Flags in a known chain.", False, {"flags": 1}),
        ("R-502", "new", "Flags in a new chain, and a key that is none.", True,
         {"flags": 0x80, "key": b"\xff" * 32}),
        ("R-503", "canonical", "A ratchet key that is not canonical.", True,
         {"key": P.to_bytes(32, "little")}),
        ("R-503", "low-order", "A ratchet key of low order.", True, {"key": low}),
        ("R-504", "key", "Another key within a chain.", False, {"key": low}),
        ("R-504", "previous", "Another length within a chain.", False, {"previous": 2}),
        ("R-504", "epoch", "Another epoch within a chain.", False, {"epoch": 1}),
        ("R-504", "tag", "Another tag within a chain.", False, {"tag": bytes(8)}),
        ("R-508", "key", "The key of the chain before.", True, {"key": bobs_remote}),
        ("R-508", "before-r-506", "The key of the chain before, which was shorter, too.", True,
         {"key": bobs_remote, "previous": 0}),
        ("R-506", "shorter", "The chain before was longer.", True, {"previous": 0}),
        ("R-514", "number", "The number that is never sent.", False, {"number": MAX_U32}),
        ("R-514", "previous", "The length that is never said.", True, {"previous": MAX_U32}),
        ("R-514", "number-new", "The number that is never sent, in a new chain.", True,
         {"number": MAX_U32}),
        ("R-510", "chain", "2,001 are missing.", False, {"number": 1 + 2001}),
        ("R-510", "largest", "Number 2^32 − 2.", False, {"number": MAX_U32 - 1}),
        ("R-510", "previous", "2,001 of the chain before are missing.", True,
         {"previous": 1 + 2001}),
        ("R-510", "new", "2,001 of the new chain are missing.", True, {"number": 2001}),
        ("R-509", "tag", "Another tag.", True, {"tag": bytes(8)}),
        ("R-509", "epoch-behind", "An epoch that is higher by 2.", True, {"epoch": 2}),
        ("R-509", "epoch-next", "The next epoch, and nobody has a secret for it.", True,
         {"epoch": 1}),
        ("R-510", "before-r-509", "2,001 are missing, in an epoch that can't be.", True,
         {"number": 2001, "epoch": 7}),
    ):
        scene(f"{rule.lower()}-{name}", about, header(rule, fresh, **changes), rule)

    def bound_of_gap(s, script):
        s.open("bob", s.write("alice"))
        before = s.state("alice")
        chain_key, end = before.sending.chain_key, before.sending.next + 2000
        for _ in range(2000):
            chain_key, _ = ratchet.advance(chain_key)
        far = replace(before, sending=replace(before.sending, chain_key=chain_key, next=end))
        s.load("far", far)
        s.open("bob", s.write("far", b"2,000 are missing"))

    scene("gap-2000", "2,000 are missing: the largest gap.", bound_of_gap)

    def old_chain(s, script):
        late = s.write("alice")
        s.open("bob", s.write("alice"))
        copy = s.state("alice")
        s.open("alice", s.write("bob"))
        s.open("bob", s.write("alice"))
        script.refuse("R-504", **s.opening("bob", forge.message(copy, previous=9)))
        script.refuse("R-507", **s.opening("bob", forge.message(copy)))
        script.refuse("R-507", **s.opening("bob", forge.message(copy, number=MAX_U32)))
        s.open("bob", late)
        script.refuse("R-511", **s.opening("bob", late))
        script.refuse("R-505", **s.opening("bob", forge.message(copy, number=0)))
        script.refuse("R-502", **s.opening("bob", forge.message(copy, flags=2)))

    scene("old-chain", "What can be wrong with a position of an old chain.", old_chain, "R-502")

    def eight_chains(s, script):
        late = []
        for _ in range(10):
            late.append(s.write("alice"))
            s.open("bob", s.write("alice"))
            s.open("alice", s.write("bob"))
        script.refuse("R-501", **s.opening("bob", late[0]))
        s.open("bob", late[1])
        s.open("bob", late[9])

    scene("eight-old-chains", "Ten chains, and a late message of each of three.", eight_chains,
          "R-501")

    def positions(s, script):
        names = [s.write("alice") for _ in range(34)]
        for name in names:
            s.open("bob", name)
        script.refuse("R-512", **s.opening("bob", names[1]))
        script.refuse("R-511", **s.opening("bob", names[2]))

    scene("32-positions", "A repeat is known as one for 32 messages.", positions, "R-511")

    def expiry(s, script):
        lost = [s.write("alice") for _ in range(3)]
        s.open("bob", s.write("alice"), today=TODAY)
        s.open("alice", s.write("bob"))
        s.open("bob", s.write("alice"), today=TODAY + 10)
        s.open("bob", lost[0], today=TODAY + 30)
        script.refuse("R-512", **s.opening("bob", lost[1], today=TODAY + 31))
        script.do(do="expire", session="bob", today=TODAY + 31)
        script.do(do="state", session="bob")
        script.refuse("R-512", **s.opening("bob", lost[2], today=TODAY))
        script.do(do="expire", session="bob", today=TODAY + 41)
        script.refuse("R-501", **s.opening("bob", lost[2], today=TODAY))

    scene("expiry", "Keys live 30 days from their skipping, a chain from its end.", expiry, "R-501",
          spec="05 §7")

    def clock_back(s, script):
        one = s.write("alice")
        s.open("bob", s.write("alice"), today=TODAY + 20)
        two = s.write("alice")
        s.open("bob", s.write("alice"), today=TODAY)
        s.open("bob", s.write("alice"), today=TODAY + 31)
        s.open("bob", one, today=TODAY + 50)
        script.refuse("R-512", **s.opening("bob", two, today=TODAY + 20))

    scene("clock-goes-back", "Days out of order: what expires goes wherever it stands.", clock_back,
          "R-512", spec="05 §6")

    def last_days(s, script):
        one = s.write("alice")
        s.open("bob", s.write("alice"), today=MAX_U32 - 10)
        s.open("bob", one, today=MAX_U32)

    scene("last-day", "Days saturate.", last_days, spec="01 §5")

    def rollback(s, script):
        s.open("bob", s.write("alice"))
        script.do(do="copy", session="alice", **{"as": "copy"})
        s.open("bob", s.write("alice"))
        script.refuse("R-505", **s.opening("bob", s.write("copy", b"another")))
        s.open("bob", s.write("copy", b"at a position that nobody used"))
        script.refuse("R-505", **s.opening("bob", s.write("alice", b"too late")))

    scene("rolled-back-r-505", "A copy of the sender's state goes on.", rollback, "R-505",
          spec="05 §9")

    def rollback_chain(s, script):
        script.do(do="copy", session="alice", **{"as": "copy"})
        s.open("bob", s.write("alice"))
        script.refuse("R-504", **s.opening("bob", s.write("copy")))

    scene("rolled-back-r-504", "A copy begins a chain that the peer has passed.", rollback_chain,
          "R-504", spec="05 §9")

    def rollback_own(s, script):
        script.do(do="copy", session="alice", **{"as": "copy"})
        s.open("bob", s.write("alice"))
        s.write("copy")
        script.refuse("R-513", **s.opening("copy", s.write("bob")))
        s.open("alice", s.write("bob"))

    scene("rolled-back-r-513", "A copy that began its chain with another key opens the header of "
          "the peer's next chain, and not the body.", rollback_own, "R-513", "body", spec="05 §9")

    def rollback_fewer(s, script):
        script.do(do="copy", session="alice", **{"as": "copy"})
        # Both copies have the same chain of Bob's; Alice goes on twice.
        first = s.write("bob")
        for name in [s.write("alice") for _ in range(3)]:
            s.open("bob", name)
        s.open("alice", first)
        s.open("bob", s.write("alice"))

    scene("sender-answers-late", "A reply that crossed three messages.", rollback_fewer)

    def bodies(s, script):
        name = s.write("alice", b"a body")
        for where in (12 + 69, 500, 1023):
            script.do(do="edit", envelope=f"altered {where}", of=name, xor=b"\1", at=where)
            script.refuse("R-513", **s.opening("bob", f"altered {where}"))
        for where in (0, 11, 12, 64, 80):
            script.do(do="edit", envelope=f"altered {where}", of=name, xor=b"\1", at=where)
            script.refuse("R-501", **s.opening("bob", f"altered {where}"))
        s.open("bob", name)

    scene("altered-bits", "Each part of an envelope with an altered bit.", bodies, "R-501")

    def full(s, script):
        s.open("bob", s.write("alice"))
        before = s.state("alice")
        for n, name in ((MAX_U32 - 2, "last"), (MAX_U32 - 1, "full")):
            s.load(name, replace(before, sending=replace(before.sending, next=n)))
        s.write("last", b"the last number of a chain")
        script.refuse("R-514", do="seal", session="last", content=b"", envelope="none")
        script.refuse("R-514", do="seal", session="full", content=b"", envelope="none")
        bob = s.state("bob")
        near = replace(bob, receiving=replace(bob.receiving, next=MAX_U32 - 2))
        s.load("near", near)
        before = s.state("alice")
        s.load("peer", replace(before, sending=replace(
            before.sending, next=MAX_U32 - 2, chain_key=bob.receiving.chain_key,
        )))
        s.open("near", s.write("peer", b"the last"))
        script.refuse("R-514", **s.opening("near", forge.message(before, number=MAX_U32)))

    scene("r-514-full-chain", "The end of a chain, for its sender and its receiver.", full, "R-514")

    def last_serial(s, script):
        s.open("bob", s.write("alice"))
        bob = s.state("bob")
        s.load("last", replace(
            bob, receiving=replace(bob.receiving, serial=MAX_U32), old_chains=(), positions=(),
        ))
        s.open("last", s.write("alice"))
        s.open("alice", s.write("last"))
        script.refuse("R-514", **s.opening("last", s.write("alice")))

    scene("r-514-serial", "No further chain can be counted.", last_serial, "R-514")

    def silent(script):
        s = Scene(script, begin=False)
        empty = ratchet.Session(
            id=sha256(b"silent"), role=1, handshake=b"", root=bytes(32), epoch=0,
            tag=pq.first_tag(sha256(b"silent")), own=bytes([1]) * 32, remote=None,
            next_sending=bytes([2]) * 32, next_receiving=bytes([3]) * 32, sending_due=False,
            phase=pq.Waiting(None),
        )
        s.load("silent", empty)
        script.refuse("R-515", do="seal", session="silent", content=b"", envelope="none")
        script.refuse("R-705", do="seal", session="silent", envelope="none",
                      content={"repeat": "00", "count": 61_250})
        low_order = replace(empty, remote=(1).to_bytes(32, "little"), sending_due=True)
        s.load("low", low_order)
        script.refuse("R-503", do="seal", session="low", content=b"", envelope="none")
        script.do(do="state", session="silent")

    maker.conversation("ratchet", "r-515-r-503-senders", "Senders that can't.", ["05 §5"], silent,
                       "R-503", "make")

    def first_chain(script):
        s = Scene(script)
        session = s.state("alice")
        forged = session.handshake + forge.message(session, previous=1)
        script.refuse("R-506", **s.receiving(forged))
        s.receive(s.write("alice"))
        s.states()

    maker.conversation("ratchet", "r-506-nothing-received", "A first chain that says there was "
                       "one before it.", ["05 §6.2"], first_chain, "R-506", "header")


# 06


def _post_quantum(maker) -> None:
    def scene(
        name, about, play, rule=None, stage="body", spec="06 §5", states=True, **options
    ):
        def run(script):
            s = Scene(script, **options)
            play(s, script)
            if states:
                s.states()

        maker.conversation("post-quantum", name, about, [spec], run, rule, rule and stage)

    def turns(count, size):
        def play(s, script):
            s.receive(s.write("alice", bytes(size)))
            for i in range(count):
                one, other = ("bob", "alice") if i % 2 == 0 else ("alice", "bob")
                s.open(other, s.write(one, bytes(size)))

        return play

    scene("small", "Messages of no bytes, by turns.", turns(28, 0), spec="06 §9")
    scene("figure-302", "The epochs of the table, content of 302 bytes.", turns(26, 302),
          spec="06 §9")
    scene("figure-797", "The epochs of the table, every bucket full.", turns(84, 797),
          spec="06 §9")
    # 32 bytes less of content are one block more.
    for blocks in (4, 11, 18, 19, 28):
        size = 1024 - 97 - 2 - 15 - 32 * blocks
        scene(f"{blocks}-blocks", f"{blocks} blocks in a message.", turns(30, max(size, 0)),
              spec="06 §4")

    def many(s, script):
        s.talk()
        sizes = [(37 * i * i + 911) % 2000 for i in range(40)]
        for i, size in enumerate(sizes):
            one, other = ("bob", "alice") if i % 3 else ("alice", "bob")
            s.open(other, s.write(one, bytes([i]) * size))

    scene("mixed-sizes", "Sizes of all kinds, one side twice as often.", many, spec="06 §4")

    def losses(s, script):
        s.talk()
        for i in range(45):
            one, other = ("bob", "alice") if i % 2 else ("alice", "bob")
            names = [s.write(one, bytes(700)) for _ in range(2)]
            s.open(other, names[i % 2])
            if i % 5 == 0:
                s.open(other, names[1 - i % 2])

    scene("losses", "Every second message is lost, some come late.", losses)

    def restarted(s, script):
        """Alice is rolled back to before she made her key; Bob has it whole."""
        s.receive(s.write("alice", bytes(700)))
        script.do(do="copy", session="alice", **{"as": "copy"})
        before = s.state("alice")
        s.load("old", replace(before, phase=pq.Idle(), cursor=0))
        for i in range(12):
            one, other = ("bob", "old") if i % 2 == 0 else ("old", "bob")
            s.open(other, s.write(one, bytes(100)))
        script.do(do="state", session="old")

    scene("another-key", "A side that forgot its key makes another: Bob begins anew.", restarted)

    def while_answering(s, script):
        s.receive(s.write("alice", bytes(100)))
        s.open("alice", s.write("bob", bytes(797)))
        s.load("alice", replace(s.state("alice"), phase=pq.Idle(), cursor=0))
        for i in range(30):
            one, other = ("alice", "bob") if i % 2 == 0 else ("bob", "alice")
            s.open(other, s.write(one, bytes(600)))

    scene("another-key-while-answering", "Another key comes while a ciphertext goes out.",
          while_answering)

    def lost_key(s, script):
        """Bob is rolled back to before the key: he sends no blocks."""
        s.receive(s.write("alice", bytes(100)))
        s.open("alice", s.write("bob", bytes(797)))
        s.load("bob", replace(s.state("bob"), phase=pq.Waiting(None), cursor=0))
        for i in range(16):
            one, other = ("alice", "bob") if i % 2 == 0 else ("bob", "alice")
            s.open(other, s.write(one, bytes(302)))

    scene("key-sent-again", "A peer that lost the key goes on without blocks.", lost_key)

    def cursors(s, script):
        s.receive(s.write("alice", bytes(797)))
        s.load("alice", replace(s.state("alice"), cursor=37))
        s.receive(s.write("alice", bytes(797)), session="none")
        s.load("alice", replace(s.state("alice"), cursor=255))
        s.receive(s.write("alice", bytes(797)), session="none")

    scene("cursor-out-of-range", "A cursor that is no index: the object has gone out.", cursors,
          spec="06 §4", states=False)

    def last_epoch(s, script):
        s.receive(s.write("alice", bytes(797)))
        last = b"\1\2\3\4\5\6\7\x08"
        s.open("alice", s.write("bob", bytes(797)))
        for name in ("alice", "bob"):
            before = s.state(name)
            phase = pq.Idle() if name == "alice" else pq.Waiting(None)
            received = replace(before.receiving, epoch=MAX_U32, tag=last)
            s.load(name, replace(before, epoch=MAX_U32, tag=last, phase=phase, receiving=received))
        for i in range(4):
            one, other = ("alice", "bob") if i % 2 == 0 else ("bob", "alice")
            s.open(other, s.write(one, bytes(50)))

    scene("last-epoch", "In the last epoch no run is written and nothing is drawn for one.",
          last_epoch, spec="06 §6")

    def into_last_epoch(s, script):
        s.receive(s.write("alice", bytes(797)))
        s.open("alice", s.write("bob", bytes(797)))
        tag = b"lastbut1"
        for name in ("alice", "bob"):
            before = s.state(name)
            phase = pq.Idle() if name == "alice" else pq.Waiting(None)
            received = replace(before.receiving, epoch=MAX_U32 - 1, tag=tag)
            s.load(name, replace(
                before, epoch=MAX_U32 - 1, tag=tag, phase=phase, receiving=received, cursor=0
            ))
        for i in range(16):
            one, other = ("alice", "bob") if i % 2 == 0 else ("bob", "alice")
            s.open(other, s.write(one, bytes(302)))

    scene("into-the-last-epoch", "The last epoch is raised, and then no other.", into_last_epoch,
          spec="06 §6")

    def raw(runs):
        def play(s, script):
            s.talk()
            for rule, behind in runs:
                forged = s.forged("alice", body=b"\0\0" + behind, length=1024)
                script.refuse(rule, **s.opening("bob", forged))
            s.open("bob", s.write("alice"))

        return play

    def head(kind, first, count):
        return bytes([kind]) + u32(1) + bytes([first, count]) + bytes(8)

    scene("r-601", "Runs that break their layout.", raw([
        ("R-601", b"\3"), ("R-601", b"\xff" + bytes(40)), ("R-601", head(1, 37, 1)),
        ("R-601", head(2, 34, 1)), ("R-601", head(1, 0, 0)), ("R-601", head(1, 0, 38)),
        ("R-601", head(2, 0, 35)), ("R-601", head(1, 0, 29)),
    ]), "R-601", spec="06 §7")

    def no_head(s, script):
        """A content that leaves less than a run's head in its bucket: no sender
        of this protocol makes it, since 128 bytes are left; R-703 comes first."""
        s.talk()
        content = u16(915) + bytes(915) + b"\1" + bytes(9)
        forged = s.forged("alice", body=content, length=1024)
        script.refuse("R-703", **s.opening("bob", forged))

    scene("r-703-before-r-601", "A run that goes beyond the body, in a bucket that is too small.",
          no_head, "R-703", spec="07 §4")

    def other_runs(s, script):
        """Runs that are passed over."""
        s.talk()
        for epoch in (0, 2, MAX_U32):
            run = pq.Run(pq.KEY, epoch, 3, b"tagtagta", (bytes(32),) * 2).write()
            s.open("bob", s.forged("alice", body=b"\0\0" + run, length=1024))
            # The forged message took Alice's number: her state follows.
            s.load("alice", ratchet.seal(s.state("alice"), b"forged", forge.zeros)[0])

    scene("late-runs", "Runs for other epochs are passed over.", other_runs, spec="06 §4")

    def bad_key(s, script):
        s.receive(s.write("alice", bytes(797)))
        s.load("bob", replace(s.state("bob"), phase=pq.Waiting(None)))
        ek = b"\xff" * 1184
        # The whole key in one message of 2 KiB.
        blocks = tuple(ek[i : i + 32] for i in range(0, 1184, 32))
        run = pq.Run(pq.KEY, 1, 0, pq.h_ek(ek)[:8], blocks).write()
        s.open("alice", s.write("bob", bytes(797)))
        forged = s.forged("alice", body=u16(797 + 33) + bytes(797 + 33), length=2048)
        script.refuse("R-513", **s.opening("bob", forged[:-1] + bytes([forged[-1] ^ 1])))
        body = u16(600) + bytes(600) + run
        script.refuse("R-703", **s.opening("bob", s.forged("alice", body=body, length=2048)))
        body = u16(798 - 200) + bytes(598) + run
        script.refuse("R-703", **s.opening("bob", s.forged("alice", body=body, length=4096)))
        body = u16(1822) + bytes(1822) + run
        script.refuse("R-602", **s.opening("bob", s.forged("alice", body=body, length=4096)))
        s.open("bob", s.write("alice"))

    scene("r-602", "A key that is none, whole and with its tag.", bad_key, "R-602", spec="06 §7")

    def mixture(s, script):
        """All blocks under one tag, and they are of two keys."""
        s.receive(s.write("alice", bytes(797)))
        s.load("bob", replace(s.state("bob"), phase=pq.Waiting(None)))
        s.open("alice", s.write("bob", bytes(797)))
        one, other = MLKEM768.key(bytes(64)), MLKEM768.key(bytes([1]) * 64)
        mixed = one[:640] + other[640:]
        blocks = tuple(mixed[i : i + 32] for i in range(0, 1184, 32))
        run = pq.Run(pq.KEY, 1, 0, pq.h_ek(one)[:8], blocks).write()
        body = u16(1822) + bytes(1822) + run
        s.open("bob", s.forged("alice", body=body, length=4096))

    scene("mixture", "Blocks of two keys under one tag: the assembly is dropped.", mixture)

    def overwritten(s, script):
        s.receive(s.write("alice", bytes(797)))
        s.load("bob", replace(s.state("bob"), phase=pq.Waiting(None)))
        s.open("alice", s.write("bob", bytes(797)))
        for first, fill in ((0, 1), (2, 2), (0, 3), (35, 4)):
            run = pq.Run(pq.KEY, 1, first, b"tagtagta", (bytes([fill]) * 32,) * 4).write()
            s.open("bob", s.forged("alice", body=b"\0\0" + run, length=1024))
            s.load("alice", ratchet.seal(s.state("alice"), b"forged", forge.zeros)[0])
            script.do(do="state", session="bob")

    def runs_of(kind, data, tag):
        """The whole object as one run, in a body of 4 KiB."""
        blocks = tuple(data[i : i + 32] for i in range(0, len(data), 32))
        return u16(1822) + bytes(1822) + pq.Run(kind, 1, 0, tag, blocks).write()

    def offering(s, script):
        """Bob has Alice's key and has begun to answer; her phase."""
        s.receive(s.write("alice", b""))
        s.open("alice", s.write("bob", bytes(797)))
        return s.state("alice").phase

    def lost_with_key(s, script):
        phase = offering(s, script)
        s.open("bob", s.write("alice", bytes(797)))
        s.load("alice", replace(s.state("alice"), phase=replace(phase, peer_has_key=True)))
        run = pq.Run(pq.KEY, 1, 0, b"tagtagta", (bytes(32),)).write()
        s.open("alice", s.forged("bob", body=b"\0\0" + run, length=1024))

    scene("new-chain-with-a-key", "A peer that begins a chain with blocks of a key has lost ours.",
          lost_with_key)

    def overwritten_ciphertext(s, script):
        phase = offering(s, script)
        assembly = pq.Assembly(b"tagtagta", ((3, b"\3" * 32), (4, b"\4" * 32)))
        for has in (True, False):
            name = f"alice {has}"
            s.load(name, replace(
                s.state("alice"), phase=replace(phase, peer_has_key=has, assembly=assembly)
            ))
            run = pq.Run(pq.CIPHERTEXT, 1, 3, b"tagtagta", (b"\7" * 32,)).write()
            s.open(name, s.forged("bob", body=b"\0\0" + run, length=1024))
            script.do(do="state", session=name)

    scene("known-blocks-of-a-ciphertext", "A run of blocks that are here is added only where the "
          "peer was not known to have the key.", overwritten_ciphertext)

    def false_ciphertext(s, script):
        phase = offering(s, script)
        assembly = pq.Assembly(b"tagtagta", ((0, bytes(32)),))
        s.load("alice", replace(s.state("alice"), phase=replace(phase, assembly=assembly)))
        body = runs_of(pq.CIPHERTEXT, bytes(1088), b"tagtagta")
        s.open("alice", s.forged("bob", body=body, length=4096))

    scene("ciphertext-with-another-hash", "A whole ciphertext whose hash does not fit its tag.",
          false_ciphertext)

    def false_key_while_answering(s, script):
        offering(s, script)
        assert isinstance(s.state("bob").phase, pq.Answering)
        s.open("bob", s.write("alice"))
        body = runs_of(pq.KEY, bytes(1184), b"tagtagta")
        s.open("bob", s.forged("alice", body=body, length=4096))

    scene("false-key-while-answering", "A whole key whose hash does not fit its tag, while a "
          "ciphertext goes out: it still does.", false_key_while_answering)

    scene("blocks-overwritten", "Blocks that are here are overwritten, unless all of a run are.",
          overwritten)


# 07


def _padding(maker) -> None:
    def scene(name, about, play, rule=None, stage="body", spec="07 §3", **options):
        maker.conversation("padding", name, about, [spec],
                           lambda script: play(Scene(script, **options), script), rule,
                           rule and stage)

    def edges(h):
        out = []
        for bucket in BUCKETS:
            most = bucket - h - 97 - 2 - 128
            if most >= 0 and smallest_bucket(most, h) == bucket:
                out.append(min(most, 61_249))
        return sorted({n + d for n in out for d in (0, 1) if n + d <= 61_249})

    def content(n):
        return {"repeat": "63", "count": n}

    def ordinary(s, script):
        s.talk()
        for n in edges(0):
            s.open("bob", s.write("alice", content(n)))

    scene("ordinary", "The largest content of each bucket, and one byte more.", ordinary)

    def first(h):
        def play(s, script):
            for n in edges(h):
                s.receive(s.write("alice", content(n)), session="bob")

        return play

    scene("first-contact-short", "The same beside a short handshake.", first(2428))
    scene("first-contact-long", "The same beside a long handshake.", first(4060), devices=5,
          route=bytes(320))

    def too_long(s, script):
        script.refuse("R-705", do="seal", session="alice", content=content(61_250), envelope="none")
        s.receive(s.write("alice", content(61_249)))

    scene("r-705", "A byte too many.", too_long, "R-705", "make")

    def lengths(s, script):
        s.talk()
        for n in (0, 1, 36, 96, 97, 1023, 1025, 1667, 1669, 4131, 65_537):
            script.refuse("R-701", do="open", session="bob", today=TODAY,
                          bytes={"repeat": "00", "count": n})
        for n in (1024, 1668, 4132, 5764, 65_536, 63_108, 61_476):
            script.refuse("R-501", do="open", session="bob", today=TODAY,
                          bytes={"repeat": "00", "count": n})

    scene("r-701", "Lengths that no ratchet part has, then lengths that one has.", lengths,
          "R-501", "header", spec="07 §1")

    def body(rule, body_, length, then=True):
        def play(s, script):
            s.talk()
            forged = s.forged("alice", body=body_, length=length)
            script.refuse(rule, **s.opening("bob", forged))
            s.open("bob", s.write("alice"))

        return play

    for rule, name, about, body_, length in (
        ("R-702", "one", "Content of one byte more than there is.", u16(926) + bytes(926), 1024),
        ("R-702", "all", "Content of 65,535 bytes.", b"\xff\xff", 1024),
        ("R-703", "large", "No content in 2 KiB.", b"\0\0", 2048),
        ("R-703", "small", "798 bytes in 1 KiB.", u16(798) + bytes(798), 1024),
        ("R-703", "before-r-704", "No content in 2 KiB, and padding that says something.",
         b"\0\0\0\1", 2048),
        ("R-704", "second", "The second byte behind the content.", b"\0\0\0\1", 1024),
        ("R-704", "last", "The last byte.", bytes(926) + b"\1", 1024),
        ("R-704", "behind-run", "The byte behind a run.",
         b"\0\0" + pq.Run(1, 1, 0, bytes(8), (bytes(32),)).write() + b"\1", 1024),
    ):
        scene(f"{rule.lower()}-{name}", about, body(rule, body_, length), rule, spec="07 §4")

    def larger_than_sent(s, script):
        s.talk()
        most = 65_536 - 97 - 2 - 128
        forged = s.forged("alice", body=u16(most) + bytes(most), length=65_536)
        s.open("bob", forged)

    scene("more-than-a-sender-may", "A receiver accepts 65,309 bytes.", larger_than_sent,
          spec="07 §3")


# 10


def _state(maker) -> None:
    """States of conversations that were held here, and what breaks them."""
    from .produce import Script

    script = Script(maker.stream("state", "all"))
    s = Scene(script)
    states = {"initiator": s.state("alice")}
    s.write("alice")
    states["offering"] = s.state("alice")
    s.receive(s.write("alice"))
    states["keyed"] = s.state("bob")
    s.write("bob", bytes(797))
    s.write("bob", bytes(797))
    states["answering"] = s.state("bob")
    s.open("alice", s.write("bob", bytes(797)))
    states["offering-with-assembly"] = s.state("alice")
    for i in range(9):
        one, other = ("alice", "bob") if i % 2 == 0 else ("bob", "alice")
        s.write(one, bytes(300))
        s.open(other, s.write(one, bytes(300)))
        states[f"later-{i}"] = s.state(other)

    def read(name, about, data, rule=None):
        maker.operation("state", name, about, ["10 §1"], "state-read", {"stored": data}, rule,
                        rule and "read")

    for name, session in states.items():
        read(f"read-{name}", "A state, read and written again.", state.write(session))
    base = states["later-8"]
    data = state.write(base)

    def changed(**changes):
        return state.write(replace(base, **changes))

    def patched(at, new):
        return data[:at] + new + data[at + len(new) :]

    assembly = pq.Assembly(b"tagtagta", tuple((i, bytes([i]) * 32) for i in range(36)))
    read("read-full-assembly", "36 of 37 blocks.", changed(phase=pq.Waiting(assembly)))
    read("read-answering-assembly", "In Answering.", changed(
        phase=pq.Answering(bytes(32), bytes(32), bytes(1088), assembly)))
    read("read-odd-fields", "What a reader does not check.", changed(
        cursor=255, role=0, sending_due=True, tag=bytes(8), epoch=77, own=bytes(32)))
    nothing_received = replace(
        states["initiator"], receiving=replace(ratchet.Receiving(), header_key=b"\1" * 32))
    read("read-chain-that-is-none", "Fields of a chain that does not exist need not be zero.",
         state.write(nothing_received))
    read("r-1001", "Version 2.", patched(0, b"\0\2"), "R-1001")
    read("r-1001-alone", "A version, and nothing behind it.", b"\0\0", "R-1001")
    phase_at = 36 + 367
    counts = len(data) - 44 * len(base.skipped) - 2
    positions_at = counts - 16 * len(base.positions) - 2
    old_at = positions_at - 60 * len(base.old_chains) - 2
    for name, about, bad in (
        ("empty", "No byte.", b""),
        ("cut", "One byte less.", data[:-1]),
        ("longer", "One byte more.", data + b"\0"),
        ("role", "A role of 2.", patched(2, b"\2")),
        ("handshake", "A handshake of kind 3.", patched(35, b"\3")),
        ("remote-flag", "A flag of 2.", patched(36 + 76, b"\2")),
        ("remote-key", "A remote key that is not there.", patched(36 + 76, b"\0")),
        ("sending-due", "A flag of 2.", patched(36 + 173, b"\2")),
        ("phase", "Phase 6.", patched(phase_at, b"\6")),
        ("bitmap", "A bit that is none.",
         state.write(replace(base, phase=pq.Waiting(None)))[:phase_at]
         + b"\3\1tagtagta" + u64(1 << 37) + bytes(32) + data[old_at:]),
        ("bitmap-whole", "An assembly that is whole.",
         data[:phase_at] + b"\3\1tagtagta" + u64(2**37 - 1) + bytes(37 * 32) + data[old_at:]),
        ("4000-keys", "As many skipped keys as there may be, and they are not there.",
         data[:counts] + u16(4000)),
        ("keys-at-one-place", "Two skipped keys at one place.",
         patched(counts, u16(2))[: counts + 2] + data[counts + 2 : counts + 46] * 2),
        ("old-serial-0", "An old chain of serial 0.", patched(old_at + 2, u32(0))),
        ("old-serials-fall", "Old chains whose serials do not rise.",
         patched(old_at + 2 + 60, data[old_at + 2 : old_at + 6])),
        ("old-serial-current", "An old chain with the serial of the current one.",
         patched(old_at + 2 + 60 * (len(base.old_chains) - 1), u32(base.receiving.serial))),
        ("position-serial-0", "A position of serial 0.", patched(positions_at + 2, u32(0))),
        ("position-ahead", "A position of a serial that was not reached.",
         patched(positions_at + 2, u32(base.receiving.serial + 1))),
        ("position-number", "A position of the current chain that was not reached.",
         patched(positions_at + 2, u32(base.receiving.serial) + u32(base.receiving.next))),
        ("key-number", "A skipped key of the current chain that was not reached.",
         patched(counts + 2, u32(base.receiving.serial) + u32(base.receiving.next))),
    ):
        read(f"r-1002-{name}", about, bad, "R-1002")
    for name, at in (("old-chains", old_at), ("positions", positions_at), ("skipped-keys", counts)):
        read(f"r-1003-{name}", "A count above its bound.", patched(at, b"\xff\xff"), "R-1003")
    read("r-1003-4001-keys", "A skipped key too many, announced and not there.",
         data[:counts] + u16(4001), "R-1003")
    read("r-1004-remote", "A remote key that is not canonical.",
         patched(36 + 77, P.to_bytes(32, "little")), "R-1004")
    read("r-1004-remote-before-r-1002", "A remote key that is not there, and not canonical.",
         patched(36 + 76, b"\0" + b"\xff" * 32), "R-1004")
    read("r-1004-keyed", "A key that fails the modulus check.",
         changed(phase=pq.Keyed(b"\xff" * 1184)), "R-1004")


def _random(maker) -> None:
    maker.operation("random", "conversations-60", "The hashes over 60 conversations.",
                    ["04", "05", "06", "07", "10"], "random-conversations", {"count": 60})
