"""Summary: a fitted estimator on one page, as text and as HTML."""

from __future__ import annotations

import copy
from html import escape
from textwrap import wrap
from typing import Any

from sklearn.utils.validation import check_is_fitted

from ._facts import collect_facts, list_columns
from ._lines import clean, count, describe, show_share, title

# columns that are listed, letters of their names, and letters of a line
_MOST_COLUMNS, _NAME_LETTERS, _WIDTH = 12, 30, 88
_HEADER = ["column", "kind", "likelihood", "levels", "missing"]
_STYLE = (
    ".skvae-summary table{border-collapse:collapse;margin:.5em 0;color:inherit}"
    ".skvae-summary th,.skvae-summary td{text-align:left;vertical-align:top;"
    "padding:.1em .9em .1em 0;background:none;color:inherit}"
    ".skvae-summary th{font-weight:600;white-space:nowrap}"
)


class Summary:
    """A fitted estimator on one page, returned by its `summary` method.

    It is a text where it is printed and a table in a notebook. It does not change with
    the estimator.
    """

    def __init__(self, facts: dict[str, Any], columns: list[dict[str, Any]]) -> None:
        self._facts, self._columns = facts, columns

    def to_dict(self) -> dict[str, Any]:
        """Return the values as dicts and lists of numbers and texts, as JSON has them.

        Returns
        -------
        dict
            What is not known is None. Kinds, levels and units of all columns are in
            ``columns_.to_frame()``.
        """
        return copy.deepcopy(self._facts)

    def _list_rows(self) -> list[list[str]]:
        return [
            [
                clean(row["column"], _NAME_LETTERS),
                row["kind"],
                clean(row["likelihood"] or "constant", _NAME_LETTERS),
                "" if row["levels"] is None else str(row["levels"]),
                show_share(row["missing"]) if row["missing"] else "",
            ]
            for row in self._columns
        ]

    def _count_rest(self) -> str:
        n_rest = self._facts["columns"]["n_columns"] - len(self._columns)
        if not n_rest:
            return ""
        return f"... and {count(n_rest, 'more column')}; see columns_.to_frame()"

    def __repr__(self) -> str:
        lines = [title(self._facts), ""]
        for label, text in describe(self._facts):
            parts = wrap(text, _WIDTH - 12) or [""]
            lines += [f"{label:12}{parts[0]}", *(" " * 12 + part for part in parts[1:])]
        rows = [_HEADER, *self._list_rows()]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines.append("")
        for row in rows:
            cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, self._count_rest()]).rstrip()

    def _repr_html_(self) -> str:
        facts = "".join(
            f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>"
            for label, text in describe(self._facts)
        )
        head = "".join(f"<th>{name}</th>" for name in _HEADER)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._list_rows()
        )
        return (
            f'<div class="skvae-summary"><style>{_STYLE}</style>'
            f"<strong>{escape(title(self._facts))}</strong><table>{facts}</table>"
            f"<details><summary>Columns</summary><table><tr>{head}</tr>{rows}</table>"
            f"{escape(self._count_rest())}</details></div>"
        )


class SummaryMixin:
    """Give fitted estimators a `summary`."""

    def summary(self) -> Summary:
        """Return the fitted estimator on one page: a text, or a table in a notebook.

        Rows, columns and their kinds, missing cells, likelihoods, components, networks,
        held-out score, epochs, seconds, and the warnings and versions of the fit.
        Nothing is computed.

        Returns
        -------
        Summary
            `print` shows it; its ``to_dict()`` returns the values, as JSON has them.
        """
        check_is_fitted(self)
        columns: Any = vars(self)["columns_"]
        facts = collect_facts(self) | self._collect_own_facts()
        return Summary(facts, list_columns(columns, _MOST_COLUMNS))

    def _collect_own_facts(self) -> dict[str, Any]:
        """Return facts that an estimator adds, by topic."""
        return {}
