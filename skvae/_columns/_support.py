"""What values a likelihood accepts, and the refusal of all others.

A new set of values is one constant here, or a `Support` in the file of its likelihood.
numpy only: values are checked before they become tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._utils._missing import list_chunks
from ._checks import capitalize, label_column
from ._sparse import SparseRows

# least value of white in images: that of four bits
_DARKEST_WHITE = 15
# cells looked at together where columns have levels
_MANY_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Support:
    """The values that a likelihood accepts: an interval of numbers, or of integers.

    Parameters
    ----------
    words : str
        The accepted values, for messages.
    low, high : float or ndarray (n_features,), default=-inf, inf
        Ends of the interval, for all columns or for each.
    is_open : bool, default=False
        Whether the ends themselves are refused.
    is_integer : bool, default=False
        Whether numbers between the integers are refused.
    alternatives : tuple of str, default=()
        Names of likelihoods, from 'continuous_bernoulli', 'poisson', 'log_normal' and
        'hurdle_log_normal', that messages recommend for a column if they accept all of
        its values.
    levels : list of ndarray or None, default=None
        The numbers that each column accepts, sorted; None where the interval says it.
    max_levels : float, default=inf
        Largest number of values of a column.
    accepts_sparse : bool, default=False
        Whether X may be sparse: 0 is accepted, and the link does not centre columns.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.likelihoods import Support
    >>> grades = Support("integers from 1 to 6", low=1, high=6, is_integer=True)
    >>> grades.find_outside(np.array([1.0, 2.5, 7.0, np.nan]))
    array([False,  True,  True, False])
    """

    words: str
    low: float | np.ndarray = -np.inf
    high: float | np.ndarray = np.inf
    is_open: bool = False
    is_integer: bool = False
    alternatives: tuple = ()
    levels: list | None = None
    max_levels: float = np.inf
    accepts_sparse: bool = False

    def find_outside(self, x: Any) -> Any:
        """Return a mask of the values that are refused; missing ones are not.

        Parameters
        ----------
        x : ndarray of float (..., n_features)
            Missing values are NaN.

        Returns
        -------
        ndarray of bool (..., n_features)
            True where a value is refused.
        """
        if self.is_open:
            is_outside = (x <= self.low) | (x >= self.high)
        else:
            is_outside = (x < self.low) | (x > self.high)
        if self.is_integer:
            is_outside |= (x != np.floor(x)) & ~np.isnan(x)
        for column, levels in enumerate(self.levels or ()):
            if has_gaps(levels):
                values = x[..., column]
                is_outside[..., column] |= ~np.isin(values, levels) & ~np.isnan(values)
        return is_outside


def has_gaps(levels):
    """Return whether sorted codes are others than 0, 1, 2, ..."""
    return len(levels) <= levels[-1]


REALS = Support("finite numbers")
POSITIVE_REALS = Support(
    "positive numbers",
    low=0,
    is_open=True,
    alternatives=("poisson", "hurdle_log_normal"),
)
NON_NEGATIVE_REALS = Support("non-negative numbers", low=0)
UNIT_INTERVAL = Support("values in [0, 1]", low=0, high=1)
OPEN_UNIT_INTERVAL = Support(
    "values in (0, 1)", 0, 1, is_open=True, alternatives=("continuous_bernoulli",)
)
BINARY = Support(
    "0 and 1",
    low=0,
    high=1,
    is_integer=True,
    alternatives=("continuous_bernoulli", "poisson"),
    accepts_sparse=True,
)
# beyond, products of counts leave single precision, in which training runs
COUNTS = Support(
    "non-negative integers up to 1e+30",
    low=0,
    high=1e30,
    is_integer=True,
    alternatives=("log_normal", "hurdle_log_normal"),
    accepts_sparse=True,
)
# a test compares them with those of the likelihoods
ALTERNATIVES = {
    "continuous_bernoulli": UNIT_INTERVAL,
    "poisson": COUNTS,
    "log_normal": POSITIVE_REALS,
    "hurdle_log_normal": NON_NEGATIVE_REALS,
}


def check_support(likelihood, array, names, columns):
    """Refuse values outside the support of the likelihood of their column.

    The likelihood is a `PerColumn` of the chosen `columns`, a slice or a mask of all.
    The array ``(n, n_features)`` has NaN for missing values. The ValueError names
    column and value.
    """
    chosen = np.arange(array.shape[1])[columns]
    if isinstance(array, SparseRows):
        _check_sparse_support(likelihood, array, names, chosen)
        return
    groups = [
        (member, chosen[numbers])
        for member, numbers in likelihood.list_groups()
        if member.support is not REALS
    ]
    for member, numbers in groups:
        if np.size(member.support.high) not in (1, len(numbers)):
            raise ValueError(
                f"{member} has {np.size(member.support.high)} entries, but X has "
                f"{len(numbers)} columns."
            )
        if member.support.max_levels < np.inf:
            _check_number_of_levels(member, array, numbers, names)
    # levels are looked for a column at a time, which takes more rows to be fast
    has_levels = any(member.support.levels is not None for member, _ in groups)
    size = {"n_values": _MANY_VALUES} if has_levels else {}
    for rows in list_chunks(array, **size) if groups else ():
        for member, numbers in groups:
            values = array[rows][:, numbers].astype(np.float64, copy=False)
            is_outside = member.support.find_outside(values)
            if is_outside.any():
                row, position = np.argwhere(is_outside)[0]
                label = label_column(numbers[position], names)
                column = array[:, numbers[position]].astype(np.float64)
                whole = array[:, numbers]
                _refuse(member, label, values[row, position], column, whole)


def _check_sparse_support(likelihood, array, names, chosen):
    """Do the same for rows whose cells are 0, which is accepted, but for a few."""
    for member, numbers in likelihood.list_groups():
        columns, find_outside = chosen[numbers], member.support.find_outside
        values = array.list_values(columns)
        if find_outside(values.astype(np.float64)).any():

            def is_outside(data, find=find_outside):
                return find(data.astype(np.float64))

            row, column = array.find_cell(is_outside, columns)
            label, cells = label_column(column, names), array[:, column]
            _refuse(member, label, cells[row], cells.astype(np.float64), values)


def _find_white(columns):
    """Return the value of white in columns of grey values, 0 if they are none."""
    low, high = np.nanmin(columns), np.nanmax(columns)
    if low < 0 or not _DARKEST_WHITE <= high <= 256:
        return 0
    return 16 if high <= 16 else 255 if high <= 255 else 256


def _check_number_of_levels(likelihood, array, numbers, names):
    """Refuse columns with more values than a likelihood of levels accepts."""
    for number in numbers:
        n_levels, most = len(np.unique(array[:, number])), likelihood.support.max_levels
        if n_levels > most:
            name = type(likelihood).__name__
            raise ValueError(
                f"{capitalize(label_column(number, names))} has {n_levels} different "
                f"values, but likelihood={name} accepts at most {most} without "
                "n_categories; make levels categories, with astype('category'), or use "
                "a likelihood of numbers."
            )


def _refuse(likelihood, label, value, column, whole):
    """Raise for a value, and recommend a likelihood that accepts the whole column.

    `whole` are all columns of the likelihood.
    """
    support, advice = likelihood.support, ""
    for name in support.alternatives:
        other = ALTERNATIVES[name]
        if not other.find_outside(column).any():
            advice = f"; for {other.words} use likelihood={name!r}"
            break
    if likelihood.support is BINARY and _find_white(whole):
        advice += (
            f"; for grey values divide X by {_find_white(whole)} and use "
            "likelihood='continuous_bernoulli'"
        )
    raise ValueError(
        f"{capitalize(label)} has the value {value:g}, but "
        f"likelihood={type(likelihood).__name__} accepts {support.words}{advice}."
    )
