"""What a relay is asked, and what chapter 11 says that it answers."""

import time

from . import handshake, identity, links, prekeys, ratchet, wire
from .layout import u32
from .primitives import sha256, sign, sign_public
from .relay_client import EXPORTER, Mailbox, Relay, RelayError, Socket, done, expect, refuses

KIB = 1_024
DAY = 86_400
# The text says that an expiry day is at most 30 days ahead. 33 is refused by it
# whatever the two clocks' difference.
FAR = 33


def _today() -> int:
    return int(time.time()) // DAY


def mailboxes(relay: Relay) -> None:
    """Create, deliver, subscribe, acknowledge."""
    box = Mailbox(relay.draw)
    with relay.control() as sender, relay.control() as owner:
        made = box.create(owner, relay.token)
        floors = (made["acknowledged"], made["expired"], made["head"], made["bytes"])
        expect(floors == (0, 0, 0, 0), f"a new mailbox: {made}")
        again = box.create(owner, relay.token)
        expect(again == made, "to create it again changes nothing")
        again = box.create(owner, relay.draw.take(32), limits={"envelopes": 1, "bytes": 1})
        expect(again == made, "neither limits nor the token are looked at again")
        envelopes = [relay.junk(size) for size in wire.ENVELOPE_SIZES]
        for envelope in envelopes[:4]:
            sender.deliver(box.capability, envelope)
            sender.deliver(box.capability, envelope)
        state = box.subscribe(owner)
        expect(state["head"] == 4, f"what was delivered twice counts once: {state}")
        expect(state["bytes"] == 15 * KIB, f"bytes: {state}")
        for n, envelope in enumerate(envelopes[:4], 1):
            _expect_push(owner, box, state, n, envelope)
        for n, envelope in enumerate(envelopes[4:], 5):
            sender.deliver(box.capability, envelope)
            _expect_push(owner, box, state, n, envelope)
        refuses(9, owner.acknowledge, box.id, state["incarnation"], 8)
        refuses(10, owner.acknowledge, box.id, relay.draw.take(16), 3)
        refuses(11, sender.acknowledge, box.id, state["incarnation"], 3)
        # One of several is refused: the others count all the same, and the first error is told.
        refuses(9, owner.acknowledge_all, [
            (box.id, state["incarnation"], 8), (box.id, state["incarnation"], 5),
            (box.id, relay.draw.take(16), 6),
        ])
        owner.acknowledge(box.id, state["incarnation"], 2)
        owner.acknowledge_all([])
        # Where one was not subscribed to, nothing is acknowledged.
        refuses(11, owner.acknowledge_all, [
            (box.id, state["incarnation"], 7), (relay.draw.take(32), state["incarnation"], 1),
        ])
        state = box.status(owner)
        expect((state["acknowledged"], state["head"]) == (5, 7), f"floors: {state}")
        expect(state["bytes"] == 96 * KIB, f"bytes: {state}")
        # What was pushed and not acknowledged is pushed again.
        with relay.control() as second:
            state = box.subscribe(second)
            _expect_push(second, box, state, 6, envelopes[5])
            _expect_push(second, box, state, 7, envelopes[6])
            ended = {"is": "ended", "mailbox": box.id, "reason": "replaced"}
            expect(owner.push() == ended, "the older subscriber is told")
            box.delete(second)
            ended = {"is": "ended", "mailbox": box.id, "reason": "deleted"}
            expect(second.push() == ended, "the subscriber is told")
        refuses(2, sender.deliver, box.capability, envelopes[0])
        expect(box.status(owner) is None, "a deleted mailbox is absent")
        expect(box.subscribe(owner) is None, "a deleted mailbox is absent")
        refuses(2, box.delete, owner)


def _expect_push(control, box, state, number, envelope) -> None:
    push = control.push()
    expected = {
        "is": "envelope", "mailbox": box.id, "incarnation": state["incarnation"],
        "number": number, "envelope": envelope,
    }
    expect(push == expected, f"push {number} was expected: {push['is']} {push.get('number')}")


