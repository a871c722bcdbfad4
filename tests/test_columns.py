"""Tables as they come: kinds of column, codes, missing cells, refusals, units."""

import copy
import pickle
import re
import warnings
from datetime import date, time
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import UnknownCategoriesWarning, UnlikelyLevelsWarning, VAETransformer
from skvae._closed_form._moments import compute_moments
from skvae._columns import ColumnTable, _validation, check_support
from skvae._columns._checks import check_exact_integers, check_finite, check_observed
from skvae._columns._containers import convert_lists
from skvae._columns._kinds import Boolean, Category, Integer, Number, OrderedCategory
from skvae._columns._reading import read_table
from skvae._columns._support import ALTERNATIVES
from skvae.datasets import make_factors
from skvae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Beta,
    Categorical,
    LogNormal,
    PerColumn,
    Poisson,
)

WORDS = ["red", None, "blue", "red"]
FLAGS = [True, None, False, True]
WHOLE = [1, None, 3, -4]
REALS = [1.5, None, -2.25, 0.0]
COLOURS = ["green", "red", "blue"]


def make_pandas_columns():
    declared = pd.CategoricalDtype(COLOURS)
    ordered = pd.CategoricalDtype(COLOURS, ordered=True)
    cases = {
        "float64": (REALS, "float64", Number),
        "float32": (REALS, "float32", Number),
        "int64": ([1, 2, 3, -4], "int64", Integer),
        "uint8": ([1, 2, 3, 255], "uint8", Integer),
        "bool": ([True, False, False, True], "bool", Boolean),
        "Int64": (WHOLE, "Int64", Integer),
        "Int8": (WHOLE, "Int8", Integer),
        "Float32": (REALS, "Float32", Number),
        "boolean": (FLAGS, "boolean", Boolean),
        "object of floats": (REALS, object, Number),
        "object of several numbers": ([Decimal("1.5"), 2, 0.5, None], object, Number),
        "object of integers": (WHOLE, object, Integer),
        "object of booleans": (FLAGS, object, Boolean),
        "object of strings": (WORDS, object, Category),
        "str": (WORDS, "str", Category),
        "string": (WORDS, "string", Category),
        "declared": (WORDS, declared, Category),
        "ordered": (WORDS, ordered, OrderedCategory),
        "integer categories": ([3, None, 1, 3], "category", Category),
        "numeric strings": (["10", "9", None, "10"], object, Category),
        "one level": (["a", None, "a", "a"], "str", Category),
    }
    return {n: (pd.Series(v, dtype=d), k) for n, (v, d, k) in cases.items()}


def make_arrow_columns():
    pa = pytest.importorskip("pyarrow")
    dictionary = pa.dictionary(pa.int32(), pa.string())
    unsigned = pa.dictionary(pa.uint32(), pa.string())
    cases = {
        "int64": (WHOLE, pa.int64(), Integer),
        "int16": (WHOLE, pa.int16(), Integer),
        "float": (REALS, pa.float32(), Number),
        "double": (REALS, pa.float64(), Number),
        "halffloat": (REALS, pa.float16(), Number),
        "decimal": (
            [Decimal("1.50"), None, Decimal("2.25"), 0],
            pa.decimal128(9, 2),
            Number,
        ),
        "bool": (FLAGS, pa.bool_(), Boolean),
        "string": (WORDS, pa.string(), Category),
        "large_string": (WORDS, pa.large_string(), Category),
        "dictionary": (WORDS, dictionary, Category),
        "unsigned dictionary": (WORDS, unsigned, Category),
        "ordered dictionary": (
            WORDS,
            pa.dictionary(pa.int8(), pa.string(), ordered=True),
            OrderedCategory,
        ),
    }
    return {
        n: (pd.Series(v, dtype=pd.ArrowDtype(t)), k) for n, (v, t, k) in cases.items()
    }


POLARS_COLUMNS = {
    "Float64": (pl.Series(REALS, dtype=pl.Float64), Number),
    "Float32": (pl.Series(REALS, dtype=pl.Float32), Number),
    "Decimal": (pl.Series([Decimal("1.5"), None], dtype=pl.Decimal(9, 2)), Number),
    "Int64": (pl.Series(WHOLE, dtype=pl.Int64), Integer),
    "Int8": (pl.Series(WHOLE, dtype=pl.Int8), Integer),
    "UInt16": (pl.Series([1, None, 3], dtype=pl.UInt16), Integer),
    # from polars 1.18 on
    **(
        {"Int128": (pl.Series(WHOLE, dtype=pl.Int128), Integer)}
        if hasattr(pl, "Int128")
        else {}
    ),
    "Boolean": (pl.Series(FLAGS, dtype=pl.Boolean), Boolean),
    "String": (pl.Series(WORDS, dtype=pl.String), Category),
    "Categorical": (pl.Series(WORDS, dtype=pl.Categorical), Category),
    "Enum": (pl.Series(WORDS, dtype=pl.Enum(COLOURS)), Category),
}
PANDAS = list(make_pandas_columns())
ARROW = ["int64", "int16", "float", "double", "halffloat", "decimal", "bool", "string"]
ARROW += ["large_string", "dictionary", "unsigned dictionary", "ordered dictionary"]


