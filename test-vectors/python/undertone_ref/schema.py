"""The part of JSON Schema (2020-12) that the vectors' schema uses."""

import re

_NOTES = {"$schema", "$id", "$comment", "$defs", "title", "description"}
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


class SchemaError(Exception):
    pass


def _is_type(value, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])


def _equal(a, b) -> bool:
    return type(a) is type(b) and a == b


class Schema:
    def __init__(self, root: dict):
        self.root = root

    def errors(self, value) -> list[str]:
        return self._check(self.root, value, "$")

    def _resolve(self, ref: str):
        if not ref.startswith("#"):
            raise SchemaError(f"unknown reference {ref}")
        node = self.root
        for name in ref[1:].strip("/").split("/") if ref != "#" else []:
            node = node[name.replace("~1", "/").replace("~0", "~")]
        return node

    def _check(self, schema, value, at: str) -> list[str]:
        if isinstance(schema, bool):
            return [] if schema else [f"{at}: nothing is allowed here"]
        errors = []
        for keyword, argument in schema.items():
            if keyword in _NOTES:
                continue
            check = getattr(self, "_" + keyword.lstrip("$"), None)
            if check is None:
                raise SchemaError(f"unknown keyword {keyword}")
            errors += check(argument, value, at, schema)
        return errors

    def _ref(self, argument, value, at, _):
        return self._check(self._resolve(argument), value, at)

    def _type(self, argument, value, at, _):
        names = argument if isinstance(argument, list) else [argument]
        return [] if any(_is_type(value, n) for n in names) else [f"{at}: not {argument}"]

    def _const(self, argument, value, at, _):
        return [] if _equal(argument, value) else [f"{at}: not {argument!r}"]

    def _enum(self, argument, value, at, _):
        return [] if any(_equal(a, value) for a in argument) else [f"{at}: none of {argument}"]

    def _pattern(self, argument, value, at, _):
        bad = isinstance(value, str) and not re.search(argument, value)
        return [f"{at}: does not match {argument}"] if bad else []

    def _properties(self, argument, value, at, _):
        if not isinstance(value, dict):
            return []
        return [
            error
            for name, schema in argument.items()
            if name in value
            for error in self._check(schema, value[name], f"{at}.{name}")
        ]

    def _required(self, argument, value, at, _):
        if not isinstance(value, dict):
            return []
        return [f"{at}: {name} is missing" for name in argument if name not in value]

    def _additionalProperties(self, argument, value, at, schema):
        if not isinstance(value, dict):
            return []
        known = schema.get("properties", {})
        return [
            error
            for name in value
            if name not in known
            for error in self._check(argument, value[name], f"{at}.{name}")
        ]

    def _items(self, argument, value, at, _):
        if not isinstance(value, list):
            return []
        return [
            error
            for i, item in enumerate(value)
            for error in self._check(argument, item, f"{at}[{i}]")
        ]

    def _minItems(self, argument, value, at, _):
        bad = isinstance(value, list) and len(value) < argument
        return [f"{at}: too few items"] if bad else []

    def _maxItems(self, argument, value, at, _):
        bad = isinstance(value, list) and len(value) > argument
        return [f"{at}: too many items"] if bad else []

    def _minimum(self, argument, value, at, _):
        bad = _is_type(value, "number") and value < argument
        return [f"{at}: below {argument}"] if bad else []

    def _maximum(self, argument, value, at, _):
        bad = _is_type(value, "number") and value > argument
        return [f"{at}: above {argument}"] if bad else []

    def _anyOf(self, argument, value, at, _):
        tried = [self._check(schema, value, at) for schema in argument]
        return [] if any(not errors for errors in tried) else _nearest(at, tried)

    def _oneOf(self, argument, value, at, _):
        tried = [self._check(schema, value, at) for schema in argument]
        fitting = sum(not errors for errors in tried)
        if fitting > 1:
            return [f"{at}: fits {fitting} of {len(tried)}"]
        return [] if fitting else _nearest(at, tried)


def _nearest(at: str, tried: list[list[str]]) -> list[str]:
    """The errors of the alternative that fits best, by their number."""
    return [f"{at}: fits none of {len(tried)}"] + min(tried, key=len, default=[])
