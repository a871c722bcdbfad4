"""Every container that the page on tables lists: what goes in, and what comes out.

xarray, narwhals and dask need not be installed.
"""

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import VAEOutlierDetector, VAETransformer

SMALL = {"hidden_layer_sizes": (), "max_epochs": 0, "random_state": 0}
# methods that return rows or cells like those of fit, and like those of the call
AS_FITTED = ("reconstruct", "impute")
AS_GIVEN = ("score_features", "explain")
PER_ROW = (
    "transform",
    "score_samples",
    "decision_function",
    "predict",
    "p_values",
    "posterior",
)
N = 40
TIMES = pd.date_range("2024-01-01", periods=N, freq="h", name="time")


def make_rows():
    g = np.random.default_rng(0)
    return (g.normal(size=(N, 2)) @ g.normal(size=(2, 3))).astype(np.float32)


def make_frame():
    return pd.DataFrame(make_rows(), columns=["red", "green", "blue"])


def make_labelled():
    xr = pytest.importorskip("xarray")
    coords = {
        "time": TIMES,
        "band": ["red", "green", "blue"],
        "nm": ("band", [700, 530, 470]),
    }
    return xr.DataArray(
        make_rows(), coords, ("time", "band"), name="light", attrs={"units": "W"}
    )


def make_narwhals(native):
    return pytest.importorskip("narwhals").from_native(native)


def make_dask():
    return pytest.importorskip("dask.array").from_array(make_rows(), chunks=7)


# the rows of the table in docs/user_guide/tables.md, and the type that comes back
CONTAINERS = {
    "array": (make_rows, "numpy.ndarray"),
    "list": (lambda: make_rows().tolist(), "numpy.ndarray"),
    "masked array": (lambda: np.ma.masked_array(make_rows()), "numpy.ndarray"),
    "memoryview": (lambda: memoryview(make_rows()), "numpy.ndarray"),
    "dask array": (make_dask, "numpy.ndarray"),
    "tensor": (lambda: torch.tensor(make_rows()), "numpy.ndarray"),
    "tensor with gradient": (
        lambda: torch.tensor(make_rows(), requires_grad=True),
        "numpy.ndarray",
    ),
    "pandas": (make_frame, "pandas.DataFrame"),
    "polars": (lambda: pl.DataFrame(make_frame()), "polars.DataFrame"),
    "pyarrow": (lambda: pa.Table.from_pandas(make_frame()), "pyarrow.Table"),
    "record batch": (lambda: pa.RecordBatch.from_pandas(make_frame()), "pyarrow.Table"),
    "narwhals of pandas": (lambda: make_narwhals(make_frame()), "narwhals.DataFrame"),
    "narwhals of polars": (
        lambda: make_narwhals(pl.DataFrame(make_frame())),
        "narwhals.DataFrame",
    ),
    "narwhals of pyarrow": (
        lambda: make_narwhals(pa.Table.from_pandas(make_frame())),
        "narwhals.DataFrame",
    ),
    "xarray": (make_labelled, "xarray.DataArray"),
}


def name_type(table):
    return f"{type(table).__module__.split('.')[0]}.{type(table).__name__}"


def to_array(table):
    """Return the numbers of a table of any library."""
    if hasattr(table, "to_native"):
        table = table.to_native()
    if hasattr(table, "column_names"):
        table = table.to_pandas()
    return table.numpy() if isinstance(table, torch.Tensor) else np.asarray(table)


def call(detector, X):
    """Return what every method makes of X, by name."""
    names = AS_FITTED + AS_GIVEN + PER_ROW
    found = {name: getattr(detector, name)(X) for name in names}
    found["posterior"] = found["posterior"][1]
    found["inverse_transform"] = detector.inverse_transform(found["transform"])
    found["sample"] = detector.sample(4, random_state=0)
    return found


@pytest.fixture(scope="module")
def expected():
    X = make_rows()
    return call(VAEOutlierDetector(n_components=1, **SMALL).fit(X), X)


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_goes_in_comes_out(container, expected):
    make, kind = CONTAINERS[container]
    X = make()
    detector = VAEOutlierDetector(n_components=1, **SMALL).fit(X)
    for name, result in call(detector, X).items():
        returned = "numpy.ndarray" if name in PER_ROW else kind
        assert name_type(result) == returned, name
        np.testing.assert_allclose(
            to_array(result), expected[name], rtol=1e-4, atol=1e-4, err_msg=name
        )
    assert isinstance(detector.score(X), float)
    names = [] if returned == "numpy.ndarray" else ["red", "green", "blue"]
    assert list(getattr(detector, "feature_names_in_", [])) == names


# scikit-learn cannot cut the others into folds
CUT = [
    name
    for name in CONTAINERS
    if name not in ("memoryview", "record batch") and not name.startswith("narwhals")
]


