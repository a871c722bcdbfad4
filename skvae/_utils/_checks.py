"""Checks of members' hyper-parameters, worded alike."""

import math
from numbers import Integral, Real


def _name(owner, parameter):
    return f"{type(owner).__name__}({parameter}={getattr(owner, parameter)!r})"


def check_count(owner, parameter, least):
    """Refuse what is not an integer of at least `least`.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    accepted = f"an integer of at least {least} is accepted."
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{_name(owner, parameter)} is no integer; {accepted}")
    if value < least:
        raise ValueError(f"{_name(owner, parameter)} is too small; {accepted}")


def check_number(owner, parameter, least, most=math.inf, is_open=False):
    """Refuse what is not a finite number from least, or if open above it, to most.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    bounds = [f"{'above' if is_open else 'of at least'} {least:g}"]
    if most < math.inf:
        bounds.append(f"of at most {most:g}")
    accepted = f"a finite number {' and '.join(bounds)} is accepted."
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{_name(owner, parameter)} is no number; {accepted}")
    is_inside = least < value <= most or (value == least and not is_open)
    if not (math.isfinite(value) and is_inside):
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")


def check_counts(owner, parameter, least=1):
    """Refuse what is not a sequence of positive integers, at least so many.

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    accepted = "a tuple of positive integers is accepted"
    accepted += f", {least} or more of them." if least > 1 else "."
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{_name(owner, parameter)} is no tuple; {accepted}")
    is_count = [isinstance(v, Integral) and not isinstance(v, bool) for v in value]
    if len(value) < least or not all(is_count) or min(value, default=1) < 1:
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")


def check_share(owner, parameter):
    """Refuse what is not a number in [0, 1).

    Raises
    ------
    TypeError, ValueError
    """
    value = getattr(owner, parameter)
    accepted = "a number in [0, 1) is accepted."
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{_name(owner, parameter)} is no number; {accepted}")
    if not 0 <= value < 1:
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")


def check_choice(owner, parameter, choices, positive=False):
    """Refuse what is neither one of the names nor, if allowed, a positive number.

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
    elif not positive or isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{_name(owner, parameter)} is of the wrong kind; {accepted}")
    elif not 0 < value < float("inf"):
        raise ValueError(f"{_name(owner, parameter)} is out of range; {accepted}")