def read_column(column, kind=None):
    """Return codes and kind of one column, called 'c'."""
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    values, kinds = read_table(
        make({"c": column}), None if kind is None else [kind], "V"
    )
    return np.asarray(values, dtype=float)[:, 0], kinds[0]


# round trips --------------------------------------------------------------------------


def assert_pandas_round_trip(column, kind_class):
    codes, kind = read_column(column)
    assert type(kind) is kind_class
    np.testing.assert_array_equal(np.isnan(codes), column.isna())
    np.testing.assert_array_equal(kind.to_codes(column)[0], codes)
    table = ColumnTable.from_input(
        pd.DataFrame({"c": column}), codes[:, None], None, False, True, None, [kind]
    )
    back = table.make_output(codes[:, None])["c"]
    pd.testing.assert_series_equal(back, column, check_names=False)


@pytest.mark.parametrize("name", PANDAS)
def test_column_of_pandas_comes_back(name):
    assert_pandas_round_trip(*make_pandas_columns()[name])


@pytest.mark.parametrize("name", ARROW)
def test_column_of_arrow_comes_back(name):
    assert_pandas_round_trip(*make_arrow_columns()[name])


@pytest.mark.parametrize("name", POLARS_COLUMNS)
def test_column_of_polars_comes_back(name):
    column, kind_class = POLARS_COLUMNS[name]
    codes, kind = read_column(column)
    assert type(kind) is kind_class
    np.testing.assert_array_equal(np.isnan(codes), column.is_null().to_numpy())
    table = ColumnTable.from_input(
        pl.DataFrame({"c": column}), codes[:, None], None, False, True, None, [kind]
    )
    back = table.make_output(codes[:, None])
    assert back.schema == {"c": column.dtype}
    assert back["c"].equals(column)


def test_mixed_frame_comes_back_with_index_names_and_types():
    columns = [column for column, _ in make_pandas_columns().values()]
    frame = pd.concat(columns, axis=1)
    frame.columns = ["twice", "twice", *range(len(columns) - 2)]
    frame.index = list("wxyz")
    values, kinds = read_table(frame, None, "V")
    table = ColumnTable.from_input(frame, values, None, False, True, None, kinds)
    back = table.make_output(values, frame)
    pd.testing.assert_frame_equal(back, frame)
    for other in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table)):
        pd.testing.assert_frame_equal(other.make_output(values, frame), frame)


def test_array_of_objects_comes_back_as_one():
    X = np.array([["red", 1.5, True], [None, 2.5, None], ["blue", np.nan, False]])
    assert X.dtype == object
    values, kinds = read_table(X, None, "V")
    assert [kind.name for kind in kinds] == ["category", "number", "boolean"]
    np.testing.assert_array_equal(
        values, [[1, 1.5, 1], [np.nan, 2.5, np.nan], [0, np.nan, 0]]
    )
    table = ColumnTable.from_input(X, values, None, False, True, None, kinds)
    back = table.make_output(values)
    assert back.dtype == object
    assert back.tolist() == [
        ["red", 1.5, True],
        [None, 2.5, None],
        ["blue", None, False],
    ]


def test_array_of_objects_that_are_numbers_gives_floats():
    X = np.array([[1, 2.5], [None, 3]], dtype=object)
    values, kinds = read_table(X, None, "V")
    assert values.dtype == float
    table = ColumnTable.from_input(X, values, None, False, True, None, kinds)
    assert table.make_output(np.ones((2, 2))).dtype == float


def test_lists_of_numbers_and_strings_keep_the_types():
    X = convert_lists([["a", 1.0], ["b", 2.0]])
    assert [kind.name for kind in read_table(X, None, "V")[1]] == ["category", "number"]
    assert convert_lists([[1, 2], [3, 4]]).dtype.kind == "i"
    ragged = [[1, 2], [3]]
    assert convert_lists(ragged) is ragged


def test_arrays_of_strings_are_those_of_objects():
    X = np.array([["a", "1"], ["b", "2"]])
    values, kinds = read_table(convert_lists(X), None, "V")
    assert [kind.levels for kind in kinds] == [["a", "b"], ["1", "2"]]
    np.testing.assert_array_equal(values, [[0, 0], [1, 1]])
    with pytest.raises(TypeError, match="Decode bytes to strings"):
        read_table(convert_lists(X.astype("S")), None, "V")
    column = X[:, 0]
    assert convert_lists(column) is column


