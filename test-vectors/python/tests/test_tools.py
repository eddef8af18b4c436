import io
import json
import sys
import unittest
from contextlib import redirect_stdout
from unittest import mock

from .common import Talk  # noqa: F401  (sets the path)

from undertone_ref import live, pq, ratchet
from undertone_ref.draws import DrawError, Listed, Stream
from undertone_ref.pipe import Pipe
from undertone_ref.schema import Schema, SchemaError
from undertone_ref.values import Text, agrees, to_bytes


class Values(unittest.TestCase):
    def test_bytes(self):
        seed = "00" * 32
        self.assertEqual(to_bytes({"repeat": "6162", "count": 2}), b"abab")
        self.assertEqual(to_bytes({"concat": ["00", {"stream": seed, "length": 33}]}),
                         b"\0" + Stream(bytes(32)).take(33))
        for bad in ("A0", "0", "0 0", "zz"):
            with self.assertRaises(ValueError):
                to_bytes(bad)

    def test_agreement_is_strict(self):
        self.assertTrue(agrees({"a": "00", "b": [1]}, {"a": b"\0", "b": [1]}))
        for expected, got in (
            ("01", b"\0"), ({"a": 1}, {}), ({}, {"a": 1}), ([1, 2], [1]), (1, True), (True, 1),
            ("61", Text("61 ")), (None, b""),
            ({"sha256": "00" * 32, "length": 1}, b"\0"),
        ):
            self.assertFalse(agrees(expected, got), (expected, got))

    def test_draws(self):
        draw = Listed([("a", b"12"), (None, b"3")])
        with self.assertRaises(DrawError):
            Listed([("a", b"12")])("b", 2)
        self.assertEqual((draw("a", 2), draw("x", 1)), (b"12", b"3"))
        draw.end()
        with self.assertRaises(DrawError):
            draw("a", 1)
        with self.assertRaises(DrawError):
            Listed([("a", b"")]).end()


class Schemas(unittest.TestCase):
    def test_each_keyword_can_fail(self):
        for schema, good, bad in (
            ({"type": "integer"}, 1, True),
            ({"type": ["null", "string"]}, None, 1),
            ({"const": 1}, 1, 2),
            ({"enum": ["a"]}, "a", "b"),
            ({"pattern": "^[0-9]*$"}, "12", "1a"),
            ({"properties": {"a": {"const": 1}}}, {"a": 1}, {"a": 2}),
            ({"required": ["a"]}, {"a": 2}, {}),
            ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
            ({"items": {"const": 1}}, [1, 1], [1, 2]),
            ({"minItems": 1}, [1], []),
            ({"maxItems": 1}, [1], [1, 2]),
            ({"minimum": 1}, 1, 0),
            ({"maximum": 1}, 1, 2),
            ({"anyOf": [{"const": 1}, {"const": 2}]}, 2, 3),
            ({"oneOf": [{"minimum": 1}, {"const": 2}]}, 1, 2),
            ({"$ref": "#/$defs/x", "$defs": {"x": {"const": 1}}}, 1, 2),
        ):
            self.assertEqual(Schema(schema).errors(good), [], schema)
            self.assertNotEqual(Schema(schema).errors(bad), [], schema)

    def test_an_unknown_keyword_is_no_schema(self):
        with self.assertRaises(SchemaError):
            Schema({"minLength": 1}).errors("a")


class OnePipe:
    """`live`'s other program, in this process."""

    def __init__(self, _command=None):
        self.pipe = Pipe()

    def do(self, **step):
        answer = self.pipe.answer(json.dumps(step))
        if answer["ok"]:
            return answer
        if "refused" in answer:
            raise live.Refused(answer["refused"])
        raise live.Difference(answer["error"])

    def end(self):
        pass


class Live(unittest.TestCase):
    def _run(self, operations=40):
        arguments = ["live", "--seeds", "1", "--operations", str(operations), "self"]
        out = io.StringIO()
        with mock.patch.object(sys, "argv", arguments), mock.patch.object(live, "Other", OnePipe):
            with redirect_stdout(out):
                return live.main(), out.getvalue()

    def test_with_itself(self):
        code, text = self._run()
        self.assertEqual(code, 0, text)

    def test_a_difference_is_found(self):
        """The other side, and it alone, has another idea of one thing."""
        true_seal = ratchet.seal
        for change in (
            mock.patch.object(ratchet, "chain_constants", lambda *_: bytes(16)),
            mock.patch.object(pq, "h_ek", lambda ek: bytes(32)),
            mock.patch.object(
                ratchet, "seal", lambda s, c, d, t=None: true_seal(s, c + b"\0", d, t)
            ),
        ):
            def answer(pipe, line, change=change):
                with change:
                    return Pipe.answer(pipe, line)

            with mock.patch.object(OnePipe, "do", _with(answer)):
                code, text = self._run(150)
            self.assertEqual(code, 1, text)


def _with(answer):
    def do(self, **step):
        got = answer(self.pipe, json.dumps(step))
        if got["ok"]:
            return got
        if "refused" in got:
            raise live.Refused(got["refused"])
        raise live.Difference(got["error"])

    return do


if __name__ == "__main__":
    unittest.main()
