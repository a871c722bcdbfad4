"""Tables that are larger than memory: rows stay on their disk, and are read there."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._columns import ColumnTable, EncodedRows
from skvae._columns._reading import read_table
from skvae._training import _fit, _starting_point
from skvae.datasets import make_factors


@pytest.fixture
def small_limits(monkeypatch):
    """Treat tables of some thousand cells as if they were too large for memory."""
    monkeypatch.setattr(_starting_point, "_MAX_TABLE_BYTES", 0)
    monkeypatch.setattr(_fit, "_MAX_INIT_CELLS", 12_000)


@pytest.fixture(scope="module")
def X():
    X = 10 * make_factors(6000, 6, n_components=2, random_state=0)[0] + 100
    return X.astype(np.float32)


def fit(X, **parameters):
    shared = {"density": "joint", "hidden_layer_sizes": (16,), "max_epochs": 5}
    return VAETransformer(2, **shared, random_state=0, **parameters).fit(X)


def test_model_is_as_good_as_that_of_rows_in_memory(X, small_limits, monkeypatch):
    lazy = fit(X)
    monkeypatch.undo()
    assert lazy.score(X) == pytest.approx(fit(X).score(X), abs=0.05)


def test_rows_are_read_where_they_are(X, small_limits, tmp_path, monkeypatch):
    made = []

    class Watched(_starting_point.LazyTable):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(_starting_point, "LazyTable", Watched)
    table = np.memmap(tmp_path / "table", "float32", mode="w+", shape=X.shape)
    table[:] = X
    mapped = fit(table)
    (rows,) = made
    assert rows.shape == X.shape
    np.testing.assert_array_equal(mapped.score_samples(X), fit(X).score_samples(X))


@pytest.mark.parametrize("loads", [False, True])
def test_weights_and_validation_sets_come_along(X, small_limits, loads):
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    settings = {"net_params": {"iterator_train__shuffle": True}} if loads else {}
    vae = fit(X, **settings)
    weighted = VAETransformer(
        2,
        density="joint",
        hidden_layer_sizes=(16,),
        max_epochs=2,
        random_state=0,
        **settings,
    ).fit(X, sample_weight=weight, X_val=X[:500])
    assert len(weighted.validation_scores_) == 2
    assert weighted.score(X) == pytest.approx(vae.score(X), abs=0.5)


def test_missing_cells_and_constant_columns_come_along(X, small_limits):
    X = np.insert(X, 2, 7.0, axis=1)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    vae = fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert not np.isnan(vae.impute(X[:50])).any()
    assert vae.columns_.observed_share == pytest.approx([0.8] * 7, abs=0.02)


def test_warm_start_trains_on_rows_that_are_read(X, small_limits):
    vae = VAETransformer(
        2,
        density="joint",
        hidden_layer_sizes=(16,),
        max_epochs=2,
        warm_start=True,
        random_state=0,
    )
    before = vae.fit(X).score(X)
    assert vae.fit(X).score(X) > before - 0.05
    assert len(vae.history_) == 4


def test_start_is_that_of_a_sample(X, small_limits):
    lazy = VAETransformer(hidden_layer_sizes=(), max_epochs=0, random_state=0).fit(X)
    from sklearn.decomposition import FactorAnalysis

    # a third of the rows: the error of a covariance of 2,000 rows, not of 6,000
    exact = FactorAnalysis(2).fit(X.astype(float)).score(X)
    assert exact - 0.05 < lazy.score(X) < exact


def learn_columns(X):
    _, kinds = read_table(X, None, "V")
    return ColumnTable.from_input(X, X, None, True, True, None, kinds)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_encoded_rows_are_slices_of_what_encode_returns(dtype):
    rng = np.random.default_rng(0)
    tables = [rng.integers(0, 9, (n, 4)).astype(dtype) for n in (7, 5)]
    tables[0][:, 1] = tables[1][:, 1] = 3
    columns = learn_columns(tables[0])
    whole = columns.encode(np.concatenate(tables))
    for n in (1, 2):
        x = EncodedRows(columns, tables[:n])
        expected = whole[: len(x)]
        assert x.shape == (12 if n == 2 else 7, 3)
        assert x.size == x.shape[0] * 3
        index = rng.permutation(len(x))
        np.testing.assert_array_equal(x[index], expected[index])
        for rows in (slice(None), slice(5, 9), slice(0, 0), slice(6, 100)):
            np.testing.assert_array_equal(x[rows], expected[rows])
        assert x[:].dtype == x.dtype == expected.dtype
        assert not x.has_missing()


def test_missing_cells_of_constant_columns_are_none_of_the_model():
    X = np.arange(12.0).reshape(6, 2)
    X[:, 0] = 1
    X[2, 0] = np.nan
    columns = learn_columns(X)
    assert not EncodedRows(columns, [X]).has_missing()
    X[2, 1] = np.nan
    assert EncodedRows(columns, [X]).has_missing()


_SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from skvae import VAETransformer
small = np.random.default_rng(0).standard_normal((4000, 4))
VAETransformer(max_epochs=1, random_state=0).fit(small)  # all that is imported
X = np.memmap(sys.argv[1], "float32", mode="r", shape=(1_500_000, 100))
X[:1]
status = Path("/proc/self/status").read_text()
taken = 1024 * int(status.split("VmData:")[1].split()[0])
# memory that is no file: half of what the table takes
resource.setrlimit(resource.RLIMIT_DATA, (taken + X.nbytes // 2,) * 2)
from skvae._training import _fit
_fit._MAX_INIT_CELLS = 2**22
vae = VAETransformer(
    1, hidden_layer_sizes=(), max_epochs=1, batch_size=20_000, random_state=0,
    validation_fraction=0.001, n_draws=2,
).fit(X)
assert np.isfinite(vae.score_samples(X[:1000])).all()
try:
    X.astype(np.float32)
except MemoryError:
    print("bounded")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_memory_is_bounded(tmp_path):
    path = tmp_path / "table"
    # a file with a hole in it: zeros that take no space, and some rows
    table = np.memmap(path, "float32", mode="w+", shape=(1_500_000, 100))
    table[::1000] = np.random.default_rng(0).standard_normal((1500, 100))
    del table
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "bounded"


def test_order_of_rows_is_drawn_from_the_seed(X, small_limits):
    assert torch.equal(fit(X).net_.module_.free, fit(X).net_.module_.free)
