"""Kinds of column: how each is coded as a float, and what comes back of one.

A new kind is one class here and a line in `_reading.py`, which says what it is told by.
"""

import math
import re
from numbers import Real

import numpy as np

from ._containers import (
    factorize,
    get_declared,
    make_column,
    take_levels,
    to_floats,
)


class Kind:
    """One kind of column.

    Parameters
    ----------
    dtype : dtype of numpy, pandas or polars, default=None
        Of the column at fit, and of what comes back.

    Attributes
    ----------
    name : str
    likelihood : str
        What `likelihood="auto"` is for such columns; 'auto' where evidence decides.
    levels : list or None
        Of categories: what the codes 0, 1, ... stand for.
    is_whole : bool
        Whether what comes back is rounded.
    """

    name = "column"
    likelihood = "auto"
    levels = None
    is_whole = False

    def __init__(self, dtype=None):
        self.dtype = dtype

    def __repr__(self):
        return f"{type(self).__name__}({self.dtype})"

    @classmethod
    def learn(cls, column):
        """Return the kind of a column, with all it has to remember."""
        return cls(column.dtype)

    @property
    def n_levels(self):
        """Number of levels, or None."""
        return None if self.levels is None else len(self.levels)

    def accepts(self, other):
        """Return whether a column of another kind (a class) can be coded as this."""
        return not issubclass(other, Category)

    def code(self, column):
        """Return a column as float64, NaN where missing, and the levels not known."""
        return to_floats(column), []

    def encode(self, column):
        """Return a column as float64 ``(n,)``, NaN where missing or not known."""
        return self.code(column)[0]

    def decode(self, values):
        """Return floats ``(n,)`` as a column of the dtype at fit."""
        return make_column(values, self.dtype, np.isnan(values))

    def code_value(self, value, label):
        """Return the code of one value.

        Parameters
        ----------
        value : object
        label : str
            What messages call the column.

        Raises
        ------
        ValueError
            If the column cannot have it.
        """
        if not isinstance(value, (Real, np.bool_)) or not math.isfinite(value):
            raise ValueError(
                f"{label} cannot be {value!r}; a finite number is accepted."
            )
        return float(value)


class Number(Kind):
    """Floats."""

    name = "number"


class Integer(Kind):
    """Whole numbers: rounded on the way out, and cut to the range of their type."""

    name = "integer"
    is_whole = True

    def code_value(self, value, label):
        """Return one value as a float; see `Kind.code_value`."""
        found = super().code_value(value, label)
        if not found.is_integer():
            raise ValueError(f"{label} cannot be {value!r}; an integer is accepted.")
        return found

    def decode(self, values):
        """Return floats ``(n,)`` as a column of the dtype at fit."""
        missing = np.isnan(values)
        whole = as_integers(np.where(missing, 0.0, values), self.dtype)
        return make_column(whole, self.dtype, missing)


class Boolean(Kind):
    """False and True, as 0 and 1."""

    name = "boolean"
    likelihood = "bernoulli"

    def code_value(self, value, label):
        """Return one value as 0 or 1; see `Kind.code_value`."""
        if value not in (0, 1):
            raise ValueError(
                f"{label} cannot be {value!r}; True and False are accepted."
            )
        return float(value)

    def decode(self, values):
        """Return floats ``(n,)`` as a column of the dtype at fit."""
        return make_column(values >= 0.5, self.dtype, np.isnan(values))


class Category(Kind):
    """Levels without an order: categories, strings.

    Levels are the declared categories in their order, or the strings that occur,
    sorted. Numbers written as strings are levels too.
    """

    name = "category"
    likelihood = "categorical"

    def __init__(self, dtype=None, levels=()):
        super().__init__(dtype)
        self.levels = list(levels)

    def __repr__(self):
        return f"{type(self).__name__}({self.dtype}, {self.n_levels} levels)"

    @classmethod
    def learn(cls, column):
        """Return the kind of a column, with all it has to remember."""
        levels = get_declared(column.dtype)
        return cls(
            column.dtype, sorted(factorize(column)[1]) if levels is None else levels
        )

    def accepts(self, other):
        """Return whether a column of another kind (a class) can be coded as this."""
        if issubclass(other, Category):
            return True
        # numbers whose type had been declared category
        return all(isinstance(level, (int, float, np.number)) for level in self.levels)

    def code(self, column):
        """Return a column as float64, NaN where missing, and the levels not known."""
        codes, given = factorize(column)
        known = {level: code for code, level in enumerate(self.levels)}
        # the last one is that of -1
        values = np.array([known.get(level, np.nan) for level in given] + [np.nan])
        found = values[codes]
        lost = np.unique(codes[np.isnan(found) & (codes >= 0)])
        return found, [given[i] for i in lost]

    def code_value(self, value, label):
        """Return the code of one level.

        Parameters
        ----------
        value : object
        label : str
            What messages call the column.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        if value not in self.levels:
            shown = ", ".join(repr(level) for level in self.levels[:5])
            more = ", ..." if self.n_levels > 5 else ""
            raise ValueError(
                f"{label} cannot be {value!r}; its levels are {shown}{more}."
            )
        return float(self.levels.index(value))

    def decode(self, values):
        """Return codes ``(n,)``, rounded, as a column of the dtype at fit."""
        whole = np.clip(np.rint(values), 0, max(self.n_levels - 1, 0))
        codes = np.where(np.isnan(values), -1, whole).astype(np.int64)
        return take_levels(self.levels, codes, self.dtype)


class OrderedCategory(Category):
    """Levels in an order that means something: pandas' ordered categories."""

    name = "ordered category"


def as_integers(values, dtype):
    """Return floats as integers, rounded and within the range of a dtype.

    Parameters
    ----------
    values : ndarray
        No NaN.
    dtype : dtype of numpy, pandas or polars
        Of 64 bits where it does not say.
    """
    found = re.search(r"(u?)int(\d+)", str(dtype).lower())
    sign, bits = found.groups() if found else ("", "64")
    limits = np.iinfo(f"{sign}int{min(int(bits), 64)}")
    low, high = float(limits.min), float(limits.max)
    if limits.bits == 64:
        # the largest float that is one: 2^63 itself is not
        high = np.nextafter(high, 0)
    return np.clip(np.rint(values), low, high).astype(limits.dtype)