def test_numbers_pass_without_a_copy():
    for dtype in (np.float32, np.float64, np.int16, np.uint8, bool):
        X = np.ones((5, 3), dtype=dtype)
        values, kinds = read_table(X, None, "V")
        assert values is X
        # one object, however many columns there are
        assert len({id(kind) for kind in kinds}) == 1
        assert read_table(X, kinds, "V")[0] is X
    for make in (pd.DataFrame, pl.DataFrame):
        frame = make({"a": [1, 2], "b": [0.5, 1.5]})
        assert read_table(frame, None, "V")[0] is frame


def test_kinds_name_their_default_likelihood():
    defaults = {Number: "auto", Integer: "auto", Boolean: "bernoulli"}
    defaults |= {Category: "categorical", OrderedCategory: "categorical"}
    for kind, likelihood in defaults.items():
        assert kind().likelihood == likelihood


# levels -------------------------------------------------------------------------------


def test_levels_are_those_declared_or_the_strings_sorted():
    columns = make_pandas_columns()
    assert read_column(columns["str"][0])[1].levels == ["blue", "red"]
    assert read_column(columns["declared"][0])[1].levels == COLOURS
    assert read_column(columns["ordered"][0])[1].levels == COLOURS
    # as strings: 10 comes before 9
    assert read_column(columns["numeric strings"][0])[1].levels == ["10", "9"]
    assert read_column(columns["one level"][0])[1].n_levels == 1
    assert read_column(POLARS_COLUMNS["Categorical"][0])[1].levels == ["blue", "red"]
    assert read_column(POLARS_COLUMNS["Enum"][0])[1].levels == COLOURS


def test_codes_are_rounded_and_cut_to_the_levels():
    kind = Category(np.dtype(object), ["a", "b", "c"])
    values = np.array([-3.0, 0.4, 1.6, 7.0, np.nan])
    assert kind.from_codes(values).tolist() == ["a", "a", "c", "c", None]


def test_integers_are_rounded_and_cut_to_their_type():
    values = np.array([-3.0, 0.6, 300.0])
    assert Integer(np.dtype("uint8")).from_codes(values).tolist() == [0, 1, 255]
    assert list(Integer(pd.Int8Dtype()).from_codes(values)) == [-3, 1, 127]
    assert Integer(pl.Int8()).from_codes(values).to_list() == [-3, 1, 127]


@pytest.mark.parametrize("make", ["object", "string", "category", "polars"])
def test_ten_thousand_levels_are_coded_in_order(make):
    rng = np.random.default_rng(0)
    names = [f"level {i:05}" for i in range(10_000)]
    codes = np.concatenate([np.arange(10_000), rng.integers(0, 10_000, 90_000)])
    words = np.array(names, dtype=object)[codes]
    if make == "polars":
        column = pl.Series(words.tolist())
    else:
        column = pd.Series(words, dtype=make)
    found, kind = read_column(column)
    np.testing.assert_array_equal(found, codes)
    assert kind.levels == names
    assert list(kind.from_codes(found)) == words.tolist()


# missing cells ------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, float("nan")])
def test_every_spelling_of_missing_is_missing(missing):
    for values in (
        ["a", missing, "b"],
        [1.5, missing, 2.0],
        [True, missing, False],
        [1, missing, 2],
    ):
        codes, _ = read_column(pd.Series(values, dtype=object))
        np.testing.assert_array_equal(np.isnan(codes), [False, True, False])


def test_both_spellings_of_polars_are_missing():
    codes, _ = read_column(pl.Series([1.0, None, float("nan")]))
    np.testing.assert_array_equal(codes, [1, np.nan, np.nan])


def test_columns_that_are_all_missing_are_read_whatever_their_type():
    codes, kind = read_column(pd.Series(["a", "b"]))
    for column in (
        pd.Series([np.nan, np.nan]),
        pd.Series([None, None], dtype=object),
        pd.Series([None, None], dtype="Int64"),
        pl.Series([None, None]),
        pl.Series([None, float("nan")]),
    ):
        codes, same = read_column(column, kind)
        assert same is kind
        assert np.isnan(codes).all()


# other columns than at fit ------------------------------------------------------------


def test_unknown_levels_are_missing_with_one_warning():
    frame = pd.DataFrame({"a": ["x", "y", "x"], "b": ["u", "v", "v"], "n": [1, 2, 3]})
    _, kinds = read_table(frame, None, "V")
    new = pd.DataFrame({"a": ["x", "q", None], "b": ["1", "2", "3"], "n": [1, 2, 3]})
    new["b"] = [f"level {i}" for i in range(3)]
    new = pd.concat([new, new.assign(b=["u", "level 3", "level 4"])])
    with pytest.warns(UnknownCategoriesWarning) as caught:
        values, _ = read_table(new, kinds, "V")
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "column 'a' ('q')" in message
    assert re.search(
        r"column 'b' \('level 0', 'level 1', 'level 2' and 2 more\)", message
    )
    assert "'n'" not in message
    expected = [[0, np.nan, 1], [np.nan, np.nan, 2], [np.nan, np.nan, 3]]
    np.testing.assert_array_equal(values[:3], expected)
    np.testing.assert_array_equal(values[3:, 1], [0, np.nan, np.nan])


