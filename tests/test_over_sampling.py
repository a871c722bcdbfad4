"""New rows of rare classes, by the conventions of imbalanced-learn."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import skvae
from skvae import VAEOverSampler, VAETransformer
from skvae.datasets import make_mixed

SMALL = VAETransformer(
    2, density="joint", max_epochs=2, hidden_layer_sizes=(8,), early_stopping=False
)
# training of two epochs
pytestmark = [
    pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning"),
]
N, N_RARE = 90, 24


def make_sampler(**params):
    return VAEOverSampler(estimator=clone(SMALL), random_state=0, **params)


@pytest.fixture
def labels():
    return np.where(np.arange(N) % 4 == 0, "rare", "usual")[:N]


def make_numbers(dtype=float):
    g = np.random.default_rng(0)
    X = g.normal(size=(N, 2)) @ g.normal(size=(2, 3)) + g.normal(size=(N, 3))
    return (8 * X).round().astype(dtype)


def make_frame():
    """A table of all kinds of columns, with missing cells and an index."""
    frame = make_mixed(n_samples=N, random_state=0)
    frame.loc[::5, "income"] = np.nan
    frame.loc[::8, "region"] = None
    frame["day"] = pd.date_range("2024-01-01", periods=N)
    return frame.set_axis(range(100, 100 + N))


# conventions --------------------------------------------------------------------------


def list_checks():
    """Return imbalanced-learn's checks of samplers, none where it is not installed."""
    try:
        from imblearn.utils.estimator_checks import parametrize_with_checks
    except ImportError:
        return []
    cases = parametrize_with_checks([make_sampler()]).mark.args[1]
    return [check for _, check in map(list, cases)]


# they fit toy tables, whose warnings are not ours to choose
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", list_checks(), ids=lambda check: check.func.__name__)
def test_imbalanced_learns_own_checks(check):
    check(make_sampler())


def test_only_the_call_needs_imbalanced_learn(monkeypatch):
    code = "import sys, skvae; skvae.VAEOverSampler(); print('imblearn' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "imblearn", None)
    monkeypatch.setitem(sys.modules, "imblearn.utils", None)
    with pytest.raises(ImportError, match="pip install imbalanced-learn"):
        VAEOverSampler().fit_resample(make_numbers(), np.arange(N) % 2)


def test_classes_are_balanced_and_rows_kept(labels):
    pytest.importorskip("imblearn")
    X, sampler = make_numbers(), make_sampler()
    drawn, y = sampler.fit_resample(X, labels)
    assert Counter(y) == dict.fromkeys(["rare", "usual"], (labels == "usual").sum())
    np.testing.assert_array_equal(drawn[:N], X)
    np.testing.assert_array_equal(y[:N], labels)
    assert set(y[N:]) == {"rare"}
    assert sampler.sampling_strategy_ == {"rare": len(y) - N}
    assert list(sampler.estimators_) == ["rare"]
    assert sampler.n_features_in_ == 3
    again, _ = clone(sampler).fit_resample(X, labels)
    np.testing.assert_array_equal(again, drawn)
    other, _ = clone(sampler).set_params(random_state=1).fit_resample(X, labels)
    assert not np.array_equal(other, drawn)


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("not majority", {0: 60, 1: 60, 2: 60}),
        ("minority", {0: 60, 1: 20, 2: 60}),
        ({1: 33}, {0: 60, 1: 33, 2: 10}),
        (lambda y: {2: 11}, {0: 60, 1: 20, 2: 11}),
        ("all", {0: 60, 1: 60, 2: 60}),
    ],
)
def test_strategies_are_those_of_imbalanced_learn(strategy, counts):
    pytest.importorskip("imblearn")
    y = np.repeat([0, 1, 2], [60, 20, 10])
    _, drawn = make_sampler(sampling_strategy=strategy).fit_resample(make_numbers(), y)
    assert Counter(drawn) == counts


def test_ratio_of_two_classes(labels):
    pytest.importorskip("imblearn")
    _, y = make_sampler(sampling_strategy=0.5).fit_resample(make_numbers(), labels)
    assert Counter(y)["rare"] == Counter(y)["usual"] // 2