def credit_bounds_what_is_pushed(relay: Relay) -> None:
    box = Mailbox(relay.draw)
    with relay.control() as control:
        box.create(control, relay.token)
        for _ in range(5):
            control.deliver(box.capability, relay.junk(KIB))
        refuses(8, box.subscribe, control, 0)
        refuses(8, box.subscribe, control, 1_025)
        state = box.subscribe(control, 2)
        for expected in ((1, 2), (3, 4), (5,)):
            got = tuple(control.push()["number"] for _ in expected)
            expect(got == expected, f"{expected} were expected: {got}")
            # A reply comes before any further push: the credit is used up.
            expect(not control._pushes, "more than the credit was pushed")
            box.status(control)
            expect(not control._pushes, "more than the credit was pushed")
            control.acknowledge(box.id, state["incarnation"], got[-1])


def capabilities_and_limits(relay: Relay) -> None:
    box, other = Mailbox(relay.draw), Mailbox(relay.draw)
    with relay.control() as control:
        box.create(control, relay.token, limits={"envelopes": 2, "bytes": 10 * KIB})
        second = relay.draw.take(32)
        refuses(2, control.deliver, second, relay.junk(KIB))
        hashes = [wire.write_capability_hash(second)]
        own = lambda **o: control.own([box.secret], read_key=box.read_key, **o)  # noqa: E731
        done(own(**{"is": "add-capabilities"}, hashes=hashes))
        control.deliver(second, relay.junk(KIB))
        done(own(**{"is": "revoke-capabilities"}, hashes=hashes))
        refuses(2, control.deliver, second, relay.junk(KIB))
        refuses(6, control.deliver, box.capability, relay.junk(16 * KIB))
        control.deliver(box.capability, relay.junk(KIB))
        refuses(6, control.deliver, box.capability, relay.junk(KIB))
        done(own(**{"is": "set-limits"}, limits={"envelopes": 3, "bytes": 20 * KIB}))
        control.deliver(box.capability, relay.junk(16 * KIB))
        state = box.status(control)
        expect(state["limits"] == {"envelopes": 3, "bytes": 20 * KIB}, f"limits: {state}")
        # Lower limits than what is there remove nothing, and let nothing in.
        done(own(**{"is": "set-limits"}, limits={"envelopes": 0, "bytes": 0}))
        refuses(6, control.deliver, box.capability, relay.junk(KIB))
        expect(box.status(control)["head"] == state["head"], "nothing was removed")
        # A capability of another mailbox is a conflict, and then none is added.
        third, taken = relay.draw.take(32), Mailbox(relay.draw)
        taken.create(control, relay.token)
        hashes = [wire.write_capability_hash(third)] + taken.hashes
        refuses(12, own, **{"is": "add-capabilities"}, hashes=hashes)
        refuses(2, control.deliver, third, relay.junk(KIB))
        done(own(**{"is": "add-capabilities"}, hashes=[]))
        far = {"envelopes": 2**32 - 1, "bytes": 2**64 - 1}
        state = other.create(control, relay.token, limits=far)
        expect(state["limits"]["envelopes"] <= 10_000, f"limits above the relay's: {state}")
        # R-1110, before the capability is looked at.
        for size in (0, 1, KIB - 1, KIB + 1, 3 * KIB):
            refuses(7, control.deliver, box.capability, bytes(size))
            refuses(7, control.deliver, relay.draw.take(32), bytes(size))
        refuses(4, Mailbox(relay.draw).create, control, relay.draw.take(32))


def shares(relay: Relay) -> None:
    """R-1127, with the part of 25 % that a relay has unless told otherwise."""
    box = Mailbox(relay.draw)
    with relay.control() as control:
        state = box.create(control, relay.token, limits={"envelopes": 8, "bytes": 64 * KIB})
        # While there is no other capability, all of it may come with one.
        for _ in range(3):
            control.deliver(box.capability, relay.junk(KIB))
        second = relay.draw.take(32)
        done(control.own([box.secret], **{"is": "add-capabilities"}, read_key=box.read_key,
                         hashes=[wire.write_capability_hash(second)]))
        first = relay.junk(KIB)
        control.deliver(second, first)
        control.deliver(second, relay.junk(KIB))
        refuses(6, control.deliver, second, relay.junk(KIB))
        # What is there already is no more of it.
        control.deliver(second, first)
        # What was acknowledged is no part of it any more.
        box.subscribe(control)
        control.acknowledge(box.id, state["incarnation"], 4)
        control.deliver(second, relay.junk(KIB))
        refuses(6, control.deliver, second, relay.junk(KIB))