ROWS = np.arange(60)
UNLIKELY = {
    "identifiers": ([f"u{i}" for i in ROWS], "own in column 'a' .60 levels in 60 rows"),
    "declared ones": (pd.Categorical([f"u{i}" for i in ROWS]), "own in column 'a'"),
    "nearly": ([f"u{max(i, 2)}" for i in ROWS], "own in column 'a' .58 levels in 60"),
    "digits": (
        [str(i % 5) for i in ROWS],
        r"in column 'a' .such as '0'.*float",
    ),
    "decimals": ([f"{i / 7:.3f}" for i in ROWS], "numbers in column 'a'.*'category'"),
    "with missing": ([None, *map(str, ROWS[1:])], "numbers in column 'a'"),
    "polars": (pl.Series([f"u{i}" for i in ROWS]), "own in column 'a'"),
}
LIKELY = {
    "declared digits": pd.Categorical([str(i % 5) for i in ROWS]),
    "words": [f"city {i % 30}" for i in ROWS],
    "some digits": [str(i % 5) if i % 2 else "none" for i in ROWS],
    "few rows": [f"u{i}" if i < 15 else None for i in ROWS],
    "numbers": ROWS + 0.5,
}


@pytest.mark.parametrize("name", UNLIKELY)
@pytest.mark.parametrize("is_stream", [False, True])
def test_identifiers_and_numbers_as_strings_are_warned_of_once(name, is_stream, quick):
    column, message = UNLIKELY[name]
    make = pl.DataFrame if isinstance(column, pl.Series) else pd.DataFrame
    X = make({"a": column, "b": np.sin(ROWS), "c": ["x", "y"] * 30})
    vae = quick(1, hidden_layer_sizes=())
    with pytest.warns(UnlikelyLevelsWarning, match=message) as caught:
        (vae.partial_fit if is_stream else vae.fit)(X)
    found = [w for w in caught if w.category is UnlikelyLevelsWarning]
    assert len(found) == 1
    assert "'c'" not in str(found[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnlikelyLevelsWarning)
        vae.transform(X)
        vae.partial_fit(X)


@pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")
@pytest.mark.parametrize("name", LIKELY)
def test_other_levels_are_not_warned_of(name, quick):
    X = pd.DataFrame({"a": LIKELY[name], "b": np.sin(ROWS)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnlikelyLevelsWarning)
        quick(1, hidden_layer_sizes=()).fit(X)


def test_levels_declared_but_absent_are_not_warned_of():
    _, kind = read_column(pd.Series(["red", "blue"]))
    other = pd.Series(["blue", None], dtype=pd.CategoricalDtype(COLOURS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes, _ = read_column(other, kind)
    np.testing.assert_array_equal(codes, [0, np.nan])


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        (pd.Series([1, 2]), pd.Series([2.0, 1.0])),
        (pd.Series([1.0, 2.0]), pd.Series([2, 1], dtype="Int64")),
        (pd.Series([1.0, 2.0]), pl.Series([2, 1])),
        (pd.Series([False, True]), pd.Series([True, False], dtype="boolean")),
        (pd.Series([False, True]), pd.Series([True, False], dtype=object)),
        (pd.Series([False, True]), pd.Series([1, 0])),
        (pd.Series([False, True]), pl.Series([True, False])),
        (pd.Series(["a", "b"]), pd.Series(["b", "a"], dtype="category")),
        (pd.Series(["a", "b"], dtype="category"), pd.Series(["b", "a"], dtype=object)),
        (pd.Series(["a", "b"], dtype="string"), pl.Series(["b", "a"])),
        (pl.Series(["a", "b"]), pd.Series(["b", "a"])),
        (pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])), pl.Series(["b", "a"])),
        (pl.Series(["a", "b"]), pl.Series(["b", "a"], dtype=pl.Categorical)),
        (pd.Series([1, 2], dtype="category"), pd.Series([2, 1])),
        (pd.Series([1, 2], dtype="category"), pl.Series([2.0, 1.0])),
    ],
)
def test_harmless_differences_of_type_are_accepted(fitted, given):
    codes, kind = read_column(fitted)
    np.testing.assert_array_equal(read_column(given, kind)[0], codes[::-1])