@pytest.mark.parametrize("container", CUT)
def test_cross_validation_takes_it(container):
    X = CONTAINERS[container][0]()
    assert np.isfinite(cross_val_score(VAETransformer(1, **SMALL), X, cv=2)).all()


def test_tables_of_another_container_than_at_fit_come_back_as_that_of_fit():
    vae = VAETransformer(1, **SMALL).fit(make_frame())
    arrow = pa.Table.from_pandas(make_frame())
    assert isinstance(vae.reconstruct(arrow), pd.DataFrame)
    assert isinstance(vae.score_features(arrow), pa.Table)


def test_arrow_tables_keep_what_pandas_knows_nothing_of(tmp_path):
    index = pd.RangeIndex(5, 65, name="row")
    X = pa.Table.from_pandas(pd.DataFrame({"a": np.arange(60.0)}, index=index))
    views = pa.array(["x", "y", None] * 20, pa.string_view())
    field = pa.field("v", pa.string_view(), metadata={"unit": "words"})
    X = X.append_column(field, views)
    codes = pa.array([1, 2] * 30, pa.int8())
    X = X.append_column(pa.field("b", pa.int8(), nullable=False), codes)
    vae = VAETransformer(1, max_epochs=1, random_state=0).fit(X)
    skvae.save(vae, tmp_path / "vae.skvae")
    vae = skvae.load(tmp_path / "vae.skvae")
    for rows in (vae.impute(X), vae.reconstruct(X)):
        assert rows.schema.equals(X.schema, check_metadata=True)
        assert rows.to_pandas().index.equals(index)
        assert pa.concat_tables([X, rows]).num_rows == 120
    for rows in (vae.sample(3), vae.inverse_transform(vae.transform(X)[:3])):
        assert rows.schema.equals(X.schema)
        assert rows.schema.field("v").metadata == {b"unit": b"words"}
        # the index is that of other rows
        assert rows.to_pandas().index.equals(pd.RangeIndex(3))


def test_arrow_tables_of_all_kinds_come_back_with_their_schema():
    X = pa.table(
        {
            "number": pa.array([1.5, None, 2.5, 4.0] * 10, pa.float32()),
            "count": pa.array([1, 2, None, 4] * 10, pa.int16()),
            "flag": pa.array([True, False, None, True] * 10),
            "text": pa.array(["a", None, "b", "a"] * 10),
            "level": pa.array(["u", "v", "u", None] * 10).dictionary_encode(),
            "day": pa.array([0, 17, None, 99] * 10, pa.date32()),
        }
    )
    vae = VAETransformer(1, **SMALL).fit(X)
    for table in (
        vae.impute(X),
        vae.sample(5, random_state=0),
        vae.reconstruct(X),
        vae.inverse_transform(vae.transform(X)),
    ):
        assert isinstance(table, pa.Table)
        assert table.schema.remove_metadata() == X.schema
    filled = vae.impute(X)
    for name in X.column_names:
        assert filled[name].null_count == 0
        known = X[name].is_valid()
        assert filled[name].filter(known).to_pylist() == X[name].drop_null().to_pylist()


def test_sparse_tables_come_back_dense():
    X = sp.csr_array(np.random.default_rng(0).poisson(0.5, (N, 3)))
    frame = pd.DataFrame.sparse.from_spmatrix(X)
    for table, kind in ((X, np.ndarray), (frame, pd.DataFrame)):
        vae = VAETransformer(1, likelihood="poisson", **SMALL).fit(table)
        assert type(vae.reconstruct(table)) is type(vae.sample(2)) is kind


# xarray -------------------------------------------------------------------------------


def test_labelled_arrays_keep_dimensions_coordinates_and_units():
    X = make_labelled()
    vae = VAETransformer(1, **SMALL).fit(X)
    assert list(vae.feature_names_in_) == ["red", "green", "blue"]
    holes = X.where(X < 1)
    for back in (vae.reconstruct(X), vae.impute(holes)):
        assert back.dims == X.dims
        assert back.dtype == np.float32
        assert (back.name, back.attrs) == ("light", {"units": "W"})
        for name in ("time", "band", "nm"):
            assert back[name].identical(X[name])
    assert not vae.impute(holes).isnull().any()
    cells = vae.score_features(X)
    assert cells.coords.equals(X.coords)
    assert cells.dtype == np.float64
    # nats are not in the unit of X
    assert (cells.name, cells.attrs) == (None, {})
    drawn = vae.sample(3, given={"green": 0.5}, random_state=0)
    assert drawn.dims == X.dims
    assert list(drawn["band"].values) == ["red", "green", "blue"]
    assert "time" not in drawn.coords
    assert (drawn.sel(band="green") == 0.5).all()
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(X[:, ::-1])


