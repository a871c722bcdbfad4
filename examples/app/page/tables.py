"""What the columns of a table are: kinds, what is left out and why, examples."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_wine

from skvae.datasets import make_mixed

from .models import show
from .reading import BadFileError, quote, read_csv

MAX_ROWS, MIN_ROWS = 10_000, 20
MAX_COLUMNS = 100
# more take minutes
MAX_CELLS = 300_000
# text with more different values than this says little about a row
MAX_LEVELS = 200
# share of values that are numbers, from which on the others are misprints
MOST = 0.9


@dataclass
class Table:
    """A data frame, the reasons why columns are left out, and notes for the page."""

    whole: pd.DataFrame
    left_out: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    @property
    def used(self):
        """The columns that models learn from."""
        return self.whole.drop(columns=list(self.left_out))


def make_example(name):
    """Return a table by its name in `EXAMPLES`; a tenth of the cells is missing."""
    if name == "Customers":
        X = make_mixed(500, missing=0.1, random_state=0)
        X = X.assign(age=X["age"].clip(18).round(), income=X["income"].round(-1))
        return Table(X.set_axis(X.index + 1))
    data = (load_wine if name == "Wines" else load_breast_cancer)(as_frame=True)
    X = data.data.iloc[:, :13]
    target = "cultivar" if name == "Wines" else "diagnosis"
    X = X.assign(**{target: pd.Series(data.target_names[data.target], dtype="str")})
    X = X.mask(np.random.default_rng(0).random(X.shape) < 0.1)
    return Table(X.set_axis(X.index + 1))


EXAMPLES = {
    "Tumours": "569 tumours: 13 measurements and the diagnosis. A tenth of the cells "
    "was deleted.",
    "Wines": "178 wines: 13 chemical measurements and the cultivar. A tenth of the "
    "cells was deleted.",
    "Customers": "500 customers, made up: numbers, counts and categories. A tenth of "
    "the cells is missing.",
}


def make_table(data):
    """Return the table in the bytes of a CSV file; raise a `BadFileError` if none."""
    X, separator, notes = read_csv(data)
    if len(X) < MIN_ROWS:
        raise BadFileError(f"The file has {len(X)} rows; at least {MIN_ROWS} are used.")
    if X.shape[1] > MAX_COLUMNS:
        raise BadFileError(
            f"The file has {X.shape[1]:,} columns; the page takes {MAX_COLUMNS}."
        )
    n_rows = min(MAX_ROWS, MAX_CELLS // X.shape[1])
    if len(X) > n_rows:
        notes.append(f"{n_rows:,} of {len(X):,} rows were drawn at random.")
        X = X.sample(n_rows, random_state=0).sort_index()
    # rows count from 1, as in a spreadsheet without its first line
    table = Table(X.set_axis(X.index + 1), notes=notes)
    noted = {}
    for name in X:
        column, note = convert(table.whole[name], separator)
        table.whole[name] = column
        if note:
            noted.setdefault(note, []).append(name)
        if reason := find_fault(column):
            table.left_out[name] = reason
    table.notes += [f"{quote(names)}: {note}" for note, names in noted.items()]
    if table.used.shape[1] < 2:
        raise BadFileError(
            "Fewer than two columns are left to learn from: "
            + "; ".join(
                f"{quote([name])} is {reason}"
                for name, reason in list(table.left_out.items())[:3]
            )
            + "."
        )
    return table


def convert(column, separator=","):
    """Return a column as numbers or dates where its text is that, and a note."""
    if pd.api.types.is_bool_dtype(column):
        return column.astype("boolean"), ""
    if pd.api.types.is_numeric_dtype(column):
        finite = column.where(np.isfinite(column))
        n_infinite = int(column.notna().sum() - finite.notna().sum())
        note = f"{n_infinite} infinite values count as missing." if n_infinite else ""
        known = finite.dropna()
        if len(known) and known.abs().max() < 2**53 and (known % 1 == 0).all():
            finite = finite.astype("Int64")
        return finite, note
    if column.isna().all():
        return column, ""
    text = column.astype("string").str.strip()
    text = text.mask(text == "")
    known = text.dropna()
    if set(known.str.lower()) <= {"true", "false"}:
        return text.str.lower().map({"true": True, "false": False}).astype(
            "boolean"
        ), ""
    numbers = to_floats(known)
    note = ""
    if numbers.isna().any():
        numbers, note = read_commas(known, numbers, separator)
    share = numbers.notna().mean() if len(known) else 0
    if share >= MOST:
        if wrong := list(known[numbers.isna()]):
            note += f" {len(wrong)} values such as {quote(wrong[:1])} are no numbers "
            note += "and count as missing."
        column, more = convert(numbers.reindex(column.index).astype(float))
        return column, " ".join(filter(None, [note.strip(), more]))
    if known.str.match(r"\d{4}-\d\d-\d\d").all() and len(known):
        times = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
        if times[known.index].notna().all():
            return times.dt.tz_localize(None), ""
    return text, ""


def to_floats(text):
    """Return numbers, and NaN for other text."""
    return pd.to_numeric(text.astype(object), errors="coerce").astype(float)


def read_commas(known, numbers, separator):
    """Return numbers with those that have commas, and a note on what commas are."""
    has_comma = known.str.contains(",")
    is_group = known.str.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
    is_decimal = known.str.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE]-?\d+)?")
    if separator == "," and has_comma.any() and is_group[has_comma].all():
        text, note = known.str.replace(",", ""), "commas were read as thousands."
    elif is_decimal.any():
        text = known.str.replace(".", "").str.replace(",", ".").where(is_decimal)
        note = "commas were read as decimal points."
    else:
        return numbers, ""
    return numbers.fillna(to_floats(text)), note


def find_fault(column):
    """Return why a model cannot learn from a column, or an empty text."""
    known = column.dropna()
    n_levels = known.nunique()
    if not len(known):
        return "without any value"
    if n_levels == 1:
        return "the same in all rows"
    if name_kind(column) == "category" and (
        n_levels > MAX_LEVELS or n_levels > max(10, len(known) / 2)
    ):
        return f"text with {n_levels:,} different values"
    if name_kind(column) == "whole number" and max(-known.min(), known.max()) >= 2**53:
        return "whole numbers of 16 digits or more, as identifiers have"
    is_complete = name_kind(column) == "whole number" and len(known) == len(column)
    if is_complete and known.iloc[0] in (0, 1) and (known.diff()[1:] == 1).all():
        return "a number of the row"
    return ""


def name_kind(column):
    """Return the kind of a column in words."""
    if pd.api.types.is_bool_dtype(column):
        return "yes or no"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    if pd.api.types.is_integer_dtype(column):
        return "whole number"
    return "number" if pd.api.types.is_numeric_dtype(column) else "category"


def describe(table):
    """Return one row for every column: kind, gaps, values and their distribution."""
    rows = []
    for name, column in table.whole.items():
        known = column.dropna()
        kind = name_kind(column)
        if kind in ("number", "whole number") and len(known):
            low, middle, high = map(show, known.astype(float).quantile([0, 0.5, 1]))
            values = f"{low} to {high}, median {middle}"
            counts = np.histogram(known.astype(float), bins=20)[0]
        elif kind == "date":
            values = f"{known.min():%Y-%m-%d} to {known.max():%Y-%m-%d}"
            counts = np.histogram(known.astype("int64"), bins=20)[0]
        else:
            counted = known.value_counts()
            shown = [f"{str(k)[:30]} ({n:,})" for k, n in counted.head(3).items()]
            values, counts = ", ".join(shown), counted.head(20)
        rows.append(
            {
                "column": name,
                "kind": kind,
                "distribution": [count / max(counts) for count in counts],
                "missing": round(column.isna().mean(), 3),
                "left out": table.left_out.get(name, ""),
                "values": values,
                "different values": known.nunique(),
            }
        )
    found = pd.DataFrame(rows)
    return found if table.left_out else found.drop(columns="left out")
