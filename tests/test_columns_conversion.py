"""Data of any library and form goes in, and what is no table is told what to do."""

import re
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone

from skvae import VAETransformer, load, save
from skvae._columns import check_target
from skvae._columns._conversion import convert_array, convert_input

N = 60
FAST = {"hidden_layer_sizes": (), "max_epochs": 0, "random_state": 0}


def make_rows(dtype=np.float64):
    g = np.random.default_rng(0)
    X = g.normal(size=(N, 2)) @ g.normal(size=(2, 3)) + 0.3 * g.normal(size=(N, 3))
    return (8 * X).round().astype(dtype)


def fit(X, **params):
    return VAETransformer(1, **FAST, **params).fit(X)


# forms of the same numbers ------------------------------------------------------------

FORMS = {
    **{
        dtype: lambda X, dtype=dtype: X.astype(dtype)
        for dtype in (">f8", ">f4", ">f2", "g", ">i4", ">i8")
    },
    "big-endian longdouble": lambda X: X.astype(np.dtype("g").newbyteorder()),
    "tensor": torch.tensor,
    "requires grad": lambda X: torch.tensor(X, requires_grad=True),
    "parameter": lambda X: torch.nn.Parameter(torch.tensor(X)),
    "bfloat16": lambda X: torch.tensor(X).bfloat16(),
    "half": lambda X: torch.tensor(X).half(),
    "integers": lambda X: torch.tensor(X).int(),
    "list of tensors": lambda X: list(torch.tensor(X, requires_grad=True)),
    "nothing masked": np.ma.masked_array,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_same_numbers_give_the_same_answers(form):
    X = make_rows()
    table = FORMS[form](X)
    vae, expected = fit(table, likelihood="gaussian"), fit(X, likelihood="gaussian")
    scores = expected.score_samples(X)
    np.testing.assert_allclose(vae.score_samples(table), scores, rtol=1e-5)
    np.testing.assert_allclose(expected.score_samples(table), scores, rtol=1e-5)
    assert vae.impute(table).dtype in (np.float32, np.float64)
    np.testing.assert_array_equal(vae.impute(table), X)


@pytest.mark.parametrize("form", [">f8", "g", "requires grad", "bfloat16"])
def test_weights_latents_and_held_out_rows_come_in_any_form(form):
    X, convert = make_rows(), FORMS[form]
    weight = np.arange(1.0, N + 1)
    vae = VAETransformer(1, **FAST).fit(
        X, X_val=convert(X[:9]), sample_weight=convert(weight)
    )
    Z = np.array([[0.5], [2.0]])
    np.testing.assert_array_equal(
        vae.inverse_transform(convert(Z)), vae.inverse_transform(Z)
    )
    expected = np.average(vae.score_samples(X), weights=weight)
    assert vae.score(X, sample_weight=convert(weight)) == pytest.approx(expected)


def test_frames_of_big_endian_numbers_and_long_doubles_come_back():
    X = make_rows()
    frame = pd.DataFrame(
        {
            "a": X[:, 0].astype(">f8"),
            "b": X[:, 1].astype(">i4"),
            "c": np.where(X[:, 2] > 0, "u", "v"),
            "d": X[:, 0].astype("g"),
        }
    )
    vae = fit(frame)
    for back in (vae.impute(frame), vae.sample(3), vae.reconstruct(frame)):
        pd.testing.assert_series_equal(back.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(vae.impute(frame), frame)
    native = frame.astype({"a": "f8", "b": "i4", "d": "f8"})
    np.testing.assert_array_equal(vae.score_samples(native), vae.score_samples(frame))


def test_images_of_big_endian_pixels_and_masked_ones_are_images():
    pixels = (make_rows() + 99).reshape(N, 1, 1, 3)
    vae = fit(pixels.astype(">u2"), image_shape=(1, 1, 3))
    assert vae.sample(2).dtype == np.uint16
    masked = np.ma.masked_array(
        pixels, mask=np.arange(pixels.size).reshape(pixels.shape) == 4
    )
    assert np.isnan(convert_array(masked, "X")).sum() == 1
    assert np.isfinite(vae.transform(masked)).all()


def test_strings_of_variable_width_are_categories():
    words = np.where(make_rows() > 0, "yes", "no").astype(object)
    words[::7, 1] = None
    table = words.astype(np.dtypes.StringDType(na_object=None))
    vae = fit(table)
    assert vae.columns_.kinds[0].levels == ["no", "yes"]
    np.testing.assert_array_equal(vae.score_samples(table), vae.score_samples(words))


def test_numbers_beyond_double_precision_are_refused_with_their_value():
    X = make_rows("g")
    X[3, 1] = np.longdouble("1e4000")
    with pytest.raises(ValueError, match=r"1e\+4000 in column 1, row 3"):
        fit(X)


# masked arrays ------------------------------------------------------------------------

HIDDEN = np.random.default_rng(1).random((N, 3)) < 0.2


@pytest.mark.parametrize("dtype", ["f8", ">f4", "f2", "g", "i4", "u1", "bool", "U"])
@pytest.mark.parametrize("as_list", [False, True])
def test_masked_cells_are_missing(dtype, as_list):
    X = make_rows()
    values = np.where(X > 0, "yes", "no") if dtype == "U" else np.abs(X).astype(dtype)
    cells = values.astype(object)
    cells[HIDDEN] = None
    if np.dtype(dtype).kind in "fiu":
        cells = cells.astype(float)
    table = np.ma.masked_array(values, mask=HIDDEN)
    vae, expected = fit(list(table) if as_list else table), fit(cells)
    for method in ("transform", "score_samples", "score_features"):
        ours, theirs = getattr(vae, method)(table), getattr(expected, method)(cells)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not pd.isna(vae.impute(table)).any()
    assert vae.columns_.observed_share == pytest.approx(1 - HIDDEN.mean(axis=0))


def test_masked_rows_are_held_out_and_masked_weights_refused():
    X = make_rows()
    masked, cells = np.ma.masked_array(X, mask=HIDDEN), np.where(HIDDEN, np.nan, X)
    params = {"max_epochs": 1, "random_state": 0, "hidden_layer_sizes": ()}
    ours, theirs = (
        VAETransformer(1, **params).fit(X, X_val=rows).validation_scores_
        for rows in (masked, cells)
    )
    assert ours == theirs
    weight = np.ma.masked_array(np.ones(N), mask=np.arange(N) == 2)
    with pytest.raises(ValueError, match="sample_weight has the value nan in row 2"):
        VAETransformer().fit(X, sample_weight=weight)
    with pytest.raises(ValueError, match="sample_weight has the value nan in row 2"):
        fit(X).score(X, sample_weight=weight)


def test_what_a_mask_hides_is_not_looked_at():
    X = np.ma.masked_array(make_rows("i8"), mask=HIDDEN)
    X.data[HIDDEN] = 2**62
    assert np.abs(convert_array(X, "X")[~HIDDEN]).max() < 100
    X.data[np.argwhere(~HIDDEN)[0, 0], np.argwhere(~HIDDEN)[0, 1]] = 2**62
    with pytest.raises(ValueError, match="4611686018427387904"):
        convert_array(X, "X")


# tables of Arrow ----------------------------------------------------------------------


def test_tables_of_arrow_come_back_from_every_method():
    pa = pytest.importorskip("pyarrow")
    X = make_rows()
    words = pa.array(np.where(X[:, 1] > 0, "u", "v"))
    price = [Decimal("1.25") * (i % 7) for i in range(N)]
    table = pa.table(
        {
            "": X[:, 0],
            "word": words,
            "level": words.dictionary_encode(),
            "flag": pa.array([None, *(X[1:, 2] > 0)]),
            "count": pa.array(np.arange(N) % 5, pa.int16()),
            "price": pa.array(price, pa.decimal128(9, 2)),
        }
    )
    vae = fit(table)
    for back in (
        vae.sample(3),
        vae.impute(table),
        vae.reconstruct(table),
        vae.inverse_transform(vae.transform(table)),
    ):
        assert back.schema == table.schema
    assert vae.impute(table).drop_columns("flag") == table.drop_columns("flag")
    cells = vae.score_features(table)
    assert cells.column_names == table.column_names
    np.testing.assert_array_equal(
        vae.score_samples(table.to_batches()[0]), vae.score_samples(table)
    )


def test_ordered_dictionaries_of_arrow_keep_their_order(tmp_path):
    pa = pytest.importorskip("pyarrow")
    # the second level has no row; chunks have dictionaries of their own
    levels = ["small", "medium", "large", "huge"]
    codes = np.resize([0, 2, 3], 60)
    codes[5] = -1
    frame = pd.DataFrame({"size": pd.Categorical.from_codes(codes, levels, True)})
    frame["number"] = make_rows()[:60, 0]
    table = pa.Table.from_pandas(frame)
    halves = [table[:30], table[30:]]
    for whole in (table, pa.concat_tables(halves)):
        vae = VAETransformer(
            1, likelihood={"size": "ordinal"}, max_epochs=1, random_state=0
        ).fit(whole)
        described = vae.columns_.to_frame().loc["size"]
        assert described["kind"] == "ordered category"
        assert described["levels"] == "4: small, medium, large, ..."
        expected = clone(vae).fit(frame)
        np.testing.assert_allclose(
            vae.score_samples(whole), expected.score_samples(frame), rtol=1e-6
        )
        column = vae.reconstruct(whole)["size"]
        assert column.type.ordered
        assert column.combine_chunks().dictionary.to_pylist() == levels
        save(vae, tmp_path / "model")
        assert load(tmp_path / "model").reconstruct(whole)["size"].equals(column)


# what is no table ---------------------------------------------------------------------

FRAME = pd.DataFrame(make_rows(), columns=list("abc"))
REFUSED = {
    "row": (FRAME.iloc[2], "Series.*iloc"),
    "row of polars": (pl.DataFrame(FRAME)["a"], r"Series.*frame\[\[i\]\]"),
    "lazy": (pl.LazyFrame(FRAME), r"LazyFrame.*collect\(\)"),
    "dict": (FRAME.to_dict("list"), r"dict.*pandas\.DataFrame"),
    "dicts": (FRAME.to_dict("records"), r"list.*pandas\.DataFrame"),
    "records": (FRAME.to_records(), r"recarray.*pandas\.DataFrame"),
    "none": (None, "NoneType.*rows of columns"),
    "name": ("table.csv", "str.*rows of columns"),
    "generator": ((row for row in FRAME), "generator.*rows of columns"),
    "sparse tensor": (torch.eye(3).to_sparse(), r"sparse tensor.*to_dense\(\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_table_is_told_the_way_out(kind):
    found, words = REFUSED[kind]
    vae = fit(FRAME)
    for argument, call in {
        "X": vae.transform,
        "X_val": lambda rows: VAETransformer().fit(FRAME, X_val=rows),
        "Z": vae.inverse_transform,
    }.items():
        if found is None and argument == "X_val":
            continue
        with pytest.raises(TypeError, match=f"^{argument} is .*{words}"):
            call(found)
    with pytest.raises(TypeError, match=words):
        VAETransformer().fit(found)


def test_tables_pass_as_they_are():
    X = make_rows()
    for table in (X, FRAME, pl.DataFrame(FRAME), X.tolist()):
        assert convert_input(table, "X", "V") is table


@pytest.mark.parametrize("shape", [(N, 3, 1), (N, 1, 3, 1), (N, 1, 1, 3, 1)])
def test_stacks_without_image_shape_are_told_to_set_it(shape):
    images = make_rows().reshape(shape)
    words = rf"dim {len(shape)}.*X\.reshape\(len\(X\), -1\)"
    if len(shape) < 5:
        words = r"image_shape=\(1, 3, 1\).*X\.reshape"
    for X in (images, images.tolist(), torch.tensor(images)):
        with pytest.raises(ValueError, match=words):
            VAETransformer().fit(X)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([[1, 2], [3]], "X must be rows of equally many values"),
        (make_rows() * 1j, "X has dtype complex128.*real and imaginary"),
        (make_rows("M8[s]"), "X has dtype datetime64.*Pass a data frame"),
    ],
)
def test_arrays_of_no_use_name_the_argument(X, words):
    with pytest.raises((TypeError, ValueError), match=words):
        VAETransformer().fit(X)


@pytest.mark.parametrize(
    "Z",
    [
        ["a"],
        [["a"]],
        [[np.nan]],
        [[np.inf]],
        [[1.0, 2.0]],
        [1.0, 2.0],
        [[1.0], [1.0, 2.0]],
        np.ones((3, 1)) * 1j,
        np.ones((3, 1, 1)),
        np.zeros((2, 1), "M8[s]"),
        np.zeros((0, 1)),
        np.ma.masked_array([[1.0], [2.0]], mask=[[False], [True]]),
        pd.DataFrame({"z": pd.array([1, None], "Int64")}),
        pd.DataFrame({"z": pd.date_range("2020-01-01", periods=2)}),
    ],
    ids=str,
)
def test_messages_on_latents_name_them(Z):
    with pytest.raises((TypeError, ValueError), match=r"\bZ\b"):
        fit(make_rows()).inverse_transform(Z)


@pytest.mark.parametrize(
    "weight",
    [
        ["a"] * N,
        {0: 1.0},
        np.ones(N) * 1j,
        np.ones((N, 1)),
        np.ones(N, "M8[s]"),
        "auto",
    ],
    ids=lambda weight: type(weight).__name__,
)
def test_messages_on_weights_name_them(weight):
    X = make_rows()
    for call in (VAETransformer().fit, VAETransformer().partial_fit, fit(X).score):
        with pytest.raises((TypeError, ValueError), match="sample_weight"):
            call(X, sample_weight=weight)


@pytest.mark.parametrize("make", [np.asarray, list, pd.DataFrame, torch.tensor])
def test_held_out_rows_passed_as_y_are_refused(make):
    X = make_rows()
    for method in (
        VAETransformer(1, **FAST).fit,
        VAETransformer(1, **FAST).partial_fit,
    ):
        with pytest.raises(ValueError, match=r"y has the shape \(9, 3\).*X_val=y"):
            method(X, make(X[:9]))
    with pytest.warns(UserWarning, match=r"y has the shape \(60, 3\).*X_val=y"):
        VAETransformer(1, **FAST).fit(X, make(X[::-1].copy()))


def test_targets_are_ignored():
    X = make_rows()
    for y in (X, X[:, 0], X[:, :2], X[:, [0]], ["a"] * N, [["a", "b"]] * N):
        VAETransformer(1, **FAST).fit(X, y)
    check_target(X[::-1, :1], X[:, :1])


def test_tags_tell_of_strings_and_categories():
    tags = VAETransformer().__sklearn_tags__().input_tags
    assert tags.string
    assert tags.categorical


# values given -------------------------------------------------------------------------

GIVEN = pd.DataFrame(
    {
        "u1": np.arange(N, dtype="u1"),
        "i8": np.arange(N),
        "Int8": pd.array(np.arange(N), dtype="Int8"),
        "f4": make_rows("f4")[:, 0] / 8,
        "f2": make_rows("f2")[:, 1] / 8,
        "f8": make_rows()[:, 2],
        "flag": pd.array([True, False] * (N // 2), dtype="boolean"),
        "word": ["x", "y"] * (N // 2),
        "decimal": [Decimal("0.10") * (i % 7) for i in range(N)],
    }
)


@pytest.fixture(scope="module")
def conditional():
    return fit(GIVEN)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("u1", 300),
        ("u1", -3),
        ("Int8", 200),
        ("i8", 10**20),
        ("i8", 2**53 + 1),
        ("i8", 10**400),
        ("i8", Decimal("1.5")),
        ("f4", 1e39),
        ("f2", 7e4),
        ("f8", 10**400),
        ("f8", np.longdouble("1e4000")),
        ("f8", Decimal("1e400")),
        ("f8", "3"),
        ("f8", 1j),
        ("decimal", Decimal("0.123")),
        *((name, value) for name in ("u1", "f8", "flag", "word") for value in (
            None, np.nan, pd.NA, pd.NaT, Decimal("NaN"), np.ma.masked, [1, 2],
            np.array([1]), np.array(["x", "y"]), pd.Series(["x"]), {"x"}, torch.ones(1),
            np.ma.masked_array(1.0, mask=True),
        )),
    ],
    ids=str,
)  # fmt: skip
def test_values_that_a_column_cannot_have_are_refused(column, value, conditional):
    words = re.escape(f"Column '{column}' cannot be {value!r}".split("(")[0][:30])
    with pytest.raises(ValueError, match=words):
        conditional.sample(given={column: value})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("u1", 255),
        ("u1", np.int8(3)),
        ("u1", 7.0),
        ("Int8", -128),
        ("f4", 0.1),
        ("f2", 0.1),
        ("f8", 1),
        ("f8", np.float32(0.5)),
        ("f8", np.array(0.5)),
        ("f8", torch.tensor(0.5, requires_grad=True)),
        ("f8", Decimal("0.5")),
        ("flag", np.bool_(True)),
        ("word", np.str_("y")),
        ("decimal", Decimal("0.3")),
        ("decimal", 0.3),
    ],
    ids=str,
)
def test_values_given_come_back(column, value, conditional):
    drawn = conditional.sample(3, given={column: value}, random_state=0)[column]
    assert drawn.dtype == GIVEN[column].dtype
    if hasattr(value, "item"):
        value = value.item()
    for cell in drawn:
        if isinstance(value, str):
            assert cell == value
        else:
            # as many digits as half precision has
            assert float(cell) == pytest.approx(float(value), rel=1e-3)


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_decimals_are_kept_by_impute_and_can_be_given(library):
    # more digits than a float has
    long = [Decimal("12345678901234567.25") + (i % 7) for i in range(N)]
    price = [Decimal("0.10") * (i % 7) for i in range(N)]
    price[4] = None
    columns = {"a": make_rows()[:, 0], "long": long, "price": price}
    schema = {"long": pl.Decimal(20, 2), "price": pl.Decimal(9, 2)}
    frame = pl.DataFrame(columns, schema_overrides=schema)
    if library == "arrow":
        frame = pytest.importorskip("pyarrow").table(frame.to_arrow())
    elif library == "pandas":
        frame = pd.DataFrame(columns, dtype=object).astype({"a": float})
    vae = fit(frame)
    filled = vae.impute(frame)
    assert list(map(str, filled["long"])) == list(map(str, frame["long"]))
    kept = [str(cell) for i, cell in enumerate(filled["price"]) if i != 4]
    assert kept == [str(cell) for i, cell in enumerate(price) if i != 4]
    drawn = vae.sample(3, given={"price": frame["price"][3]}, random_state=0)["price"]
    assert [str(cell) for cell in drawn] == ["0.30"] * 3


HOURS = pd.Series(pd.to_timedelta(np.arange(N), unit="h"))


def make_held(values):
    """Return a frame of a column and another one."""
    return pd.DataFrame({"n": values, "a": make_rows()[:, 0]})


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int8", 300.0),
        ("int8", 2.5),
        ("uint8", -1),
        ("int64", 3.5),
        ("Int16", 40_000),
        ("object", 1.5),
        ("int8[pyarrow]", 300),
        ("float32", 1e39),
    ],
)
def test_impute_refuses_numbers_that_the_dtype_at_fit_cannot_hold(dtype, value):
    vae = fit(make_held(np.arange(N)).astype({"n": dtype}))
    rows = pd.DataFrame({"n": [3.0, value], "a": [np.nan, 0.0]})
    with pytest.raises(ValueError, match=r"'n' has the value .*cannot hold"):
        vae.impute(rows)
    assert np.isfinite(vae.score_samples(rows[:1])).all()
    assert vae.impute(rows[:1])["n"].tolist() == [3]


