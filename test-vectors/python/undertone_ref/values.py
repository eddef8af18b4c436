"""Values in vectors (test-vectors/README.md, "Values")."""

import hashlib
import json

from .draws import Listed, Stream


def no_duplicates(pairs):
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a member stands twice")
    return out


def load(path) -> dict:
    with open(path, encoding="utf-8") as file:
        return json.load(file, object_pairs_hook=no_duplicates)


def unhex(text: str) -> bytes:
    if text != text.lower() or any(c.isspace() for c in text):
        raise ValueError("hex is lower-case and without spaces")
    return bytes.fromhex(text)


def to_bytes(value) -> bytes:
    """*hex* or *bytes*."""
    if isinstance(value, str):
        return unhex(value)
    if "repeat" in value:
        return unhex(value["repeat"]) * value["count"]
    if "stream" in value:
        return Stream(unhex(value["stream"])).take(value["length"])
    if "concat" in value:
        return b"".join(to_bytes(part) for part in value["concat"])
    raise ValueError(f"no bytes: {value}")


def to_text(value) -> str:
    return value if isinstance(value, str) else to_bytes(value).decode("utf-8")


def to_draws(value) -> Listed:
    return Listed([(draw["name"], unhex(draw["value"])) for draw in value or []])


class Text(str):
    """A result that is text: stands as it is, or as one of the objects."""


def agrees(expected, actual) -> bool:
    """Whether a result is the expected one. Results are bytes, text, numbers,
    booleans, None, lists and objects of them."""
    if isinstance(actual, (bytes, bytearray)):
        if isinstance(expected, dict) and "sha256" in expected:
            return expected == {
                "sha256": hashlib.sha256(actual).hexdigest(),
                "length": len(actual),
            }
        return isinstance(expected, (str, dict)) and to_bytes(expected) == actual
    if isinstance(actual, Text):
        return isinstance(expected, (str, dict)) and to_text(expected) == actual
    if isinstance(actual, dict):
        return (
            isinstance(expected, dict)
            and expected.keys() == actual.keys()
            and all(agrees(expected[name], actual[name]) for name in actual)
        )
    if isinstance(actual, list):
        return (
            isinstance(expected, list)
            and len(expected) == len(actual)
            and all(agrees(e, a) for e, a in zip(expected, actual))
        )
    return type(expected) is type(actual) and expected == actual


def to_json(value):
    """A result as JSON, bytes as hex."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {name: to_json(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return value


def shown(value) -> str:
    """A result in a message, shortened."""
    text = json.dumps(to_json(value))
    return text if len(text) <= 300 else text[:300] + "…"