def test_arrays_are_coded_where_categories_are_numbers():
    frame = pd.DataFrame({"a": pd.Series([3, 7], dtype="category"), "b": [0.5, 1.5]})
    _, kinds = read_table(frame, None, "V")
    values, _ = read_table(np.array([[7, 2.0], [np.nan, 3.0]]), kinds, "V")
    np.testing.assert_array_equal(values, [[1, 2], [np.nan, 3]])


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (pd.Series([1.0, 2.0]), pd.Series(["a", "b"]), "was number.* is category now"),
        (pd.Series(["a", "b"]), pd.Series([1, 2]), "was category.* is integer now"),
        (pl.Series(["a", "b"]), pl.Series([1.5, 2]), "was category.* is number now"),
        (pd.Series([True, False]), pd.Series(["a", "b"]), "was boolean.* is category"),
        (pd.Series(["a", "b"]), pd.Series([True, False]), "was category.* is boolean"),
    ],
)
def test_columns_of_another_kind_are_refused(fitted, given, message):
    _, kind = read_column(fitted)
    with pytest.raises(TypeError, match=f"Column 'c' {message}"):
        read_column(given, kind)


# refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pd.Series(pd.period_range("2020", periods=2, freq="D")),
            "period.*datetimes.*to_timestamp",
        ),
        (pd.Series([date(2020, 1, 1)], dtype=object), "of type date.*to_datetime"),
        (pl.Series([time(12, 0)]), "dtype Time.*datetimes first"),
        (pd.Series([time(12, 0)]), r"of type time.*hours.*VonMises\(period=24\)"),
        (pd.Series([1j, 2]), "dtype complex128.*real and imaginary"),
        (pd.Series([b"a", b"b"]), "b'a'.*[Dd]ecode"),
        (pl.Series([b"a"]), "dtype Binary.*[Dd]ecode"),
        (pd.Series([1, "a", 2], dtype=object), "value 'a' of type str among.*number"),
        (pd.Series(["a", "b", 7], dtype=object), "value 7 of type int among.*str"),
        (pd.Series([True, 2, 3], dtype=object), "value True of type bool"),
        (pd.Series([[1], [2]], dtype=object), r"value \[1\] of type list"),
        (pd.Series([{"a": 1}, 1.0, 2.0], dtype=object), "value {'a': 1} of type dict"),
        (pl.Series([[1], [2]]), r"dtype List"),
        (pl.Series([{"a": 1}]), r"dtype Struct"),
        (pd.Series(pd.arrays.SparseArray([0.0, 1.0])), "sparse dtype.*to_dense"),
        (pd.Series(pd.interval_range(0, 2)), r"dtype interval.*astype\('category'\)"),
    ],
)
def test_columns_of_no_kind_are_refused_with_advice(column, message):
    with pytest.raises(TypeError, match=f"(?s)Column 'c' has.*({message})"):
        read_column(column)


@pytest.mark.parametrize("value", [2**53, -(2**53) - 1, 2**63 - 1])
@pytest.mark.parametrize("dtype", ["int64", "Int64", object, "polars"])
def test_integers_beyond_double_precision_are_refused(value, dtype):
    values = [1, value, 3]
    column = pl.Series(values) if dtype == "polars" else pd.Series(values, dtype=dtype)
    with pytest.raises(
        ValueError, match=f"Column 'c' has the value {value}, .*identif"
    ):
        read_column(column)
    for beside in ([0.5, 1, 2], ["a", "b", "c"]):
        make = pl.DataFrame if dtype == "polars" else pd.DataFrame
        with pytest.raises(ValueError, match=f"Column 'c' has the value {value}"):
            read_table(make({"b": beside, "c": column}), None, "V")


def test_integers_beyond_double_precision_are_refused_in_arrays():
    X = np.ones((3, 2), dtype=np.int64)
    check_exact_integers(X)
    X[2, 1] = np.iinfo(np.int64).min
    with pytest.raises(ValueError, match=f"Column 1 has the value {X[2, 1]}"):
        check_exact_integers(X)
    with pytest.raises(ValueError, match=f"Column 0 has the value {2**64 - 1}"):
        check_exact_integers(np.full((1, 1), 2**64 - 1, dtype=np.uint64))
    check_exact_integers(np.full((2, 2), 2**53 - 1))
    check_exact_integers(np.full((2, 2), 1e300))


def test_infinities_are_refused_and_nan_is_not():
    X = np.zeros((5, 3))
    X[1, 1] = np.nan
    check_finite(X)
    X[4, 2] = -np.inf
    with pytest.raises(ValueError, match="-inf in column 2, row 4"):
        check_finite(X)
    with pytest.raises(ValueError, match="column 'c'"):
        check_finite(X, list("abc"))


def test_columns_without_a_value_are_refused():
    X = np.ones((4, 3))
    X[:3, 1] = np.nan
    check_observed(X)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"no observed value in column 1.*4 values"):
        check_observed(X)