def signatures(relay: Relay) -> None:
    box, other = Mailbox(relay.draw), Mailbox(relay.draw)
    with relay.control() as control:
        box.create(control, relay.token)
        both = [box.secret, other.secret]
        keys = [box.read_key, other.read_key]
        state = control.own(both, **{"is": "status"}, read_keys=keys)["states"]
        expect(state[0] is not None and state[1] is None, "one is there, one is absent")
        status = {"is": "status", "read_keys": keys}
        refuses(3, control.own, both[::-1], **status)
        refuses(3, control.own, [box.secret, box.secret], **status)
        refuses(1, control.own, [box.secret], **status)
        refuses(1, control.own, [], **{"is": "status"}, read_keys=[])
        refuses(1, control.own, [box.secret] * 2, **{"is": "status"}, read_keys=[box.read_key] * 2)
        weak = (1).to_bytes(32, "little")
        refuses(3, control.own, [box.secret], **{"is": "status"}, read_keys=[weak])

        def altered(frame_id=0, exporter=EXPORTER, signed_code=None):
            id_ = control.next_id()
            operation = {"is": "status", "read_keys": [box.read_key]}
            body = wire.OWNER_BODY.write({"id": id_ + frame_id, "operation": operation})
            code = wire.operation_code(operation) if signed_code is None else signed_code
            signature = sign(box.secret, wire.signed_message(exporter, code, body))
            request = {"is": "owner", "body": body, "signatures": [signature]}
            control.send_frame(id_, request)
            return control.reply(id_)

        altered()
        refuses(1, altered, frame_id=1)
        refuses(3, altered, exporter=bytes(32))
        refuses(3, altered, signed_code=4)


def depots(relay: Relay) -> None:
    secret, fetch = relay.draw.take(32), relay.draw.take(32)
    base = {"depot_key": sign_public(secret), "depot": wire.depot_id(fetch)}
    one_time = [relay.junk(4 * KIB) for _ in range(3)]
    last = relay.junk(4 * KIB)
    with relay.control() as owner, relay.control() as taker:

        def fill(mode, bundles, last_resort, expiry=_today() + 20, key=secret, token=relay.token):
            named = base | {"depot_key": sign_public(key)}
            return owner.own(
                [key], **{"is": "fill-depot"}, **named, token=token, mode=mode, bundles=bundles,
                last_resort=last_resort, expiry=expiry,
            )

        def take(id_=None):
            answer = taker.ask(**{"is": "take"}, fetch_capability=fetch,
                               take_id=id_ or relay.draw.take(16))
            return answer["prekey"]

        refuses(2, take)
        refuses(7, fill, "add", [bytes(4_095)], None)
        refuses(7, fill, "add", [], bytes(4_000))
        refuses(8, fill, "add", one_time, None, expiry=_today() + FAR)
        refuses(8, fill, "add", one_time, None, expiry=_today() - 1)
        refuses(4, fill, "add", one_time, None, token=relay.draw.take(32))
        refuses(4, fill, "add", one_time, None, token=bytes(32))
        state = fill("add", [], None, expiry=_today() + 30)
        expect((state["left"], state["last_resort"]) == (0, False), f"with nothing: {state}")
        expect(state["expiry"] == _today() + 30, f"the expiry day: {state}")
        state = fill("add", one_time[:1] + one_time[:2], last)
        expect(state["expiry"] == _today() + 20, f"the expiry day of the last filling: {state}")
        expect((state["left"], state["last_resort"]) == (2, True), f"filled: {state}")
        state = fill("add", one_time, None)
        expect((state["left"], state["last_resort"]) == (3, True), f"not added twice: {state}")
        refuses(2, fill, "add", one_time, None, key=relay.draw.take(32))
        first = relay.draw.take(16)
        expected = {"is": "one-time", "bundle": one_time[0]}
        expect(take(first) == expected, "the first bundle")
        expect(take(first) == expected, "the same take gets the same bundle")
        for bundle in one_time[1:]:
            expect(take() == {"is": "one-time", "bundle": bundle}, "the next bundle")
        for _ in range(2):
            expect(take() == {"is": "last-resort", "bundle": last}, "the last-resort bundle")
        state = owner.own([secret], **{"is": "depot-status"}, **base)
        expect((state["left"], state["last_resort"]) == (0, True), f"status: {state}")
        state = fill("replace", [relay.junk(4 * KIB)], None)
        expect((state["left"], state["last_resort"]) == (1, False), f"replaced: {state}")
        take()
        expect(take() == {"is": "used-up"}, "used up")
        stranger = relay.draw.take(32)
        named = base | {"depot_key": sign_public(stranger)}
        refuses(2, owner.own, [stranger], **{"is": "depot-status"}, **named)
        refuses(2, owner.own, [stranger], **{"is": "delete-depot"}, **named)
        done(owner.own([secret], **{"is": "delete-depot"}, **base))
        refuses(2, take)


