"""The tabs of the page: one function for each."""

import re

import numpy as np
import pandas as pd
import streamlit as st

from skvae.plots import FeatureScoresDisplay, LatentMapDisplay, SamplesDisplay

from . import models
from .pictures import draw_picture
from .tables import describe, name_kind

# rows that a table of the page shows, and outliers that are explained
MOST_SHOWN, MOST_EXPLAINED = 1000, 50
FILLED = "background-color: rgba(63, 144, 218, 0.35)"


def escape(text):
    """Return text in which Markdown and HTML mean nothing."""
    # addresses become links even then, unless something invisible is in them
    text = re.sub(r"://|www|@", "\\g<0>\u2060", " ".join(str(text).split()))
    return re.sub(r"[!-/:-@\[-`{-~]", r"\\\g<0>", text)


def offer(label, X, file_name, index=False):
    """Offer a table for download."""
    st.download_button(
        label,
        X.to_csv(index=index).encode(),
        file_name,
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )


def show_days(X):
    """Return how columns of dates are shown: without a time of day if there is none."""
    dates = X.select_dtypes("datetime")
    is_day = (dates == dates.apply(lambda column: column.dt.normalize())) | dates.isna()
    return {name: st.column_config.DateColumn() for name in dates if is_day[name].all()}


def join(found, whole):
    """Return results beside the rows of a table, which may have the same names."""
    names = {"row", *found}
    for name in whole:
        own = name
        while own in names:
            own += " (table)"
        names.add(own)
        found = found.assign(**{own: whole[name]})
    return found.rename_axis("row")


def show_picture(plot, alt, **options):
    """Show what `plot(axes)` draws, in the colours of the page."""
    st.image(draw_picture(plot, st.context.theme.type or "light", **options), alt=alt)


def show_columns(table):
    """Show what the columns are, and the rows."""
    st.dataframe(
        describe(table),
        hide_index=True,
        column_config={
            "left out": st.column_config.TextColumn(width="medium"),
            "missing": st.column_config.NumberColumn(format="percent"),
            "distribution": st.column_config.BarChartColumn(
                "distribution",
                help="Counts of values in 20 intervals, or of categories",
                y_min=0,
                y_max=1,
            ),
        },
    )
    with st.expander("Rows"):
        st.dataframe(table.whole.head(MOST_SHOWN), column_config=show_days(table.whole))


def show_map(table, vae):
    """Show rows in the plane of the two components that carry most."""
    X = table.used
    left, right = st.columns([1, 3])
    kinds = {name: name_kind(X[name]) for name in X}
    first = next((name for name in X if kinds[name] == "category"), None)
    names = [None, *X]
    with left:
        colour = st.selectbox(
            "Colour of points",
            names,
            names.index(first),
            format_func=lambda name: "none" if name is None else str(name),
        )
        st.caption(
            "Rows that are alike lie close together. Axes are the two of "
            f"{vae.n_components_} components that carry most. Ellipses are posterior "
            "standard deviations of some rows."
            if vae.n_components_ > 2
            else "Rows that are alike lie close together. Ellipses are posterior "
            "standard deviations of some rows."
        )
        Z = np.round(vae.transform(X), 4)
        places = pd.DataFrame(Z, X.index, vae.get_feature_names_out())
        offer("Map as CSV", join(places, table.whole), "map.csv", index=True)
    y = None if colour is None else X[colour]
    with right:
        show_picture(
            lambda ax: LatentMapDisplay.from_estimator(vae, X, y, ax=ax),
            "A map of the rows",
        )


def show_outliers(table, detector, found, reasons, parts):
    """Show the least likely rows, with reasons."""
    X = table.used
    left, right = st.columns([1, 2], gap="large")
    with left:
        most = st.slider("p-value, at most", 0.005, 0.2, 0.02, 0.005, format="%.3f")
    odd = found[found["p-value"] <= most]
    with right:
        st.markdown(
            f"**{len(odd)} of {len(X):,} rows** have a p-value of at most {most:g}; "
            f"about {most * len(X):.0f} would if all rows were normal. The p-value is "
            "the share of normal rows that are as unlikely as this one, or less likely."
        )
        if not len(odd):
            st.markdown("The least likely row is shown.")
        if len(odd) > MOST_EXPLAINED:
            st.markdown(f"The {MOST_EXPLAINED} least likely rows are explained.")
    shown = join(found.join(reasons), table.whole).head(
        min(max(len(odd), 1), MOST_EXPLAINED)
    )
    st.dataframe(
        shown,
        column_config={
            "p-value": st.column_config.NumberColumn(format="%.4f"),
            "score (nats)": st.column_config.NumberColumn(format="%.1f"),
            **show_days(shown),
        },
        height=min(38 + 35 * len(shown), 320),
    )
    left, right = st.columns([1, 3])
    with left:
        row = st.selectbox("Row to explain", list(shown.index))
        st.caption(
            "Bars tell how much less likely a cell is, given the rest of its row, than "
            "is usual in its column."
        )
        marked = found.assign(outlier=found["p-value"] <= most).join(reasons)
        everything = join(marked, table.whole)
        offer("All rows as CSV", everything, "outliers.csv", index=True)
    with right:
        show_picture(
            lambda ax: FeatureScoresDisplay.from_scores(
                parts.loc[row],
                list(X.loc[row]),
                feature_names=list(X),
                score_name="log-density beside the usual one (nats, lower is odder)",
                ax=ax,
            ),
            f"Why row {row} is odd",
            width=7,
            height=4,
        )


