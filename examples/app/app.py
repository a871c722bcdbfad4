"""A page for tables: map, outliers, missing values and new rows from one file.

``python -m streamlit run examples/app/app.py`` opens it in a browser.
"""

import hashlib
from collections import OrderedDict

import streamlit as st
from page import models, panels
from page.tables import EXAMPLES, BadFileError, Table, make_example, make_table

TABS = ("Columns", "Map", "Outliers", "Missing values", "New rows")
EPOCHS = {"short: 20 epochs at most": 20, "long: 100 epochs at most": 100}
# fitted models that are kept for those who come back
MOST_KEPT = 8


@st.cache_data(max_entries=4, show_spinner="Reading the file")
def read(data):
    """Return a table, or the sentence that says why there is none."""
    try:
        return make_table(data)
    except BadFileError as error:
        return str(error)


@st.cache_resource
def get_kept():
    """Return fitted models and their results by what they were made of."""
    return OrderedDict()


def keep(key, make):
    """Return what was kept under a key, or make it."""
    kept = get_kept()
    if key not in kept:
        kept[key] = make()
        while len(kept) > MOST_KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def choose_table():
    """Return a table that the reader chooses, and a key for it."""
    source = st.segmented_control(
        "Data", ["Example", "CSV file"], default="Example", required=True
    )
    if source == "Example":
        name = st.selectbox("Example", list(EXAMPLES))
        st.caption(EXAMPLES[name])
        return make_example(name), name
    file = st.file_uploader("CSV file", type=["csv", "tsv", "txt"])
    if file is None:
        return None, ""
    data = file.getvalue()
    table = read(data)
    if isinstance(table, str):
        return table, ""
    return table, hashlib.sha256(data).hexdigest()


def fit(name, table, key, max_epochs):
    """Return a fitted model, and show progress while it trains."""
    key = (name, key, tuple(table.left_out), max_epochs)

    def train():
        bar = st.progress(0.0, "The model is being trained")

        def report(share, text):
            bar.progress(share, f"Training: {text}")

        made = models.fit(name, table.used, max_epochs, report)
        bar.empty()
        return made

    model, texts = keep(key, train)
    for text in texts:
        st.caption(panels.escape(text))
    return model, key


def show_tab(name, table, key, max_epochs):
    """Show one tab."""
    X = table.used
    if name == "Columns":
        panels.show_columns(table)
    elif name == "Outliers":
        detector, key = fit("detector", table, key, max_epochs)

        def find():
            with st.spinner("Looking for reasons"):
                found = models.rank(detector, X)
                odd = X.loc[found.index[: panels.MOST_EXPLAINED]]
                return found, *models.find_reasons(detector, odd)

        panels.show_outliers(table, detector, *keep((*key, "reasons"), find))
    else:
        vae, key = fit("vae", table, key, max_epochs)
        if name == "Map":
            panels.show_map(table, vae)
        elif name == "New rows":
            panels.show_new_rows(table, vae)
        else:

            def fill():
                with st.spinner("Filling missing cells"):
                    return models.fill(vae, X)

            panels.show_missing(table, keep((*key, "filled"), fill))


def main():
    """Show the page."""
    st.set_page_config("skvae", ":material/scatter_plot:", "wide")
    st.header("What is in a table?")
    with st.sidebar:
        table, key = choose_table()
        if isinstance(table, Table):
            ignored = st.multiselect("Columns to leave out", list(table.used))
            max_epochs = EPOCHS[st.selectbox("Training", list(EPOCHS))]
        st.caption("Your table stays on the computer that runs this page.")
    if table is None:
        st.info(
            "Upload a CSV file in the sidebar: one row a line, names of columns in "
            "the first line; missing values are empty, NA or ?."
        )
        return
    if isinstance(table, str):
        st.error(panels.escape(table))
        return
    left_out = table.left_out | dict.fromkeys(ignored, "as you asked")
    table = Table(table.whole, left_out, table.notes)
    if table.used.shape[1] < 2:
        st.error("A model needs two columns at least; leave out fewer.")
        return
    n_missing = int(table.used.isna().to_numpy().sum())
    n_rows, n_columns = table.whole.shape
    st.markdown(
        f"**{n_rows:,}** rows, **{n_columns}** columns, **{n_missing:,}** missing cells"
    )
    for note in table.notes[:3]:
        st.caption(panels.escape(note))
    if more := table.notes[3:]:
        with st.expander(f"{len(more)} more notes on how the file was read"):
            for note in more:
                st.caption(panels.escape(note))
    for name, tab in zip(
        TABS, st.tabs(TABS, key="tab", on_change="rerun"), strict=True
    ):
        if tab.open:
            with tab:
                try:
                    show_tab(name, table, key, max_epochs)
                except ValueError as error:
                    # the package says in one sentence what it cannot learn from
                    st.error(panels.escape(error))


main()