def tickets(relay: Relay) -> None:
    boxes = [Mailbox(relay.draw) for _ in range(3)]
    session = relay.draw.take(32)
    with relay.control() as control:
        for box in boxes:
            box.create(control, relay.token)
        for box in boxes[:2]:
            box.subscribe(control)

        def ask(named):
            return control.ask(**{"is": "ticket"}, session_key=sign_public(session),
                               mailboxes=[box.id for box in named])

        # R-1119, and R-1116 before it.
        refuses(11, ask, boxes)
        refuses(1, ask, [boxes[2], boxes[2]])
        refuses(1, ask, [])
        refuses(1, ask, [boxes[0], boxes[0]])
        made = ask(boxes[:2])
        expect(0 < made["seconds"] <= DAY, f"a ticket for {made['seconds']} seconds")
    with relay.control() as control:

        def resume(ticket=made["ticket"], secret=session, credit=9, exporter=EXPORTER, other=0):
            id_ = control.next_id()
            request = wire.resume_request(exporter, id_ + other, credit, ticket, secret)
            control.send_frame(id_, request)
            return control.reply(id_)

        refuses(3, resume, secret=relay.draw.take(32))
        refuses(3, resume, exporter=bytes(32))
        refuses(1, resume, other=1)
        refuses(8, resume, credit=0)
        # R-1117
        refuses(22, resume, ticket=b"")
        refuses(22, resume, ticket=made["ticket"][:-1] + bytes([made["ticket"][-1] ^ 1]))
        boxes[1].delete(control)
        states = resume()["states"]
        expect(states[0] is not None and states[1] is None, "a deleted mailbox is absent")
        envelope = relay.junk(KIB)
        control.deliver(boxes[0].capability, envelope)
        _expect_push(control, boxes[0], states[0], 1, envelope)
        control.acknowledge(boxes[0].id, states[0]["incarnation"], 1)
        refuses(11, control.ask, **{"is": "ticket"}, session_key=sign_public(session),
                mailboxes=[boxes[0].id])


def padding(relay: Relay) -> None:
    box = Mailbox(relay.draw)

    def frame(zeros: bytes) -> bytes:
        request = {"is": "padding", "zeros": zeros}
        return wire.write_frame(wire.CLIENT_FRAME, {"id": 0, "request": request})

    with relay.control() as control:
        box.create(control, relay.token)
        expect(control.padded == 0, "a client that does not pad is not padded for")
    with relay.control() as control:
        for _ in range(3):
            id_ = control.next_id()
            operation = {"is": "status", "read_keys": [box.read_key]}
            request = wire.owner_request(EXPORTER, id_, operation, [box.secret])
            data = wire.write_frame(wire.CLIENT_FRAME, {"id": id_, "request": request})
            data = wire.write_message(data)
            # In one write: the relay pads from the first padding that it has seen.
            control.send(data + wire.padding(control.sent + len(data), frame))
            expect(control.sent % wire.RECORD == 0, "the records that were sent")
            control.reply(id_)
        while control.received % wire.RECORD:
            control._frame()
        expect(control.padded >= 1, "the relay pads for who pads")
    with relay.control() as control:
        control.send(wire.write_message(frame(b"\0\1\0")))
        expect(control.at_end(), "padding that is not zero is no frame")


