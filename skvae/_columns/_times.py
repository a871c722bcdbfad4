"""Datetimes and durations: kinds of column whose codes count from the earliest value.

Values are arrays of numpy here, of datetime64 in UTC or of timedelta64.
"""

import math

import numpy as np
from typing_extensions import override

from ._checks import capitalize
from ._containers import is_polars_dtype, name_dtype
from ._kinds import Number

# units of codes in nanoseconds, the longest first
_UNITS = {
    "D": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
# from here on double precision cannot tell integers apart
_MAX_CODE = 2**53
_INTEGERS = np.iinfo(np.int64)


class Time(Number):
    """Datetimes, coded by their distance from the earliest one at fit.

    The unit of the codes is the longest one, from days to nanoseconds, that all values
    at fit are multiples of: days for dates. Codes of such values are integers.

    Parameters
    ----------
    dtype : dtype
        That of the column.
    origin : int
        The earliest value, in `count_unit` since 1970 (or 0).
    count_unit, unit : str
        In which values at fit are stored, and that of the codes: 'D', 'h', ..., 'ns'.
    """

    name = "datetime"
    is_coded = True
    keeps_cells = True
    # of numpy's dtypes
    letter = "M"

    def __init__(self, dtype=None, origin=0, count_unit="ns", unit="ns"):
        super().__init__(dtype)
        self.origin, self.count_unit, self.unit = origin, count_unit, unit

    @classmethod
    @override
    def learn(cls, column):
        values = to_times(column)
        count_unit, _ = np.datetime_data(values.dtype)
        counts = values[~np.isnat(values)].astype(np.int64)
        if not len(counts):
            return cls(column.dtype, 0, count_unit, count_unit)
        # since 1970, so that whole days begin at midnight
        divisor = int(np.gcd.reduce(counts)) * _UNITS[count_unit]
        found = (name for name, length in _UNITS.items() if divisor % length == 0)
        return cls(column.dtype, int(counts.min()), count_unit, next(found))

    @property
    def _step(self):
        return _UNITS[self.unit] // _UNITS[self.count_unit]

    @property
    def _counted(self):
        """The type of numpy that holds the times, as they are stored."""
        return np.dtype(f"{self.letter}8[{self.count_unit}]")

    @override
    def accepts(self, other):
        return other is type(self)

    @override
    def find_conflict(self, dtype):
        known, zone = zone_of(self.dtype), zone_of(dtype)
        if (known is None) == (zone is None):
            return None
        name = None if known is None else str(known)
        ways = f"dt.tz_localize({name!r})"
        if is_polars_dtype(dtype):
            ways = f"dt.replace_time_zone({name!r})"
        elif hasattr(dtype, "pyarrow_dtype"):
            other = "local_timestamp" if known is None else "assume_timezone"
            ways += f" of pandas, or {other} of pyarrow.compute"
        return (
            f"had {_describe_zone(known)} at fit and has {_describe_zone(zone)} now, "
            f"which would shift its times; convert it with {ways}."
        )

    @override
    def to_codes(self, column):
        return self._to_codes(to_times(column)), []

    def _to_codes(self, values):
        counts = values.astype(self._counted).astype(np.int64)
        missing = np.isnat(values)
        counts[missing] = self.origin
        whole, rest = np.divmod(counts, self._step)
        first, first_rest = divmod(self.origin, self._step)
        # integers wrap around where the difference is too large for them
        about = whole.astype(np.float64) - first
        exact = np.where(np.abs(about) < 2 * _MAX_CODE, whole - first, about)
        codes = exact + (rest - first_rest) / self._step
        codes[missing] = np.nan
        return codes

    def check_exact(self, codes, label):
        """Refuse codes that double precision cannot tell apart."""
        if np.nanmax(np.abs(codes), initial=0.0) >= _MAX_CODE:
            raise ValueError(
                f"{capitalize(label)} has values that are 2^53 {self.unit} or more "
                "apart, too many for double precision. Round it first, for example "
                "with column.dt.round('ms')."
            )

    @override
    def from_codes(self, codes, cells=None):
        missing = np.isnan(codes)
        codes = np.where(missing, 0.0, codes)
        whole = np.floor(codes)
        step, rest = self._step, np.rint((codes - whole) * self._step)
        # within a day of the ends of 64 bits
        room = _UNITS["D"] // _UNITS[self.count_unit] + 1
        low = math.ceil((_INTEGERS.min + room - self.origin) / step)
        high = math.floor((_INTEGERS.max - room - self.origin) / step)
        whole = np.clip(whole, low, high).astype(np.int64)
        counts = self.origin + whole * step + rest.astype(np.int64)
        values = counts.view(self._counted)
        values[missing] = "NaT"
        if cells is not None:
            given = to_times(cells).astype(self._counted)
            values = np.where(np.isnat(given), values, given)
        return from_times(values, self.dtype)

    @override
    def find_lost(self, codes, column):
        return self._find_changed(to_times(column)) & ~np.isnan(codes)

    def _find_changed(self, values):
        return values.astype(self._counted).astype(values.dtype) != values

    @override
    def code_value(self, value, label):
        import pandas as pd

        kind = pd.Timestamp if self.letter == "M" else pd.Timedelta
        try:
            found = kind(value)
        except (ValueError, TypeError):
            found = pd.NaT
        if isinstance(value, (int, float)) or found is pd.NaT:
            raise ValueError(f"{label} cannot be {value!r}; a {self.name} is accepted.")
        if getattr(found, "tzinfo", None) is not None:
            if zone_of(self.dtype) is None:
                raise ValueError(
                    f"{label} cannot be {value!r}, because it had no time zone at fit; "
                    "leave out the zone of the value."
                )
            found = found.tz_convert("UTC").tz_localize(None)
        elif zone_of(self.dtype) is not None:
            found = found.tz_localize(zone_of(self.dtype)).tz_convert("UTC")
            found = found.tz_localize(None)
        values = np.array([found.to_numpy()])
        if self._find_changed(values).any():
            self._refuse_value(value, label)
        return float(self._to_codes(values)[0])


class Duration(Time):
    """Durations, coded by their distance from the shortest one at fit."""

    name = "duration"
    letter = "m"


def zone_of(dtype):
    """Return the time zone of a dtype, or None."""
    if is_polars_dtype(dtype):
        return getattr(dtype, "time_zone", None)
    return getattr(getattr(dtype, "pyarrow_dtype", dtype), "tz", None)


def _describe_zone(zone):
    return "no time zone" if zone is None else f"the time zone {zone}"


def to_times(column):
    """Return a column as an array of datetime64, in UTC, or of timedelta64."""
    dtype = column.dtype
    if is_polars_dtype(dtype) or isinstance(column, np.ndarray):
        return np.asarray(column)
    if isinstance(dtype, np.dtype):
        return column.to_numpy()
    if hasattr(dtype, "pyarrow_dtype"):
        import pyarrow as pa

        array = pa.array(column.array)
        if name_dtype(dtype).startswith("date"):
            # numpy gets these as objects
            array = array.cast(pa.timestamp("s" if "32" in str(dtype) else "ms"))
        array = array.combine_chunks() if hasattr(array, "combine_chunks") else array
        return array.to_numpy(zero_copy_only=False)
    return column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()


def from_times(values, dtype):
    """Return an array of datetime64 in UTC, or of timedelta64, as a column."""
    if isinstance(dtype, np.dtype):
        return values.astype(dtype)
    zone = zone_of(dtype)
    if is_polars_dtype(dtype):
        import polars as pl

        # polars has no longer units but days
        if np.datetime_data(values.dtype)[0] != "ns":
            values = values.astype(f"{values.dtype.kind}8[us]")
        column = pl.Series(values)
        if zone is not None:
            column = column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        return column.cast(dtype)
    import pandas as pd

    column = pd.Series(values)
    if zone is not None:
        column = column.dt.tz_localize("UTC")
    return column.astype(dtype).array
