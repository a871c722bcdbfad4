"""Kinds of column: how each is coded as floats, and decoded.

A new kind is one class here, and one line in `_reading.py` with the dtypes that it is
recognised by.
"""

import math
import re
from decimal import Decimal
from numbers import Real

import numpy as np
from typing_extensions import override

from ._containers import (
    factorize,
    find_scale,
    get_declared_levels,
    get_precision,
    make_column,
    make_decimals,
    name_dtype,
    take_levels,
    to_floats,
    to_objects,
)


class Kind:
    """One kind of column, of a dtype of numpy, pandas or polars at fit."""

    name = "column"
    # default of such columns; 'auto' leaves the choice to the data
    likelihood = "auto"
    # values of a category with the codes 0, 1, ..., a list
    levels = None
    # whether decoded values are rounded
    is_integer = False
    # number of decimals that decoded values have; None decodes to floats
    scale = None
    # whether codes are other than the numbers of the column
    is_coded = False
    # whether observed cells have digits that their codes lack
    keeps_cells = False

    def __init__(self, dtype=None):
        self.dtype = dtype

    def __repr__(self):
        levels = "" if self.levels is None else f", {self.n_levels} levels"
        return f"{type(self).__name__}({self.dtype}{levels})"

    @classmethod
    def learn(cls, column):
        """Return the kind of a column, with its dtype and levels."""
        return cls(column.dtype)

    @property
    def n_levels(self):
        """Number of levels, or None."""
        return None if self.levels is None else len(self.levels)

    def accepts(self, other):
        """Return whether a column of another kind (a class) can be coded like this."""
        return other in (Boolean, Integer, Number)

    def find_conflict(self, dtype):
        """Return how a dtype of this kind differs from that at fit, or None.

        It is the end of a sentence about the column, with the way out.
        """
        return None

    def to_codes(self, column):
        """Return a column as floats, and the levels that it did not have at fit.

        Floats ``(n,)`` are NaN where a value is missing or its level is unknown.
        """
        return to_floats(column), []

    def from_codes(self, codes, cells=None):
        """Return floats ``(n,)`` as a column of the dtype at fit.

        Of kinds that keep cells, `cells` is None or a column of the same rows, whose
        observed values are returned as they are.
        """
        return make_column(codes, self.dtype, np.isnan(codes))

    def find_lost(self, codes, column):
        """Return which observed values the dtype at fit cannot hold, ``(n,)`` bool.

        `column` has the values of the `codes`. Floats of less precision hold a float.
        """
        return np.abs(codes) > np.finfo(get_precision(self.dtype)).max

    def code_value(self, value, label):
        """Return the code of one value.

        Raise a ValueError if the column, called `label`, cannot have this value.
        """
        code = _to_float(value)
        if not math.isfinite(code) or (self.is_integer and not code.is_integer()):
            accepted = "an integer" if self.is_integer else "a finite number"
            raise ValueError(f"{label} cannot be {value!r}; {accepted} is accepted.")
        with np.errstate(all="ignore"):
            held = to_floats(self.from_codes(np.array([code])))[0]
        if self.is_integer:
            is_held = held == code == value
        else:
            # as many digits as the dtype has
            width = 2 * float(np.finfo(get_precision(self.dtype)).eps) * abs(code)
            is_held = abs(held - code) <= width
        if not is_held:
            self._refuse_value(value, label)
        return code

    def _refuse_value(self, value, label):
        raise ValueError(
            f"{label} cannot be {value!r}, which {self.describe_dtype()} cannot hold; "
            "convert the column before fit."
        )

    def describe_dtype(self):
        """Return the dtype for messages, such as 'its dtype int8'."""
        return f"its dtype {self.dtype}"


class Number(Kind):
    """Floats, and decimals of Python, Arrow or polars, which have a scale."""

    name = "number"

    def __init__(self, dtype=None, scale=None):
        super().__init__(dtype)
        self.scale = scale

    @classmethod
    @override
    def learn(cls, column):
        return cls(column.dtype, find_scale(column))

    @property
    @override
    def keeps_cells(self):
        return self.scale is not None

    @override
    def describe_dtype(self):
        if self.dtype == object and self.scale is not None:
            return f"a column with {self.scale} decimals"
        return super().describe_dtype()

    @override
    def from_codes(self, codes, cells=None):
        if self.scale is None:
            return super().from_codes(codes)
        exact = None if cells is None else to_objects(cells)
        return make_decimals(codes, self.dtype, self.scale, exact)

    @override
    def find_lost(self, codes, column):
        if self.scale is None:
            return super().find_lost(codes, column)
        held = to_objects(self.from_codes(codes, column))
        both = zip(held, to_objects(column), strict=True)
        # without a code, a cell is missing
        return np.array([isinstance(v, Decimal) and _differ(v, c) for v, c in both])


