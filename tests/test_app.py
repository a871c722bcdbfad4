"""The page of `examples/app`: its parts, all of it without and with a browser."""

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from app_browser import Page, find_browser, open_browser, serve

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "app"
sys.path.insert(0, str(FOLDER))
try:
    from page import models, reading, tables
finally:
    sys.path.remove(str(FOLDER))

TABS = ("Columns", "Map", "Outliers", "Missing values", "New rows")
# what would happen if names or cells were more than text
SCRIPT = "<script>document.title='taken'</script>"
PICTURE = "<img src=x onerror=\"document.title='taken'\">"
MARKUP = "**b** :red[r] $\\frac{a$ [l](https://x.org) ![i](https://x.org/i.png)"


def make_rows(n_rows=80):
    """Return a small table with gaps, an identifier and one wrong cell."""
    generator = np.random.default_rng(0)
    a, e = generator.standard_normal((2, n_rows))
    X = pd.DataFrame(
        {
            "id": [f"k{row}" for row in range(n_rows)],
            "height": (170 + 10 * a).round(1),
            "weight": (70 + 9 * a + e).round(1),
            "group": np.where(a + e > 0, "x", "y"),
            "visits": generator.poisson(np.exp(1 + 0.3 * a)),
        }
    )
    X.loc[5, "weight"] = 150.0
    X.loc[10:14, "weight"] = np.nan
    X.loc[20:22, "group"] = None
    return X


def make_csv(X, **options):
    return X.to_csv(index=False, **options).encode()


