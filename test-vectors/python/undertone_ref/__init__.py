"""Undertone, version 1, written from protocol-spec/ alone.

One module for each chapter. Names are those of the text; a rule that refuses
something is the exception ``Refused("R-nnn", ...)``. Randomness (``draw``) and
time (``today``) are arguments everywhere. States are values: a function that
changes one returns the new state and leaves the one it was given as it was, so
that what fails changes nothing.

This package exists to test the specification. It wipes nothing, it is not
constant in time, and it must not carry anybody's messages.
"""