def test_impute_refuses_other_values_that_would_change():
    columns = {
        "decimal": ([Decimal(i) / 100 for i in range(N)], Decimal("1.23456")),
        "time": (HOURS.astype("m8[s]"), pd.Timedelta("1.5ms")),
    }
    for values, value in columns.values():
        vae = fit(make_held(values))
        with pytest.raises(ValueError, match=r"'n' has the value .*cannot hold"):
            vae.impute(pd.DataFrame({"n": [value], "a": [np.nan]}))
    with pytest.raises(ValueError, match=r"cannot be '1\.5ms'.*cannot hold"):
        vae.sample(1, given={"n": "1.5ms"})
    days = [date(2020, 1, 1 + i % 28) for i in range(N)]
    vae = fit(pl.DataFrame({"n": days, "a": make_rows()[:, 0]}))
    with pytest.raises(ValueError, match=r"'n' has the value .*cannot hold"):
        vae.impute(pl.DataFrame({"n": [datetime(2020, 1, 1, 12)], "a": [0.0]}))
    pixels = np.arange(4 * N).reshape(N, 1, 2, 2).astype(np.uint8)
    vae = fit(pixels, image_shape=(1, 2, 2))
    with pytest.raises(ValueError, match=r"Column 0 has the value 0\.5.*uint8"):
        vae.impute(pixels[:1] + 0.5)


