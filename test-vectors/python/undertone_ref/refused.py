"""Rejection: the rule's number is the error's code."""

from contextlib import contextmanager


class Refused(Exception):
    """Input that a numbered rule of the specification refuses."""

    def __init__(self, rule: str, text: str = ""):
        super().__init__(f"{rule}: {text}" if text else rule)
        self.rule = rule
        self.text = text


@contextmanager
def reported_as(rule: str):
    """Report any rule broken inside as ``rule``.

    Chapters name a rule of their own for a key or a signature that breaks one
    of chapter 01, for example R-353 for R-101.
    """
    try:
        yield
    except Refused as inner:
        raise Refused(rule, str(inner)) from inner


def need(condition: bool, rule: str, text: str = "") -> None:
    """Refuse by ``rule`` unless the condition holds."""
    if not condition:
        raise Refused(rule, text)