# the estimator ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_table_of_categories_is_fitted_and_comes_back(make, quick):
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 200)
    second = np.where(rng.uniform(size=200) < 0.8, first, rng.integers(0, 3, 200))
    names = np.array(COLOURS)
    frame = make({"a": names[first].tolist(), "b": names[second].tolist()})
    vae = quick(1).fit(frame)
    drawn = vae.sample(20, random_state=0)
    assert isinstance(drawn, make)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert set(drawn["a"]) <= set(COLOURS)
    with pytest.raises(TypeError, match="Column 'b' was category at fit"):
        vae.transform(make({"a": ["red"], "b": [1.0]}))
    with pytest.raises(ValueError, match=r"(?i)feature"):
        vae.transform(make({"a": ["red"]}))


def test_validation_set_is_read_with_the_kinds_of_the_table(quick):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.choice(COLOURS, 100), "b": rng.choice(COLOURS, 100)})
    vae = quick(1).fit(frame.replace("red", "other"))
    valid = frame[frame["a"] != "red"]
    vae.fit(frame, X_val=valid.astype("category"))
    assert vae.columns_.kinds[0].levels == sorted(COLOURS)


def test_empty_frames_have_scikit_learns_messages(quick):
    with pytest.raises(ValueError, match="0 sample"):
        quick().fit(pd.DataFrame({"a": pd.Series([], dtype=object), "b": []}))
    with pytest.raises(ValueError, match="0 feature"):
        quick().fit(pd.DataFrame(index=range(5)))


def test_columns_without_a_value_are_named_in_a_frame(quick, X):
    for empty in ([None] * 200, [np.nan] * 200, [pd.NA] * 200):
        frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
        frame["c"] = pd.Series(empty, dtype=object)
        with pytest.raises(ValueError, match="no observed value in column 'c'"):
            quick().fit(frame)


@pytest.mark.parametrize("other", [1.0, "red"])
def test_names_that_come_twice_are_refused(quick, X, other):
    frame = pd.DataFrame(X[:, :3], columns=["a", "a", "b"]).assign(c=other)
    with pytest.raises(ValueError, match="Column 'a' occurs 2 times"):
        quick().fit(frame)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"d": 2.5}, "'d' cannot be 2.5; an integer"),
        ({"c": "yes"}, "'c' cannot be 'yes'; True"),
        ({"b": "violet"}, "'b' cannot be 'violet'; its levels are 'blue', 'red'"),
        ({"a": np.inf}, "'a' cannot be inf; a finite"),
        ({"e": 1}, "'e', but X has no such column"),
    ],
)
def test_given_values_that_columns_cannot_have_are_refused(quick, given, message):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": rng.normal(size=50),
            "b": rng.choice(["red", "blue"], 50),
            "c": rng.random(50) < 0.5,
            "d": rng.integers(0, 4, 50),
        }
    )
    with pytest.raises(ValueError, match=message):
        quick().fit(frame).sample(given=given)


def test_parts_that_know_nothing_of_a_column_are_no_hindrance(quick, X):
    frame = pd.DataFrame(X[:40, :2], columns=["a", "b"])
    frame["rare"] = [1.0, 2.0] + [None] * 38
    frame["kind"] = ["u", "v"] + [None] * 38
    vae = quick().fit(frame)
    assert not vae.impute(frame).isna().any().any()
    quick().fit(frame[:3])


# units --------------------------------------------------------------------------------


def make_incomplete(n_samples=2000, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 4)) * [1, 1e-3, 1e5, 2] + [0, 1e3, -5, 7]
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    X[:5, 0] = np.nan
    X[:, 3] = np.abs(X[:, 3])
    return X.astype(dtype), rng.uniform(0.1, 2, n_samples)


def make_table(X, is_scaled=True, weight=None):
    _, kinds = read_table(X, None, "V")
    return ColumnTable.from_input(X, X, weight, is_scaled, True, None, kinds)


def test_encoded_cells_are_standardised_and_missing_ones_stay():
    X, weight = make_incomplete()
    table = make_table(X, weight=weight)
    x = table.encode(X)
    np.testing.assert_array_equal(np.isnan(x), np.isnan(X))
    mean, deviation = compute_moments(x, weight)
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    np.testing.assert_allclose(deviation, 1, rtol=1e-9)
    np.testing.assert_allclose(table.decode(x), X, rtol=1e-12)


def test_columns_that_are_not_scaled_keep_their_values_and_never_are_constant():
    X, _ = make_incomplete()
    X[:, 1] = 3.0
    X[:, 3] = 5.0
    table = make_table(X, np.array([True, False, True, True]))
    np.testing.assert_array_equal(table.varies, [True, True, True, False])
    assert (table.location[1], table.unit[1]) == (0, 1)
    np.testing.assert_array_equal(table.constant.values, [5.0])
    np.testing.assert_array_equal(table.encode(X)[:, 1], 3.0)
    np.testing.assert_allclose(table.unit[[0, 2]], np.nanstd(X[:, [0, 2]], axis=0))