def test_impute_keeps_times_that_their_codes_would_round():
    days = pd.Series(pd.date_range("1990", periods=N)).astype("M8[ns]")
    vae = fit(make_held(days))
    late = np.array(["2024-05-06T12:34:56.123456789", "NaT"], "M8[ns]")
    filled = vae.impute(pd.DataFrame({"n": late, "a": [np.nan, 0.0]}))
    assert filled["n"][0] == pd.Timestamp(late[0])
    assert filled["n"].notna().all()


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_later_chunks_widen_the_dtype_that_cannot_hold_them(library):
    pa = pytest.importorskip("pyarrow")
    make = {"pandas": pd.DataFrame, "polars": pl.from_pandas, "arrow": pa.table}
    convert = make[library]
    vae = VAETransformer(1, hidden_layer_sizes=(), random_state=0)
    vae.partial_fit(convert(make_held(np.arange(N, dtype=np.int8))))
    for _ in range(30):
        vae.partial_fit(convert(make_held(np.arange(N) * 900 // N)))
    drawn = np.asarray(vae.sample(200, random_state=0)["n"])
    assert drawn.dtype == np.int64
    assert (drawn == 127).mean() < 0.1
    vae.partial_fit(convert(make_held(np.arange(N) / 3)))
    drawn = np.asarray(vae.sample(200, random_state=0)["n"])
    assert drawn.dtype == np.float64
    assert (drawn != np.round(drawn)).any()


def test_later_chunks_are_refused_where_no_dtype_holds_all():
    vae = VAETransformer(1, hidden_layer_sizes=(), random_state=0)
    vae.partial_fit(make_held(HOURS.astype("m8[s]")))
    with pytest.raises(ValueError, match="convert the column before the first fit"):
        vae.partial_fit(make_held(HOURS / 1_000_000))
    vae.partial_fit(make_held(2 * HOURS))


def test_views_of_strings_are_categories():
    pa = pytest.importorskip("pyarrow", minversion="16")
    words = pa.array(["x", "y", None] * (N // 3), pa.string_view())
    table = pa.table({"word": words, "a": make_rows()[:, 0]})
    filled = fit(table).impute(table)
    assert filled["word"].to_pylist()[:2] == ["x", "y"]
    assert filled["word"].null_count == 0
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    vae = fit(frame)
    for rows in (vae.impute(frame), vae.reconstruct(frame), vae.sample(N)):
        assert (rows.dtypes == frame.dtypes).all()
        assert set(rows["word"].tolist()) == {"x", "y"}