def make_hostile():
    """Return a table whose names and cells are HTML, Markdown and formulas."""
    X = make_rows().drop(columns="id")
    X["group"] = X["group"].map({"x": SCRIPT, "y": "=1+1 $x$ _y_"})
    return X.set_axis([SCRIPT, PICTURE, MARKUP, 'a|b,"c"\n`d`'], axis=1)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(separator):
    X, _, notes = reading.read_csv(make_csv(make_rows(), sep=separator))
    assert make_csv(X) == make_csv(make_rows())
    assert notes == []


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_decimal_commas_become_numbers(separator):
    table = tables.make_table(make_csv(make_rows(), sep=separator, decimal=","))
    np.testing.assert_array_equal(table.whole["weight"], make_rows()["weight"])
    assert table.notes == ["“height”, “weight”: commas were read as decimal points."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_found(encoding):
    text = "größe,stadt\n" + "1.5,Köln\n2.5,Łódź\n".replace("Łódź", "Málaga") * 15
    X, _, notes = reading.read_csv(text.encode(encoding))
    assert list(X) == ["größe", "stadt"]
    assert set(X["stadt"]) == {"Köln", "Málaga"}
    assert len(notes) == (encoding == "cp1252")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(end):
    assert len(reading.read_csv(f"a,b{end}1,2{end}{end}3,4{end}".encode())[0]) == 2


def test_commas_in_groups_of_three_are_thousands():
    lines = b'"1,234",x\n"12,345.5",y\n7,z\n' * 10
    table = tables.make_table(b"amount,kind\n" + lines)
    assert table.whole["amount"].tolist()[:3] == [1234, 12345.5, 7]
    assert table.notes == ["“amount”: commas were read as thousands."]


def test_lines_of_spreadsheets():
    data = b"sep=;\na;b;\n" + b"1;2;\n3;5;\n" * 15 + b";;\n;;\n"
    table = tables.make_table(data)
    assert len(table.whole) == 30
    assert table.left_out == {"column 3": "without any value"}


def test_kinds_of_columns():
    n_rows = 40
    X = pd.DataFrame(
        {
            "": range(n_rows),
            "when": pd.date_range("2024-01-01", periods=n_rows).astype(str),
            "paid": ["true", "false"] * 20,
            "thousands": ["1.234,5", "-2.345,25"] * 20,
            "typo": ["n.k.", *map(str, range(n_rows - 1))],
            "whole": [np.nan, 3.0, np.nan, 4.0] * 10,
            "limit": [np.inf, *np.arange(n_rows - 1) / 7],
            "same": "x",
            "empty": np.nan,
            "note": [f"text {row}" for row in range(n_rows)],
        }
    )
    table = tables.make_table(make_csv(X, sep=";"))
    kinds = {name: tables.name_kind(table.whole[name]) for name in table.used}
    assert kinds == {
        "when": "date",
        "paid": "yes or no",
        "thousands": "number",
        "typo": "whole number",
        "whole": "whole number",
        "limit": "number",
    }
    assert table.whole["thousands"].tolist()[:2] == [1234.5, -2345.25]
    assert set(table.left_out) == {"column 1", "same", "empty", "note"}
    notes = " ".join(table.notes)
    assert "“n.k.”" in notes
    assert "1 infinite" in notes
    found = tables.describe(table)
    assert len(found) == 10
    assert found["distribution"].map(lambda bars: max(bars, default=1) == 1).all()


BAD = {
    "nothing": (b"", "empty"),
    "spaces": (b" \n\n \n", "empty"),
    "names alone": (b"a,b,c\n", "no rows"),
    "few rows": (b"a,b\n1,2\n3,4\n", "2 rows"),
    "one column": (b"a\n" + b"1\n2\n" * 20, "one column"),
    "prose": (b"Dear Sir or Madam\nI write to you\n", "one column"),
    "binary": (bytes(range(256)) * 20, "binary"),
    "zeros": (b"a,b\n1,\x002\n", "binary"),
    "workbook": (b"PK\x03\x04" + b"\x14" * 50, "Excel"),
    "parquet": (b"PAR1" + b"\x15" * 50, "Parquet"),
    "web page": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "cut UTF-16": ("a,b\n1,2\n".encode("utf-16")[:-1], "binary"),
    "ragged": (b"a,b\n1,2\n1,2,3\n", "Line 3 has 3 values"),
    "short line": (b"a,b,c\n1,2,3\n1,2\n", "Line 3 has 2 values"),
    "open quote": (b'a,b\n1,"2\n' + b"1,2\n" * 30, "not that of a CSV file"),
    "long cell": (b"a,b\n1," + b"x" * 200_000, "Line 2 is not"),
    "twice": (b"a,b, a\n" + b"1,2,3\n" * 20, "“a” occurs twice"),
    "texts": (
        b"a,b\n" + b"".join(b"t%d,u%d\n" % (k, k) for k in range(40)),
        "40 different values",
    ),
    "constant": (b"a,b\n" + b"1,2\n" * 30, "the same in all rows"),
    "wide": (
        b",".join(b"c%d" % k for k in range(200)) + b"\n" + (b"1," * 199 + b"1\n") * 20,
        "200 columns",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_sentence(name):
    data, part = BAD[name]
    with pytest.raises(reading.BadFileError) as caught:
        tables.make_table(data)
    message = str(caught.value)
    assert part in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 300


def test_size_is_limited(monkeypatch):
    monkeypatch.setattr(reading, "MAX_MEGABYTES", 1)
    with pytest.raises(reading.BadFileError, match="takes 1 MB"):
        tables.make_table(b"a,b\n" + b"1,2\n" * 300_000)
    monkeypatch.setattr(tables, "MAX_ROWS", 100)
    table = tables.make_table(make_csv(make_rows(300)))
    assert len(table.whole) == 100
    assert table.whole.index.is_monotonic_increasing
    assert table.notes == ["100 of 300 rows were drawn at random."]
    monkeypatch.setattr(tables, "MAX_CELLS", 250)
    assert len(tables.make_table(make_csv(make_rows(300))).whole) == 50


def test_numbers_in_the_first_line_are_rows():
    table = tables.make_table(b"".join(b"%d,%d.5\n" % (k, k % 7) for k in range(3, 40)))
    assert list(table.whole) == ["column 1", "column 2"]
    assert len(table.whole) == 37
    assert table.whole.index[0] == 1


@pytest.mark.parametrize("name", tables.EXAMPLES)
def test_examples_have_missing_cells(name):
    table = tables.make_example(name)
    assert table.used.isna().to_numpy().any()
    assert len(tables.describe(table)) == table.whole.shape[1]


@pytest.fixture(scope="module")
def fitted():
    """Return a table, both models, and the progress that they reported."""
    table = tables.make_table(make_csv(make_rows()))
    shares = []
    vae, detector = (
        models.fit(name, table.used, 3, lambda share, text: shares.append(share))[0]
        for name in ("vae", "detector")
    )
    return table, vae, detector, shares


def test_progress_grows(fitted):
    *_, shares = fitted
    assert len(shares) >= 2
    assert all(0 < share <= 1 for share in shares)
    falls = [k for k in range(1, len(shares)) if shares[k] < shares[k - 1]]
    # once, where the second model starts
    assert len(falls) <= 1


def test_wrong_cell_is_found_and_explained(fitted):
    table, _, detector, _ = fitted
    found = models.rank(detector, table.used)
    assert found.index[0] == 6
    assert found["p-value"].between(0, 1).all()
    reasons, parts = models.find_reasons(detector, table.used.loc[found.index[:5]])
    assert reasons.loc[6, "reason 1"].startswith("weight = 150, expected ")
    assert parts.loc[6].idxmin() == "weight"


def test_missing_cells_alone_are_filled(fitted):
    table, vae, *_ = fitted
    X = table.used
    filled = models.fill(vae, X)
    assert not filled.isna().to_numpy().any()
    assert filled.where(X.notna()).equals(X)


def test_conditions_hold_in_new_rows(fitted):
    _, vae, *_ = fitted
    rows, _ = models.draw(vae, 30, {"group": "x", "height": 180.0}, seed=1)
    assert rows.shape == (30, 4)
    assert set(rows["group"]) == {"x"}
    assert set(rows["height"]) == {180.0}
    again, _ = models.draw(vae, 30, {"group": "x", "height": 180.0}, seed=1)
    assert rows.equals(again)
    _, texts = models.draw(vae, 30, {"height": 195.0, "weight": 41.0}, seed=1)
    assert all("\n" not in text for text in texts)


# the page without a browser ---------------------------------------------------------


@pytest.fixture
def app(monkeypatch):
    """Return the page, as Streamlit tests it, with short training."""
    testing = pytest.importorskip("streamlit.testing.v1")
    fit = models.fit
    monkeypatch.setattr(
        models, "fit", lambda name, X, _, report: fit(name, X, 2, report)
    )
    return testing.AppTest.from_file(str(FOLDER / "app.py"), default_timeout=300)


def upload(app, data):
    app.run().segmented_control[0].set_value("CSV file").run()
    app.file_uploader[0].set_value(("table.csv", data, "text/csv")).run()
    return app


def test_every_tab_runs(app):
    upload(app, make_csv(make_rows()))
    for tab in TABS:
        app.session_state["tab"] = tab
        app.run()
        assert not app.exception, tab
        assert [error.value for error in app.error] == []
    (given,) = (m for m in app.multiselect if m.label.startswith("Columns with"))
    given.set_value(["group", "height", "visits"]).run()
    assert not app.exception
    shown = " ".join(text.value for text in app.markdown)
    assert "500 new rows" in shown
    assert "given group" in shown


def run_tabs(app, n_given=9):
    """Open every tab, and give values of some columns."""
    for tab in TABS:
        app.session_state["tab"] = tab
        app.run()
        assert not app.exception, tab
        assert [error.value for error in app.error] == []
    (given,) = (m for m in app.multiselect if m.label.startswith("Columns with"))
    given.set_value(given.options[:n_given]).run()
    assert not app.exception
    assert [error.value for error in app.error] == []


def test_results_can_be_uploaded_again(app):
    X = make_rows(40).drop(columns="visits")
    taken = ["p-value", "reason 1", "outlier"]
    run_tabs(upload(app, make_csv(X.drop(columns="id").set_axis(taken, axis=1))))


def test_dates_and_other_kinds_are_shown(app):
    n_rows = 20
    a = np.random.default_rng(0).standard_normal(n_rows)
    days = pd.to_timedelta(np.round(30 * a), unit="D")
    X = pd.DataFrame(
        {
            "when": pd.Timestamp("2024-05-01") + days,
            "paid": a > 0,
            "large": (1e17 * a).astype(np.int64),
            "small": a * 1e-9,
        }
    )
    X.loc[3, "when"] = pd.NaT
    upload(app, make_csv(X))
    run_tabs(app)
    app.session_state["tab"] = "Map"
    app.run()
    (colour,) = (s for s in app.selectbox if s.label.startswith("Colour"))
    for name in colour.options:
        colour.set_value(None if name == "none" else name).run()
        assert not app.exception, name
        assert [error.value for error in app.error] == []


def test_page_says_what_is_wrong_with_a_file(app):
    upload(app, b"a\n1\n2\n")
    assert not app.exception
    assert "one column" in app.error[0].value
    # and takes the next file
    app.file_uploader[0].set_value(("t.csv", make_csv(make_rows()), "text/csv")).run()
    assert not app.exception
    assert [error.value for error in app.error] == []


def test_page_shows_the_sentence_of_the_package(app):
    X = make_rows()
    X.loc[3, "height"] = 1e300
    upload(app, make_csv(X))
    app.session_state["tab"] = "Outliers"
    app.run()
    assert not app.exception
    assert "height" in app.error[0].value


def test_names_are_escaped():
    pytest.importorskip("streamlit")
    sys.path.insert(0, str(FOLDER))
    try:
        from page import panels, pictures
    finally:
        sys.path.remove(str(FOLDER))
    assert panels.escape("<b>:red[x]\n$1$ a") == r"\<b\>\:red\[x\] \$1\$ a"

    def draw(ax):
        ax.set_title("x")

    light, dark = (pictures.draw_picture(draw, theme) for theme in ("light", "dark"))
    assert light.startswith(b"\x89PNG")
    assert light != dark


# in a browser -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page, opened in a browser."""
    pytest.importorskip("streamlit")
    pytest.importorskip("selenium")
    find_browser()
    folder = tmp_path_factory.mktemp("app")
    with serve(folder) as address, open_browser(folder) as browser:
        page = Page(browser, folder)
        page.open(address)
        yield page


def read(text):
    return pd.read_csv(io.StringIO(text))


def test_browser_shows_every_tab_and_downloads_its_result(page):
    X = make_rows()
    page.upload("rows.csv", make_csv(X))
    page.wait(lambda: "80 rows, 5 columns, 8 missing cells" in page.text)
    page.wait(lambda: page.find("canvas"))
    # the bar is gone before a test sees it
    page.browser.execute_script(
        "window.bars = 0; new MutationObserver(() => { window.bars += "
        "document.querySelectorAll('[data-testid=stProgress]').length; })"
        ".observe(document.body, {subtree: true, childList: true});"
    )
    page.click("[role=tab]", "Map")
    page.wait(lambda: page.find("[data-testid=stImage] img")[0].size["width"] > 400)
    assert page.browser.execute_script("return window.bars") > 0
    assert not page.find("[data-testid=stProgress]")
    places = read(page.download("Map as CSV", "map.csv"))
    assert len(places) == 80
    assert places["id"].tolist() == X["id"].tolist()

    page.click("[role=tab]", "Outliers")
    outliers = read(page.download("All rows as CSV", "outliers.csv"))
    assert outliers.loc[0, "id"] == "k5"
    assert outliers.loc[0, "reason 1"].startswith("weight = 150")
    page.wait(lambda: page.find("[data-testid=stImage] img"))

    page.click("[role=tab]", "Missing values")
    filled = read(page.download("Filled table", "filled.csv"))
    assert list(filled) == list(X)
    assert not filled.isna().to_numpy().any()
    pd.testing.assert_frame_equal(filled.where(X.notna()), X, check_dtype=False)
    cells = read(page.download("List of filled", "filled_cells.csv"))
    assert cells["column"].value_counts().to_dict() == {"weight": 5, "group": 3}

    page.click("[role=tab]", "New rows")
    rows = read(page.download("New rows as CSV", "new_rows.csv"))
    assert rows.shape == (500, 4)
    page.wait(lambda: page.find("[data-testid=stImage] img"))


def test_browser_shows_names_and_cells_as_text(page):
    page.upload("hostile.csv", make_csv(make_hostile()))
    before = len(page.find("script"))
    for tab in TABS:
        page.click("[role=tab]", tab)
        assert page.browser.title == "skvae"
        pictures = page.find("img:not([src*='/media/'])")
        assert not [p for p in pictures if p.is_displayed()], tab
        assert not page.find("a[href='https://x.org'], .katex"), tab
        assert len(page.find("script")) == before, tab
    # a widget for every column
    for start in ("<script>", "<img", "**b**"):
        page.choose("[data-testid=stMain] [data-testid=stMultiSelect]", start)
        assert page.browser.title == "skvae"
    assert SCRIPT in page.text
    assert MARKUP in page.text.replace("\u2060", "")
    assert not page.find("a[href='https://x.org'], .katex, img[src*='x.org']")


@pytest.mark.parametrize("name", ["binary", "twice", "one column", "nothing"])
def test_browser_says_what_is_wrong_with_a_file(page, name):
    data, part = BAD[name]
    page.upload("bad.csv", data)
    page.wait(lambda: part in page.errors[0])