def blobs(relay: Relay) -> None:
    blob, id_ = relay.junk(150_000), relay.draw.take(32)
    read, delete = relay.draw.take(32), relay.draw.take(32)
    put = {
        "is": "put", "blob": id_, "token": relay.token, "read_hash": wire.blob_read_hash(read),
        "delete_hash": wire.blob_delete_hash(delete), "length": len(blob), "sha256": sha256(blob),
        "expiry": _today() + 5,
    }

    def begin(request):
        stream = relay.blob()
        stream.send(wire.write_message(wire.write_frame(wire.BLOB_REQUEST, request)))
        return stream

    def answer(stream):
        reply = wire.read_frame(wire.BLOB_REPLY, stream.message("blob"))
        if reply["is"] == "refused":
            raise RelayError(reply["code"])
        return reply

    def asked(request):
        with begin(request) as stream:
            return answer(stream)

    def upload(request, data):
        """All that the relay does not have yet."""
        with begin(request) as stream:
            offset = answer(stream)["offset"]
            stream.send(data[offset:])
            stream.finish()
            return offset, answer(stream)

    get = {"is": "get", "blob": id_, "read_capability": read, "offset": 0}
    refuses(4, asked, put | {"token": relay.draw.take(32)})
    refuses(14, asked, put | {"length": 0})
    refuses(14, asked, put | {"length": 2**50})
    refuses(8, asked, put | {"expiry": _today() + FAR})
    with begin(put) as stream:
        expect(answer(stream) == {"is": "ready", "offset": 0}, "nothing is there")
        stream.send(blob[:70_000])
        stream.finish()
        refuses(15, answer, stream)
    refuses(15, asked, get)
    refuses(12, asked, put | {"length": len(blob) + 1})
    offset, reply = upload(put, blob)
    expect(0 <= offset <= 70_000 and reply == {"is": "stored"}, f"resumed at {offset}")
    for at in (0, 1, 65_536, len(blob)):
        with begin(get | {"offset": at}) as stream:
            content = {"is": "content", "length": len(blob), "sha256": sha256(blob)}
            expect(answer(stream) == content, "what is announced")
            expect(stream.take(len(blob) - at) == blob[at:], "the bytes from the offset")
            expect(stream.at_end(), "nothing behind them")
    refuses(13, asked, get | {"offset": len(blob) + 1})
    refuses(2, asked, get | {"read_capability": relay.draw.take(32)})
    refuses(2, asked, get | {"blob": relay.draw.take(32)})
    with relay.control() as control:
        deletion = {"is": "delete-blob", "blob": id_}
        refuses(2, control.ask, **deletion, delete_capability=read)
        done(control.ask(**deletion, delete_capability=delete))
        refuses(2, asked, get)
    # Bytes that are not those that were announced.
    other = put | {"blob": relay.draw.take(32)}
    refuses(13, upload, other, bytes(len(blob)))
    offset, reply = upload(other, blob)
    expect((offset, reply) == (0, {"is": "stored"}), "the next upload begins at 0")


def what_is_no_frame(relay: Relay) -> None:
    """R-1101 to R-1104, R-1106, R-1107: the connection is closed."""
    def closed(data: bytes, kind: bytes = b"") -> bool:
        with relay.control() as control:
            control.send(kind + data)
            return control.at_end()

    take = wire.write_frame(wire.CLIENT_FRAME, {
        "id": 300, "request": {"is": "take", "fetch_capability": bytes(32), "take_id": bytes(16)},
    })
    with relay.control() as control:
        control.send(wire.write_message(take))
        refuses(2, control.reply, 300)
    for about, data in (
        ("R-1101, 0", u32(0)),
        ("R-1101, too long", u32(262_145)),
        ("R-1102, something behind", wire.write_message(take + b"\0")),
        ("R-1102, cut", wire.write_message(take[:-1])),
        ("R-1102, no request", wire.write_message(b"\x05\x63" + bytes(48))),
        ("R-1103, overlong", wire.write_message(b"\xac\x82\x00" + take[2:])),
        ("R-1106, a count", wire.write_message(b"\x05\x03\x81\x02" + bytes(9_000))),
        ("R-1107, a take of 1,000 bytes", u32(1_000) + take),
    ):
        expect(closed(data), f"{about}: the connection is not closed")
    with relay.blob() as stream:
        stream.send(u32(1_025))
        expect(stream.at_end(), "R-1101 on a blob stream")
    for kind in (b"\x00", b"\x03", b"\xff"):
        with Socket(relay.address, kind) as stream:
            expect(stream.at_end(), "R-1104")