def show_missing(table, filled):
    """Show cells that were missing, filled."""
    X = table.used
    missing = X.isna()
    n_missing = int(missing.to_numpy().sum())
    if n_missing == 0:
        st.info("No cell is missing in the columns that the model learns from.")
        return
    whole = table.whole.assign(**{name: filled[name] for name in X})
    rows = missing.any(axis=1)
    st.markdown(
        f"**{n_missing:,} missing cells** in {int(rows.sum()):,} rows are filled with "
        "what the other cells of the row predict: means of numbers, the likeliest "
        "category. Filled cells are blue."
    )
    shown = whole[rows].head(MOST_SHOWN)
    is_filled = missing.reindex(columns=whole.columns, fill_value=False).loc[
        shown.index
    ]
    paint = is_filled.map(lambda cell: FILLED if cell else "")
    st.dataframe(shown.style.apply(lambda _: paint, axis=None).format(write, na_rep=""))
    if rows.sum() > MOST_SHOWN:
        st.caption(f"The first {MOST_SHOWN:,} of these rows are shown.")
    left, right = st.columns(2)
    with left:
        offer("Filled table as CSV", whole, "filled.csv")
    with right:
        row, column = np.nonzero(missing.to_numpy())
        values = filled.astype(object).to_numpy()[row, column]
        cells = pd.DataFrame({"row": X.index[row], "column": X.columns[column]})
        cells["filled with"] = values
        offer("List of filled cells as CSV", cells, "filled_cells.csv")


def write(value):
    """Return a cell of a table as text."""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return f"{value:%Y-%m-%d}"
    return str(value)


def choose_condition(name, column):
    """Return a value of a column that the reader chooses."""
    kind, known = name_kind(column), column.dropna()
    label = escape(name)
    if kind in ("category", "yes or no"):
        return st.selectbox(label, list(known.value_counts().index))
    low, high = known.min(), known.max()
    if kind == "date":
        day = st.date_input(label, known.median().date(), low.date(), high.date())
        return pd.Timestamp(day)
    is_whole = kind == "whole number"
    make = int if is_whole else float
    low, middle, high = make(low), make(known.median()), make(high)
    note = f"{models.show(low)} to {models.show(high)} in the table"
    step = 1 if is_whole else 10.0 ** np.floor(np.log10((high - low) / 20))
    decimals = 0 if is_whole else int(np.clip(-np.log10(step), 0, 20))
    form = "%d" if is_whole else f"%.{decimals}f"
    return st.number_input(label, low, high, middle, step, form, help=note)


def show_new_rows(table, vae):
    """Draw rows under conditions that widgets choose."""
    X = table.used
    left, right = st.columns([1, 3])
    with left:
        n_rows = st.number_input("Number of rows", 1, 10_000, 500, 100)
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, help="The same, the same rows")
        chosen = st.multiselect("Columns with a given value", list(X))
        given = {name: choose_condition(name, X[name]) for name in chosen}
    rows, texts = models.draw(vae, n_rows, given, seed)
    with right:
        for text in texts:
            st.warning(escape(text))
        st.markdown(f"**{len(rows):,} new rows**{describe_conditions(given)}")
        st.dataframe(rows.head(MOST_SHOWN), height=300, column_config=show_days(rows))
        offer("New rows as CSV", rows, "new_rows.csv")
        names = [name for name in X if name not in given][:9]
        if names:
            st.markdown("New rows beside the rows of the table")
            show_picture(
                lambda axes: plot_samples(rows[names], X[names], axes),
                "Histograms of new and of real rows",
                width=7,
                height=0.3 + 2.3 * -(-len(names) // 3),
                n_axes=len(names),
            )


def plot_samples(drawn, real, axes):
    """Draw one histogram for each column, with short numbers on the axes."""
    SamplesDisplay.from_samples(drawn, real, ax=axes)
    for name, ax in zip(real, np.atleast_1d(axes), strict=True):
        if name_kind(real[name]) in ("number", "whole number"):
            ax.xaxis.set_major_formatter(
                lambda x, _: f"{x / 1e3:g}k" if abs(x) >= 1e4 else f"{x:g}"
            )


def describe_conditions(given):
    """Return conditions in words."""
    parts = [f"{escape(name)} = {escape(models.show(v))}" for name, v in given.items()]
    return f" given {', '.join(parts)}" if parts else ""