def test_it_works_in_pipelines_and_searches(labels):
    pytest.importorskip("imblearn")
    from imblearn.pipeline import make_pipeline

    pipe = make_pipeline(make_sampler(), LogisticRegression())
    grid = {"vaeoversampler__estimator__n_components": [1, 2]}
    search = GridSearchCV(pipe, grid, cv=2, scoring="balanced_accuracy")
    search.fit(make_numbers(), labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # resampled in fit alone
    assert search.predict(make_numbers()).shape == (N,)


def test_rows_are_drawn_from_their_class():
    pytest.importorskip("imblearn")
    g = np.random.default_rng(0)
    y = np.repeat([0, 1], [300, 60])
    X = g.normal(size=(360, 4)) + 6 * y[:, None]
    drawn, target = VAEOverSampler(random_state=0).fit_resample(X, y)
    new = drawn[360:]
    assert (target[360:] == 1).all()
    assert (new > 2).all()
    assert np.abs(new.mean(axis=0) - 6).max() < 0.6
    assert np.abs(new.std(axis=0) - 1).max() < 0.4


# containers ---------------------------------------------------------------------------


def test_frames_keep_dtypes_and_their_share_of_missing_cells(labels):
    pytest.importorskip("imblearn")
    frame, target = make_frame(), pd.Series(labels, name="label", dtype="category")
    drawn, y = make_sampler().fit_resample(frame, target)
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(drawn[:N], frame.reset_index(drop=True))
    assert y.name == "label"
    assert y.dtype == target.dtype
    assert drawn.index.equals(y.index)
    new, rare = drawn[N:], frame[labels == "rare"]
    assert not new[["age", "visits", "day"]].isna().any(axis=None)
    for name in ("income", "region"):
        assert abs(new[name].isna().mean() - rare[name].isna().mean()) < 0.2
    assert new["region"].isna().any()
    known = new["region"].dropna()
    assert set(known) <= set(rare["region"].dropna())


def to_polars(frame):
    return pl.from_pandas(frame.reset_index(drop=True))


def to_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()


CONTAINERS = {"polars": (to_polars, pl.Series), "pyarrow": (to_arrow, pa.array)}


@pytest.mark.parametrize("container", CONTAINERS)
def test_other_frames_come_back_as_such(container, labels):
    pytest.importorskip("imblearn")
    convert, make_target = CONTAINERS[container]
    X, y = convert(make_frame()), make_target(labels)
    drawn, target = make_sampler().fit_resample(X, y)
    assert type(drawn) is type(X)
    assert len(drawn) == len(target) > N
    assert drawn.schema == X.schema
    assert drawn[:N].equals(X) if container == "polars" else drawn.slice(0, N).equals(X)
    assert set(target.to_pylist() if container == "pyarrow" else target) == {
        "rare",
        "usual",
    }


@pytest.mark.parametrize(
    "dtype", ["float32", "int16", "bool", "int64", object, ">f8", "U"]
)
def test_arrays_keep_their_dtype(dtype, labels):
    pytest.importorskip("imblearn")
    X = make_numbers()
    X = np.where(X > 0, "yes", "no") if dtype == "U" else X.astype(dtype)
    drawn, y = make_sampler().fit_resample(X, labels)
    assert drawn.dtype == X.dtype
    assert y.dtype == labels.dtype
    assert len(drawn) == len(y) > N
    if dtype in ("int16", "int64"):
        assert drawn[N:].min() >= X.min()


def test_lists_masks_tensors_sparse_and_labelled_tables(labels):
    pytest.importorskip("imblearn")
    X = make_numbers()
    rows, y = make_sampler().fit_resample(X.tolist(), labels.tolist())
    assert type(rows) is type(y) is list
    assert type(rows[-1]) is list
    masked = np.ma.masked_array(X, mask=np.random.default_rng(0).random(X.shape) < 0.2)
    drawn, _ = make_sampler().fit_resample(masked, labels)
    assert 0.05 < np.isnan(drawn[N:]).mean() < 0.4
    target = torch.arange(N) % 4 > 0
    for dispatch, kind in ((False, np.ndarray), (True, torch.Tensor)):
        with config_context(array_api_dispatch=dispatch):
            drawn, y = make_sampler().fit_resample(torch.tensor(X), target)
        assert isinstance(drawn, kind)
        assert isinstance(y, kind)
    for kind in (sp.csr_array, sp.csc_matrix, sp.coo_array):
        matrix = kind(np.abs(X))
        if kind is sp.coo_array:
            matrix = matrix.tocsr()
        drawn, _ = make_sampler().fit_resample(matrix, labels)
        assert type(drawn) is type(matrix)
    frame = pd.DataFrame(X).astype({0: pd.SparseDtype(float, 0)})
    drawn, _ = make_sampler().fit_resample(frame, labels)
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)


def test_labelled_arrays_and_narwhals(labels):
    pytest.importorskip("imblearn")
    nw = pytest.importorskip("narwhals")
    drawn, _ = make_sampler().fit_resample(nw.from_native(make_frame()), labels)
    assert isinstance(drawn, nw.DataFrame)
    xr = pytest.importorskip("xarray")
    X = xr.DataArray(make_numbers(), {"band": list("abc")}, ("time", "band"))
    drawn, _ = make_sampler().fit_resample(X, labels)
    assert drawn.dims == X.dims
    assert list(drawn["band"].values) == list("abc")


def test_images_are_drawn(labels):
    pytest.importorskip("imblearn")
    X = np.random.default_rng(0).integers(0, 9, (N, 1, 2, 3)).astype(np.uint8)
    sampler = make_sampler().set_params(estimator__image_shape=(1, 2, 3))
    drawn, y = sampler.fit_resample(X, labels)
    assert drawn.shape[1:] == (1, 2, 3)
    assert drawn.dtype == np.uint8
    assert len(drawn) == len(y)


# bad input ----------------------------------------------------------------------------


def test_errors_name_the_class_and_the_way_out(labels):
    pytest.importorskip("imblearn")
    X = make_numbers()
    with pytest.raises(ValueError, match=r"Class 1 has one row.*RandomOverSampler"):
        make_sampler().fit_resample(X, np.eye(1, N, dtype=int)[0])
    holes = X.copy()
    holes[labels == "rare", 1] = np.nan
    with pytest.raises(ValueError, match=r"class 'rare'.*no observed value"):
        make_sampler().fit_resample(holes, labels)
    with pytest.raises(TypeError, match=r"estimator=.*must be a VAETransformer"):
        VAEOverSampler(estimator=LogisticRegression()).fit_resample(X, labels)
    with pytest.raises(ValueError, match="requires y"):
        make_sampler().fit_resample(X, None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_sampler().fit_resample(X, labels[:-1])
    with pytest.raises(ValueError, match="random_state=-1"):
        make_sampler().set_params(random_state=-1).fit_resample(X, labels)
    with pytest.raises(ValueError, match="Column 'a' occurs 2 times"):
        make_sampler().fit_resample(pd.DataFrame(X[:, :2], columns=["a", "a"]), labels)
    with pytest.raises(TypeError, match=r"collect\(\)"):
        make_sampler().fit_resample(pl.DataFrame(X).lazy(), labels)


def test_it_is_listed():
    assert "VAEOverSampler" in dir(skvae)