def model(relay: Relay) -> None:
    """Random operations on a mailbox, and what a mailbox is by the text (R-1206)."""
    box, take = Mailbox(relay.draw), relay.draw.take
    with relay.control() as control, relay.control() as sender:
        state = box.create(control, relay.token)
        queue, head, floor, recent = [], 0, 0, []
        for _ in range(150):
            choice = take(1)[0] % 10
            if choice < 5:
                envelope = relay.junk(KIB)
                if recent and take(1)[0] % 4 == 0:
                    envelope = recent[take(1)[0] % len(recent)]
                sender.deliver(box.capability, envelope)
                if envelope not in recent[-64:]:
                    head += 1
                    queue.append((head, envelope))
                    recent.append(envelope)
            elif choice < 7:
                with relay.control() as reader:
                    state = box.subscribe(reader, 1_024)
                    for number, envelope in queue:
                        _expect_push(reader, box, state, number, envelope)
                    to = floor + take(1)[0] % (head - floor + 2)
                    if to > head:
                        refuses(9, reader.acknowledge, box.id, state["incarnation"], to)
                    else:
                        reader.acknowledge(box.id, state["incarnation"], to)
                        floor = max(floor, to)
                        queue = [entry for entry in queue if entry[0] > floor]
            else:
                state = box.status(control)
                got = (state["acknowledged"], state["head"], state["bytes"])
                expect(got == (floor, head, len(queue) * KIB), f"{got}, {floor} {head}")


def first_contact(relay: Relay) -> None:
    """A whole conversation: bundle, depot, link, handshake, answer."""
    draw, day = relay.draw, _today()
    address = links.Address(b"relay.example.org", 4433, bytes(32))

    def person():
        device = identity.Device(draw.take(32), draw.take(32))
        return device, identity.issue_list(draw.take(32), [device.keys], 1_700_000_000, None)

    (alice, alice_list), (bob, bob_list) = person(), person()
    secret, owner = draw.take(32), draw.take(32)
    keys = prekeys.LinkKeys.of(secret)
    first_box, alice_box = Mailbox(draw), Mailbox(draw)
    with relay.control() as bobs, relay.control() as alices, relay.control() as others:
        first_box.create(bobs, relay.token)
        alice_box.create(alices, relay.token)
        route = links.Route(address, first_box.capability).write()
        bundle, private = prekeys.make_bundle(bob, bob_list, prekeys.ONE_TIME, day + 30, route, draw)
        bobs.own(
            [owner], **{"is": "fill-depot"}, depot_key=sign_public(owner),
            depot=wire.depot_id(keys.fetch_capability), token=relay.token, mode="add",
            bundles=[prekeys.seal_bundle(keys.card_key, bundle, draw)], last_resort=None,
            expiry=day + 30,
        )
        link = links.Link(1, secret, identity.fingerprint(bob_list.account), address)
        read = links.read_link(link.text())
        taken = others.ask(**{"is": "take"}, fetch_capability=keys.fetch_capability,
                           take_id=draw.take(16))["prekey"]
        opened = prekeys.Bundle.open(keys.card_key, taken["bundle"], read.fingerprint, day, None)
        answer_to = links.Route(address, alice_box.capability).write()
        session = handshake.initiate(alice, alice_list, answer_to, keys, opened, draw)
        session, envelope = ratchet.seal(session, b"hello", draw)
        others.deliver(links.Route.read(opened.route).write_capability, envelope)

        state = first_box.subscribe(bobs)
        arrived = bobs.push()["envelope"]
        greeting = handshake.Greeting.open(keys.hello_key, arrived)
        accepted = handshake.accept(greeting, bob, private, keys, day, set(), lambda _: None)
        expect(accepted.content == b"hello", "another content")
        bobs.acknowledge(first_box.id, state["incarnation"], 1)
        _, reply = ratchet.seal(accepted.session, b"hello yourself", draw)
        others.deliver(links.Route.read(accepted.identity.route).write_capability, reply)
        alice_box.subscribe(alices)
        session, content = ratchet.open_part(session, alices.push()["envelope"], day)
        expect(content == b"hello yourself", "another content")
        expect(session.handshake == b"", "the handshake is sent no more")


SCENARIOS = [
    mailboxes, credit_bounds_what_is_pushed, capabilities_and_limits, shares, signatures, depots,
    tickets, padding, blobs, what_is_no_frame, model, first_contact,
]