def test_labelled_arrays_survive_files_and_pickles(tmp_path):
    X = make_labelled()
    vae = VAETransformer(1, **SMALL).fit(X)
    skvae.save(vae, tmp_path / "vae")
    copies = skvae.load(tmp_path / "vae"), pickle.loads(pickle.dumps(vae))
    for copied in copies:
        assert copied.sample(2, random_state=0).identical(vae.sample(2, random_state=0))


def test_stacked_dimensions_come_back():
    xr = pytest.importorskip("xarray")
    g = np.random.default_rng(0)
    grid = xr.DataArray(
        g.normal(size=(N, 2, 3)), {"lat": [10.0, 20.0]}, ("time", "lat", "lon")
    )
    X = grid.stack(place=("lat", "lon"))
    vae = VAETransformer(1, **SMALL).fit(X)
    for rows in (vae.reconstruct(X), vae.sample(N, random_state=0)):
        assert rows.unstack("place").dims == grid.dims
    with pytest.raises(ValueError, match=r"X\.stack\(column=\('lat', 'lon'\)\)"):
        VAETransformer(1).fit(grid)
    with pytest.raises(ValueError, match=r"X\.expand_dims\('row'\)"):
        vae.transform(X[0])
    with pytest.raises(TypeError, match=r"Dataset.*X\.to_dataframe\(\)"):
        vae.transform(grid.to_dataset(name="t"))


def test_labelled_images_come_back():
    xr = pytest.importorskip("xarray")
    pixels = np.random.default_rng(0).integers(0, 9, (N, 1, 2, 3)).astype(np.uint8)
    X = xr.DataArray(pixels, {"n": range(N)}, ("n", "channel", "y", "x"))
    vae = VAETransformer(1, image_shape=(1, 2, 3), **SMALL).fit(X)
    assert vae.reconstruct(X).coords.equals(X.coords)
    drawn = vae.sample(2, random_state=0)
    assert (drawn.shape, drawn.dims, drawn.dtype) == ((2, 1, 2, 3), X.dims, np.uint8)
    assert vae.score_features(X).shape == (N, 6)


# narwhals -----------------------------------------------------------------------------