def test_constant_columns_with_missing_values_are_constant():
    X, _ = make_incomplete()
    X[:, 2] = np.where(np.isnan(X[:, 2]), np.nan, 5.0)
    X[0, 2] = np.nan
    table = make_table(X)
    np.testing.assert_array_equal(table.varies, [True, True, False, True])
    np.testing.assert_array_equal(table.constant.values, [5.0])
    scores = table.constant.score(X[:, [2]])[:, 0]
    is_missing = np.isnan(X[:, 2])
    np.testing.assert_array_equal(scores[is_missing], 0)
    chance = 1 / ((~is_missing).sum() + 2)
    # a narrow and a wide normal, both at their peak
    known = np.log(((1 - chance) / 5e-6 + chance / 5) / np.sqrt(2 * np.pi))
    np.testing.assert_allclose(scores[~is_missing], known, rtol=1e-12)
    assert table.constant_log_density == pytest.approx(scores.mean(), rel=1e-9)
    np.testing.assert_array_equal(table.decode(table.encode(X))[:, 2], 5.0)


def test_table_of_constants_with_missing_values_is_kept_as_noise():
    X = np.array([[1.0, np.nan], [1.0, 4.0], [np.nan, 4.0]])
    table = make_table(X)
    assert table.varies.all()
    np.testing.assert_array_equal(table.unit, [1.0, 4.0])


def test_table_of_constants_scores_them_all_as_constant_columns():
    X = np.repeat([[1.0, 4.0]], 48, axis=0)
    table = make_table(X)
    assert table.all_constant
    new = np.array([[1.0, 4.0], [1.5, np.nan], [1.0, 12.0]])
    # beside a column that varies, they are constant columns as ever
    beside = make_table(np.column_stack([X, np.arange(48)]))
    expected = beside.constant.score(new)
    np.testing.assert_array_equal(
        table.convert_cell_scores(np.zeros((3, 2)), new), expected
    )
    scores = table.convert_scores(np.zeros(3), new)
    np.testing.assert_array_equal(scores, expected.sum(axis=1))
    assert scores[1] > -20


def test_log_volume_counts_the_observed_cells_of_a_row():
    X, weight = make_incomplete()
    X[0] = np.nan
    table = make_table(X, weight=weight)
    volume = -table.convert_scores(np.zeros(len(X)), X)
    assert volume[0] == 0
    seen = ~np.isnan(X)
    np.testing.assert_allclose(volume, (seen * np.log(table.unit)).sum(axis=1))
    complete = X[seen.all(axis=1)]
    scores = table.convert_scores(np.zeros(len(complete)), complete)
    np.testing.assert_array_equal(scores, -table.log_volume)
    np.testing.assert_allclose(table.log_volume, np.log(table.unit).sum())
    cells = table.convert_cell_scores(np.zeros(X.shape), X)
    np.testing.assert_allclose(cells.sum(axis=1), -volume)
    expected = np.average(volume, weights=weight)
    assert table.expected_log_volume == pytest.approx(expected, rel=1e-9)


def test_table_shows_itself_column_by_column():
    frame = pd.DataFrame(
        {"age": [20.0, 40.0, None], "sex": ["F", "M", "F"], "same": [2.0, 2.0, 2.0]}
    )
    values, kinds = read_table(frame, None, "V")
    scaled = np.array([True, False, True])
    table = ColumnTable.from_input(frame, values, None, scaled, True, None, kinds)
    table.likelihoods = ["gaussian", "categorical", None]
    shown = table.to_frame()
    assert list(shown.index) == ["age", "sex", "same"]
    assert list(shown["kind"]) == ["number", "category", "number"]
    assert list(shown["likelihood"])[:2] == ["gaussian", "categorical"]
    assert shown.loc["sex", "levels"] == "2: F, M"
    assert shown.loc["age", "location"] == 30
    assert shown.loc["age", "unit"] == 10
    assert shown.loc["same", "unit"] == 0
    assert shown.loc["age", "missing"] == pytest.approx(1 / 3)
    text = repr(table)
    assert len(text.splitlines()) == 6
    for part in ("age", "number", "gaussian", "2: F, M"):
        assert part in text


