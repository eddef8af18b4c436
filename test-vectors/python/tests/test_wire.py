import unittest

from .common import refused, stream

from undertone_ref import wire
from undertone_ref.links import Address
from undertone_ref.primitives import sign_public


class Frames(unittest.TestCase):
    def test_example(self):
        frame = {
            "id": 5,
            "request": {"is": "take", "fetch_capability": b"\1" * 32, "take_id": b"\2" * 16},
        }
        data = b"\x05\x02" + b"\1" * 32 + b"\2" * 16
        self.assertEqual(wire.write_frame(wire.CLIENT_FRAME, frame), data)
        self.assertEqual(wire.read_frame(wire.CLIENT_FRAME, data), frame)

    def frames(self):
        b16, b32 = bytes(range(16)), bytes(range(32))
        limits = {"envelopes": 2**32 - 1, "bytes": 2**64 - 1}
        client = [
            {"is": "owner", "body": b"body", "signatures": [bytes(64)]},
            {"is": "deliver", "write_capability": b32, "envelope": bytes(1024)},
            {"is": "acknowledge", "floors": [{"mailbox": b32, "incarnation": b16, "floor": 300}]},
            {"is": "delete-blob", "blob": b32, "delete_capability": b32},
        ]
        owner = [
            {"is": "create-mailbox", "read_key": b32, "token": b32, "kind": "queue",
             "limits": None, "hashes": [b32, b32]},
            {"is": "set-limits", "read_key": b32, "limits": limits},
            {"is": "subscribe", "read_keys": [b32], "credit": 128},
            {"is": "fill-depot", "depot_key": b32, "depot": b32, "token": b32, "mode": "replace",
             "bundles": [bytes(4096)], "last_resort": bytes(4096), "expiry": 20_000},
            {"is": "delete-depot", "depot_key": b32, "depot": b32},
        ]
        state = {"incarnation": b16, "acknowledged": 1, "expired": 2, "head": 3, "bytes": 4,
                 "limits": limits}
        responses = [
            {"is": "done"},
            {"is": "mailboxes", "states": [None, state]},
            {"is": "prekey", "prekey": {"is": "used-up"}},
            {"is": "depot", "left": 7, "last_resort": True, "expiry": 9, "incarnation": b16},
        ]
        for request in client:
            yield wire.CLIENT_FRAME, {"id": 2**64 - 1, "request": request}
        for operation in owner:
            yield wire.OWNER_BODY, {"id": 0, "operation": operation}
        for response in responses:
            outcome = {"is": "response", "response": response}
            yield wire.SERVER_FRAME, {"is": "reply", "id": 1, "outcome": outcome}
        yield wire.SERVER_FRAME, {
            "is": "push", "push": {"is": "ended", "mailbox": b32, "reason": "deleted"},
        }
        yield wire.BLOB_REPLY, {"is": "refused", "code": 65_535}

    def test_round_trips_and_every_cut(self):
        for kind, frame in self.frames():
            data = wire.write_frame(kind, frame)
            self.assertEqual(wire.read_frame(kind, data), frame)
            with refused(self, "R-1102"):
                wire.read_frame(kind, data + b"\0")
            for n in range(0, len(data), max(1, len(data) // 50)):
                with self.assertRaises(wire.Refused) as caught:
                    wire.read_frame(kind, data[:n])
                self.assertIn(caught.exception.rule, ("R-1102", "R-1106"))

    def test_refusals(self):
        for rule, kind, data in (
            ("R-1103", wire.CLIENT_FRAME, b"\x85\x00\x02" + bytes(48)),
            ("R-1102", wire.CLIENT_FRAME, b"\x05\x05" + bytes(48)),
            ("R-1106", wire.CLIENT_FRAME, b"\x05\x03\x81\x02"),
            ("R-1106", wire.CLIENT_FRAME, b"\x05\x01" + bytes(32) + b"\x81\x80\x04"),
            ("R-1106", wire.CLIENT_FRAME, b"\x05\x01" + bytes(32) + b"\x05abcd"),
            ("R-1103", wire.SERVER_FRAME, b"\0\0\0\x03\0\x02\0" + bytes(16)),
            ("R-1103", wire.CLIENT_FRAME, b"\xff" * 9 + b"\x02"),
        ):
            with self.subTest(data=data[:8]), refused(self, rule):
                wire.read_frame(kind, data)
        for length in (0, 262_145):
            with refused(self, "R-1101"):
                wire.check_length(length, "control")
        wire.check_length(1_024, "blob")
        with refused(self, "R-1101"):
            wire.check_length(1_025, "blob")


class Bounds(unittest.TestCase):
    def test_r_1107(self):
        longest = b"\xff" * 9 + b"\1"
        for kind, head, most in (
            (wire.CLIENT_FRAME, b"\x05\x02", 2 + 32 + 16),
            (wire.CLIENT_FRAME, b"\xac\x02\x02", 3 + 32 + 16),
            (wire.CLIENT_FRAME, longest + b"\x01", 11 + 32 + 10 + 65_536),
            (wire.CLIENT_FRAME, b"\x05\x00", 262_144),
            (wire.SERVER_FRAME, b"\x00\x05", 262_144),
            (wire.SERVER_FRAME, b"\x01\x00", 2 + 32 + 16 + 10 + 10 + 65_536),
        ):
            wire.check_bound(kind, head, most)
            with refused(self, "R-1107"):
                wire.check_bound(kind, head, most + 1)
        for kind, head in (
            (wire.CLIENT_FRAME, b"\x05\x63"), (wire.CLIENT_FRAME, b"\x05"),
            (wire.CLIENT_FRAME, b""), (wire.CLIENT_FRAME, b"\xff" * 11),
            (wire.SERVER_FRAME, b"\x03"),
        ):
            with refused(self, "R-1107"):
                wire.check_bound(kind, head, 1)

    def test_padding(self):
        def frame(zeros):
            request = {"is": "padding", "zeros": zeros}
            return wire.write_frame(wire.CLIENT_FRAME, {"id": 0, "request": request})

        for written in (0, 1, 1_000, 1_140, 1_151, 1_152, 5_000):
            message = wire.padding(written, frame)
            self.assertEqual((written + len(message)) % wire.RECORD, 0)
            read = wire.read_frame(wire.CLIENT_FRAME, message[4:])
            self.assertEqual(set(read["request"]["zeros"]) - {0}, set())
        with refused(self, "R-1108"):
            wire.read_frame(wire.CLIENT_FRAME, frame(b"\0\1"))

    def test_resume(self):
        secret = b"\x06" * 32
        request = wire.resume_request(b"\3" * 32, 7, 9, b"ticket", secret)
        args = sign_public(secret), request["body"], request["signature"]
        self.assertEqual(wire.check_resume(b"\3" * 32, 7, *args), 9)
        with refused(self, "R-1112"):
            wire.check_resume(b"\3" * 32, 8, *args)
        with refused(self, "R-1118"):
            wire.check_resume(b"\4" * 32, 7, *args)


class Owners(unittest.TestCase):
    def test_signatures(self):
        draw, exporter = stream("owners"), b"\3" * 32
        secrets = [draw.take(32) for _ in range(3)]
        operation = {"is": "status", "read_keys": [sign_public(s) for s in secrets]}
        request = wire.owner_request(exporter, 9, operation, secrets)
        self.assertEqual(wire.check_owner_request(exporter, 9, request), operation)
        with refused(self, "R-1112"):
            wire.check_owner_request(exporter, 8, request)
        with refused(self, "R-1114"):
            wire.check_owner_request(b"\4" * 32, 9, request)
        fewer = request | {"signatures": request["signatures"][:2]}
        with refused(self, "R-1113"):
            wire.check_owner_request(exporter, 9, fewer)
        turned = request | {"signatures": request["signatures"][::-1]}
        with refused(self, "R-1114"):
            wire.check_owner_request(exporter, 9, turned)
        twice = operation | {"read_keys": [operation["read_keys"][0]] * 2}
        request = wire.owner_request(exporter, 9, twice, [secrets[0]] * 2)
        with refused(self, "R-1116"):
            wire.check_owner_request(exporter, 9, request)
        nobody = wire.owner_request(exporter, 9, {"is": "status", "read_keys": []}, [])
        with refused(self, "R-1113"):
            wire.check_owner_request(exporter, 9, nobody)

    def test_sizes(self):
        for rule, check, good, bad in (
            ("R-1110", wire.check_envelope_size, (1_024, 65_536), (0, 1_025, 3_072, 131_072)),
            ("R-1111", wire.check_bundle_size, (4_096,), (0, 4_095, 4_097)),
            ("R-1115", wire.check_credit, (1, 1_024), (0, 1_025)),
            ("R-1104", wire.check_stream_kind, (1, 2), (0, 3)),
        ):
            for number in good:
                check(number)
            for number in bad:
                with refused(self, rule):
                    check(number)


class Addresses(unittest.TestCase):
    def test_round_trips_and_every_cut(self):
        for host in (b"relay.example.org", b"192.0.2.1", b"2001:db8::1"):
            for token in (None, b"\5" * 32):
                address = wire.TextAddress(Address(host, 4433, b"\7" * 32), token)
                text = address.write()
                self.assertEqual(wire.TextAddress.read(text), address)
                self.assertEqual(len(text.rpartition(":")[2]), 48 if token is None else 91)
                for n in range(len(text)):
                    with self.assertRaises(wire.Refused):
                        wire.TextAddress.read(text[:n])

    def test_refusals(self):
        text = wire.TextAddress(Address(b"relay.example.org", 4433, b"\7" * 32), None).write()
        for rule, bad in (
            ("R-1130", text.replace("relay", "Relay")),
            ("R-1130", text.replace(":4433", ":04433")),
            ("R-1130", text.replace(":4433", ":0")),
            ("R-1130", text.replace(":4433", ":65536")),
            ("R-1131", text.replace(":4433", ":4434")),
            ("R-1131", text + "A"),
            ("R-1131", text[:-1]),
        ):
            with self.subTest(bad=bad), refused(self, rule):
                wire.TextAddress.read(bad)


if __name__ == "__main__":
    unittest.main()