class Integer(Kind):
    """Integers: decoded values are rounded, and clipped to the range of their dtype."""

    name = "integer"
    is_integer = True

    @override
    def from_codes(self, codes, cells=None):
        missing = np.isnan(codes)
        integers = as_integers(np.where(missing, 0.0, codes), self.dtype)
        return make_column(integers, self.dtype, missing)

    @override
    def find_lost(self, codes, column):
        known = np.where(np.isnan(codes), 0.0, codes)
        return as_integers(known, self.dtype) != known

    @override
    def describe_dtype(self):
        # objects hold anything
        is_object = self.dtype == object
        return "a column of integers" if is_object else super().describe_dtype()


class Boolean(Kind):
    """False and True, as 0 and 1."""

    name = "boolean"
    likelihood = "bernoulli"

    @override
    def code_value(self, value, label):
        if value not in (0, 1):
            raise ValueError(
                f"{label} cannot be {value!r}; True and False are accepted."
            )
        return float(value)

    @override
    def from_codes(self, codes, cells=None):
        return make_column(codes >= 0.5, self.dtype, np.isnan(codes))

    @override
    def find_lost(self, codes, column):
        return ~np.isin(codes, (0, 1)) & ~np.isnan(codes)

    @override
    def describe_dtype(self):
        return "a column of booleans"


class Category(Kind):
    """Categories and strings: levels without an order.

    Levels are the declared categories in their order, or the strings that occur,
    sorted. Numbers written as strings are strings.
    """

    name = "category"
    likelihood = "categorical"
    is_coded = True

    def __init__(self, dtype=None, levels=()):
        super().__init__(dtype)
        self.levels = list(levels)

    @classmethod
    @override
    def learn(cls, column):
        levels = get_declared_levels(column)
        return cls(
            column.dtype, sorted(factorize(column)[1]) if levels is None else levels
        )

    @override
    def accepts(self, other):
        if issubclass(other, Category):
            return True
        # numbers that were declared as categories at fit
        is_number = other in (Boolean, Integer, Number)
        numbers = (int, float, np.number)
        return is_number and all(isinstance(level, numbers) for level in self.levels)

    @override
    def to_codes(self, column):
        positions, given = factorize(column)
        known = {level: code for code, level in enumerate(self.levels)}
        # position -1, of missing values, takes the last one
        code_of = np.array([known.get(level, np.nan) for level in given] + [np.nan])
        codes = code_of[positions]
        unknown = np.unique(positions[np.isnan(codes) & (positions >= 0)])
        return codes, [given[i] for i in unknown]

    @override
    def code_value(self, value, label):
        if value not in self.levels:
            shown = ", ".join(repr(level) for level in self.levels[:5])
            more = ", ..." if self.n_levels > 5 else ""
            raise ValueError(
                f"{label} cannot be {value!r}; its levels are {shown}{more}."
            )
        return float(self.levels.index(value))

    @override
    def from_codes(self, codes, cells=None):
        nearest = np.clip(np.rint(codes), 0, max(self.n_levels - 1, 0))
        nearest = np.where(np.isnan(codes), -1, nearest).astype(np.int64)
        return take_levels(self.levels, nearest, self.dtype)

    @override
    def find_lost(self, codes, column):
        # other levels have no code
        return np.zeros(len(codes), dtype=bool)


class OrderedCategory(Category):
    """Ordered categories of pandas or Arrow: levels with a meaningful order."""

    name = "ordered category"


def _differ(decimal, value):
    """Return whether a decimal is another number than a value, decimal or float."""
    return (decimal if isinstance(value, Decimal) else float(decimal)) != value


def _to_float(value):
    """Return a number of any type as a float; other values as NaN."""
    if not isinstance(value, (Real, Decimal, np.bool_)):
        return math.nan
    try:
        return float(value)
    except (OverflowError, ValueError):
        # a long integer, or a NaN of Decimal that signals
        return math.nan


def as_integers(values, dtype):
    """Return floats without NaN as integers, rounded and within the range of a dtype.

    The name of the dtype has the number of bits; without it, there are 64.
    """
    found = re.search(r"(u?)int(\d+)", name_dtype(dtype))
    sign, bits = found.groups() if found else ("", "64")
    limits = np.iinfo(f"{sign}int{min(int(bits), 64)}")
    low, high = float(limits.min), float(limits.max)
    if limits.bits == 64:
        # 2^63 is not an int64: take the next smaller float
        high = np.nextafter(high, 0)
    return np.clip(np.rint(values), low, high).astype(limits.dtype)
