"""Checks of hyper-parameters, with messages in the same words for all classes."""

import math
from difflib import get_close_matches
from numbers import Integral, Real

# what names of this package are called elsewhere
_SYNONYMS = {"normal": "gaussian", "swish": "silu", "cnn": "conv", "gpu": "cuda"}


def suggest(value, names):
    """Return " (did you mean 'gaussian'?)" for the nearest of some names, or nothing.

    It goes behind a value that is none of them.
    """
    if not isinstance(value, str):
        return ""
    known = {name.lower(): name for name in names if isinstance(name, str)}
    near = value.lower().replace("-", "_").replace(" ", "_")
    found = [_SYNONYMS.get(near)]
    if found[0] not in known:
        found = get_close_matches(near, known, 1)
    return f" (did you mean {known[found[0]]!r}?)" if found else ""


def is_integer(value):
    """Return whether a value is an integer, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value):
    """Return whether a value is a real number, and not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _check(
    owner, parameter, is_kind, kind, is_inside, accepted, reason="is out of range"
):
    """Raise a TypeError for another kind of value, a ValueError for one outside."""
    value = getattr(owner, parameter)
    name = f"{type(owner).__name__}({parameter}={value!r})"
    if not is_kind(value):
        raise TypeError(f"{name} is not {kind}; {accepted}")
    if not is_inside(value):
        raise ValueError(f"{name} {reason}; {accepted}")


def check_count(owner, parameter, least):
    """Refuse a parameter that is not an integer of at least `least`."""
    accepted = f"an integer of at least {least} is accepted."
    _check(owner, parameter, is_integer, "an integer", lambda v: v >= least, accepted)


def check_number(owner, parameter, least, most=math.inf, is_open=False):
    """Refuse a parameter that is not a finite number from `least` to `most`.

    With `is_open`, `least` itself is refused.
    """

    def is_inside(value):
        is_above = value > least if is_open else value >= least
        return is_above and value <= most and math.isfinite(value)

    bounds = f"{'above' if is_open else 'of at least'} {least:g}"
    if most < math.inf:
        bounds += f" and of at most {most:g}"
    accepted = f"a finite number {bounds} is accepted."
    _check(owner, parameter, is_number, "a number", is_inside, accepted)


def check_counts(owner, parameter, least=1):
    """Refuse a parameter that is not a tuple of `least` or more positive integers."""

    def is_tuple(value):
        return isinstance(value, (tuple, list))

    def is_inside(value):
        is_count = all(is_integer(count) and count >= 1 for count in value)
        return len(value) >= least and is_count

    more = f", {least} or more of them." if least > 1 else "."
    accepted = f"a tuple of positive integers is accepted{more}"
    _check(owner, parameter, is_tuple, "a tuple", is_inside, accepted)


def check_share(owner, parameter):
    """Refuse a parameter that is not a number in [0, 1)."""
    accepted = "a number in [0, 1) is accepted."
    _check(owner, parameter, is_number, "a number", lambda v: 0 <= v < 1, accepted)


def check_choice(owner, parameter, choices, positive=False):
    """Refuse a parameter that is not one of the names or, if allowed, positive."""

    def is_kind(value):
        return isinstance(value, str) or (positive and is_number(value))

    def is_inside(value):
        if isinstance(value, str):
            return value in choices
        return 0 < value < math.inf

    names = ", ".join(repr(name) for name in choices)
    accepted = f"use {names}" + (" or a positive number." if positive else ".")
    kind = "a name or a number" if positive else "a name"
    value = getattr(owner, parameter)
    reason = "is out of range"
    if isinstance(value, str):
        reason = "is not known" + suggest(value, choices)
    _check(owner, parameter, is_kind, kind, is_inside, accepted, reason)