# support ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likelihood", "values", "value", "advice"),
    [
        (Bernoulli(), [0, 1, 0.625], "0.625", "continuous_bernoulli"),
        (Bernoulli(), [0, 3, 1], "3", "poisson"),
        # none is recommended that does not accept the whole column
        (Bernoulli(), [0, 0.5, -7], "0.5", None),
        (Beta(), [0.5, 1, np.nan], "1", "continuous_bernoulli"),
        (Poisson(), [3, -1, 2], "-1", None),
        (Poisson(), [3, 0.5, 2], "0.5", "log_normal"),
        (Poisson(), [3, 0.5, 0], "0.5", "hurdle_log_normal"),
        (LogNormal(), [0, 3, 1], "0", "poisson"),
        (LogNormal(), [0, 0.5, 1], "0", "hurdle_log_normal"),
        (Categorical(3), [0, 3, 1], "3", None),
    ],
)
def test_values_outside_the_support_are_refused_with_advice(
    likelihood, values, value, advice
):
    X = np.column_stack([[0, 1, 1], values])
    message = (
        f"Column 1 has the value {value}, but likelihood={type(likelihood).__name__} "
        f"accepts {likelihood.support.words}"
    )
    if advice is not None:
        message += f"; for {ALTERNATIVES[advice].words} use likelihood={advice!r}"
    chosen = np.array([False, True])
    likelihood = PerColumn([likelihood], [[0]])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}\\.$"):
        check_support(likelihood, X, None, chosen)
    with pytest.raises(ValueError, match=f"^Column 'visits' has the value {value}"):
        check_support(likelihood, X, ["age", "visits"], chosen)


@pytest.mark.parametrize(("white", "divisor"), [(15, 16), (16, 16), (200.5, 255)])
def test_grey_values_are_no_bits(white, divisor):
    X = np.array([[0.0, 3.0], [1.0, white], [0.0, 0.0]])
    likelihood = PerColumn([Bernoulli()], [[0, 1]])
    advice = f"divide X by {divisor} and use likelihood='continuous_bernoulli'"
    with pytest.raises(ValueError, match=f"Column 1 has the value 3.*{advice}"):
        check_support(likelihood, X, None, slice(None))


def test_alternatives_are_the_supports_of_their_likelihoods():
    for name, support in ALTERNATIVES.items():
        assert LIKELIHOODS[name]().support is support
    for likelihood in LIKELIHOODS.values():
        assert set(likelihood().support.alternatives) <= set(ALTERNATIVES)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_levels_of_rows_without_weight_are_unknown(make):
    g = np.random.default_rng(0)
    words, x = g.choice(["a", "b", "x"], 80, p=[0.4, 0.2, 0.4]), g.normal(size=80)
    weight, kept = np.where(words == "b", 0.0, 1.0), words != "b"
    X, counted = make({"w": words, "x": x}), make({"w": words[kept], "x": x[kept]})
    first, other = (VAETransformer(1, max_epochs=2, random_state=0) for _ in range(2))
    first.fit(X, sample_weight=weight)
    other.fit(counted)
    assert first.columns_.kinds[0].levels == ["a", "x"]
    np.testing.assert_array_equal(
        first.score_samples(counted), other.score_samples(counted)
    )
    with pytest.warns(UnknownCategoriesWarning, match="'b'"):
        assert set(first.impute(X)["w"]) == {"a", "x"}
    first.partial_fit(counted).partial_fit(counted, sample_weight=weight[kept])
    assert first.columns_.kinds[0].levels == ["a", "x"]


def test_declared_levels_of_rows_without_weight_are_known():
    words = pd.Series(["a", "b", "x", "x"] * 10, dtype="category")
    X = pd.DataFrame({"w": words, "x": np.arange(40.0)})
    vae = VAETransformer(1, max_epochs=1, random_state=0)
    vae.fit(X, sample_weight=words != "b")
    assert vae.columns_.kinds[0].levels == ["a", "b", "x"]


def test_missing_values_are_inside_every_support():
    X = np.full((3, 2), np.nan)
    for likelihood in LIKELIHOODS.values():
        check_support(PerColumn([likelihood()], [[0, 1]]), X, None, slice(None))


def test_plain_tables_of_floats_are_read_without_a_second_check(monkeypatch):
    X, _ = make_factors(60, 4, random_state=0)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    vae = VAETransformer(2, max_epochs=1, density=None, random_state=0).fit(frame)
    scores = vae.score_samples(frame)
    others = frame.astype("Float64"), frame[["b", "a", "c", "d"]]
    np.testing.assert_array_equal(vae.score_samples(others[0]), scores)
    with pytest.raises(ValueError, match="feature names"):
        vae.score_samples(others[1])
    with pytest.raises(ValueError, match="inf in column 'b', row 3"):
        vae.score_samples(frame.mask(frame == frame.loc[3, "b"], np.inf))

    def check(*args, **kwargs):
        raise AssertionError("checked")

    monkeypatch.setattr(_validation, "validate_data", check)
    np.testing.assert_array_equal(vae.score_samples(frame), scores)
    # other dtypes, orders and containers take the way of all tables
    for other in (*others, X):
        with pytest.raises(AssertionError, match="checked"):
            vae.score_samples(other)
