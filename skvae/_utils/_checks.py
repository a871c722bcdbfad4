"""Checks of hyper-parameters, with messages in the same words for all classes."""

import math
from numbers import Integral, Real


def is_integer(value):
    """Return whether a value is an integer, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value):
    """Return whether a value is a real number, and not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _name(owner, parameter):
    return f"{type(owner).__name__}({parameter}={getattr(owner, parameter)!r})"


def check_count(owner, parameter, least):
    """Refuse a parameter that is not an integer of at least `least`.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    accepted = f"an integer of at least {least} is accepted."
    if not is_integer(value):
        raise TypeError(f"{_name(owner, parameter)} is not an integer; {accepted}")
    if value < least:
        raise ValueError(f"{_name(owner, parameter)} is too small; {accepted}")


def check_number(owner, parameter, least, most=math.inf, is_open=False):
    """Refuse a parameter that is not a finite number from `least` to `most`.

    With `is_open`, `least` itself is refused.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    bounds = [f"{'above' if is_open else 'of at least'} {least:g}"]
    if most < math.inf:
        bounds.append(f"of at most {most:g}")
    accepted = f"a finite number {' and '.join(bounds)} is accepted."
    if not is_number(value):
        raise TypeError(f"{_name(owner, parameter)} is not a number; {accepted}")
    is_inside = least < value <= most or (value == least and not is_open)
    if not (math.isfinite(value) and is_inside):
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")


def check_counts(owner, parameter, least=1):
    """Refuse a parameter that is not a sequence of at least `least` positive integers.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    accepted = "a tuple of positive integers is accepted"
    accepted += f", {least} or more of them." if least > 1 else "."
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{_name(owner, parameter)} is not a tuple; {accepted}")
    is_sound = len(value) >= least and all(map(is_integer, value))
    if not is_sound or min(value, default=1) < 1:
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")


def check_share(owner, parameter):
    """Refuse a parameter that is not a number in [0, 1).

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    accepted = "a number in [0, 1) is accepted."
    if not is_number(value):
        raise TypeError(f"{_name(owner, parameter)} is not a number; {accepted}")
    if not 0 <= value < 1:
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")


def check_choice(owner, parameter, choices, positive=False):
    """Refuse a parameter that is not one of the names or, if allowed, positive.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    names = ", ".join(repr(name) for name in choices)
    accepted = f"use {names}" + (" or a positive number." if positive else ".")
    if isinstance(value, str):
        if value not in choices:
            raise ValueError(f"{_name(owner, parameter)} is not known; {accepted}")
    elif not positive or not is_number(value):
        raise TypeError(f"{_name(owner, parameter)} is of the wrong kind; {accepted}")
    elif not 0 < value < float("inf"):
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")