def test_frames_of_narwhals_keep_library_index_and_types():
    nw = pytest.importorskip("narwhals")
    stable = pytest.importorskip("narwhals.stable.v1")
    frame = make_frame().assign(level=pd.Categorical(["a", "b"] * (N // 2)))
    frame = frame.set_axis(range(100, 100 + N))
    vae = VAETransformer(1, **SMALL).fit(stable.from_native(frame))
    back = vae.reconstruct(stable.from_native(frame))
    assert isinstance(back, stable.DataFrame)
    assert back.to_native().index.equals(frame.index)
    assert (back.to_native().dtypes == frame.dtypes).all()
    assert isinstance(vae.score_features(nw.from_native(frame)), nw.DataFrame)
    lazy = nw.from_native(pl.DataFrame(make_frame()).lazy())
    with pytest.raises(TypeError, match=r"LazyFrame.*call collect\(\) first"):
        vae.transform(lazy)
    with pytest.raises(TypeError, match=r"Series.*frame\.select\(name\)"):
        vae.transform(nw.from_native(frame)["red"])


# tensors ------------------------------------------------------------------------------


@pytest.fixture
def dispatch():
    """Return a context of array API dispatch; skip where scikit-learn has none."""
    try:
        with config_context(array_api_dispatch=True):
            pass
    except ImportError as error:
        # before version 1.7
        pytest.skip(str(error))
    return lambda: config_context(array_api_dispatch=True)


@pytest.mark.parametrize("gradient", [False, True])
def test_tensors_come_back_under_array_api_dispatch(gradient, expected, dispatch):
    X = torch.tensor(make_rows(), requires_grad=gradient)
    detector = VAEOutlierDetector(n_components=1, **SMALL)
    with dispatch():
        found = call(detector.fit(X), X)
        scores, errors = detector.score_samples(X, return_std=True)
        assert isinstance(detector.score(X, sample_weight=torch.ones(N)), float)
        assert isinstance(detector.fit_predict(X), torch.Tensor)
    for name, result in {**found, "errors": errors}.items():
        assert isinstance(result, torch.Tensor), name
        assert not result.requires_grad
    for name, result in expected.items():
        assert found[name].numpy().dtype == result.dtype
        np.testing.assert_array_equal(found[name].numpy(), result)
    assert scores.dtype == torch.float64
    # fitted attributes are arrays
    with dispatch():
        weighted = clone(detector).fit(X, sample_weight=torch.arange(N))
    assert isinstance(weighted.decision_scores_, np.ndarray)
    # without it they are arrays, as those of scikit-learn's own estimators
    assert isinstance(detector.sample(2), np.ndarray)
    assert isinstance(detector.transform(X), np.ndarray)


def test_tensors_go_through_pipelines_as_with_pca(dispatch):
    X = torch.tensor(make_rows())
    with dispatch():
        for last in (PCA(1), VAETransformer(1, **SMALL)):
            pipe = make_pipeline(StandardScaler(), last).fit(X)
            Z = pipe.transform(X)
            rows = pipe.inverse_transform(Z)
            for result in (Z, rows, pipe.score_samples(X)):
                assert isinstance(result, torch.Tensor)
            assert isinstance(pipe.score(X), float)
        # other containers are not changed by it
        vae = VAETransformer(1, **SMALL).fit(make_frame())
        assert isinstance(vae.reconstruct(make_frame()), pd.DataFrame)
        assert isinstance(vae.transform(make_frame()), np.ndarray)
        named = VAETransformer(1, **SMALL).set_output(transform="pandas").fit(X)
        assert isinstance(named.transform(X), pd.DataFrame)


def test_images_of_tensors_come_back_as_tensors(dispatch):
    pixels = torch.randint(0, 9, (N, 1, 2, 3), dtype=torch.uint8)
    vae = VAETransformer(1, image_shape=(1, 2, 3), **SMALL)
    with dispatch():
        vae.fit(pixels)
        for images in (vae.reconstruct(pixels), vae.sample(2)):
            assert images.dtype == torch.uint8
            assert images.shape[1:] == (1, 2, 3)


# what is refused ----------------------------------------------------------------------


def fake(module, name, **methods):
    """Return an object of a library that is not installed."""
    cls = type(name, (), {"columns": ["a"], "shape": (9, 1), **methods})
    cls.__module__ = module
    return cls()


REFUSED = {
    "polars LazyFrame": (
        lambda: pl.DataFrame(make_frame()).lazy(),
        r"call collect\(\)",
    ),
    "dask": (
        lambda: fake("dask.dataframe.core", "DataFrame", compute=len),
        r"dask's DataFrame.*call compute\(\) first",
    ),
    "modin": (
        lambda: fake("modin.pandas.dataframe", "DataFrame", modin=1),
        r"modin's DataFrame.*pass X\.modin\.to_pandas\(\)",
    ),
    "cudf": (
        lambda: fake("cudf.core.dataframe", "DataFrame", to_pandas=len),
        r"cudf's DataFrame.*pass X\.to_pandas\(\)",
    ),
    "ibis": (
        lambda: fake("ibis.expr.types.relations", "Table", to_pandas=len),
        r"Table.*pass X\.to_pandas\(\)",
    ),
    "pyspark": (
        lambda: fake("pyspark.sql.dataframe", "DataFrame", toPandas=len, collect=len),
        r"pyspark's DataFrame.*pass X\.toPandas\(\)",
    ),
    "duckdb": (
        lambda: fake("_duckdb", "DuckDBPyRelation", to_df=len),
        r"DuckDBPyRelation.*pass X\.to_df\(\)",
    ),
}


@pytest.mark.parametrize("container", REFUSED)
def test_tables_that_are_elsewhere_are_refused_with_the_way_out(container):
    make, message = REFUSED[container]
    vae = VAETransformer(1, **SMALL).fit(make_rows())
    for method in (VAETransformer(1).fit, vae.transform):
        with pytest.raises(TypeError, match=message) as caught:
            method(make())
        assert str(caught.value).count(". ") == 0


def test_dask_frames_are_refused():
    dd = pytest.importorskip("dask.dataframe")
    with pytest.raises(TypeError, match=r"call compute\(\) first"):
        VAETransformer(1).fit(dd.from_pandas(make_frame(), npartitions=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"red": 0.0}, r"Column 'red' has the sparse dtype Sparse\[float32, 0\.?0?\], "
         r"but column 'green' is dense.*to_dense"),
        ({"red": 0.0, "blue": 0.0}, "Column 'red'.*as have 1 more, but column 'green'"),
        (dict.fromkeys(["red", "green", "blue"], np.nan), "what is not stored.* is 0"),
    ],
)  # fmt: skip
def test_frames_of_some_sparse_columns_are_refused(changes, message):
    dtypes = {name: pd.SparseDtype("float32", v) for name, v in changes.items()}
    frame = make_frame().astype(dtypes)
    with pytest.raises(TypeError, match=message):
        VAETransformer(1).fit(frame)


def test_libraries_are_not_imported_for_tables_of_others():
    code = (
        "import sys; from skvae import VAETransformer; import numpy as np; "
        "vae = VAETransformer(1, max_epochs=0).fit(np.random.rand(30, 3)); "
        "vae.sample(2); print('xarray' in sys.modules, 'polars' in sys.modules)"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]
