import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._training._shards import _compare, _describe, join_shards
from skvae.likelihoods import Censored


class Ranks:
    """Two processes that are given the same."""

    def exchange(self, value, task):
        return [value, value]


def join(X, **more):
    given = {"sample_weight": None, "X_val": None} | more
    return join_shards(Ranks(), VAETransformer(), X, **given)


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "xarray", "narwhals"])
def test_tables_of_every_library_keep_their_form(kind):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", "y", None]})
    library = pytest.importorskip(kind)
    if kind == "polars":
        X = library.DataFrame({"a": [1.0, None, 3.0], "b": ["x", "y", None]})
    elif kind == "pyarrow":
        X = library.Table.from_pandas(frame)
    elif kind == "xarray":
        X = library.DataArray(np.arange(6.0).reshape(3, 2), dims=["row", "column"])
    else:
        X = library.from_native(frame) if kind == "narwhals" else frame
    joined, weight, X_val = join(X)
    assert type(joined) is type(X)
    assert joined.shape == (6, 2)
    assert weight is None
    assert X_val is None


def test_levels_of_all_parts_are_kept():
    pd = pytest.importorskip("pandas")
    parts = [pd.DataFrame({"a": pd.Categorical(v)}) for v in (["z", "x"], ["y", "x"])]
    ranks = Ranks()
    ranks.exchange = lambda value, task: parts if value is parts[0] else [value] * 2
    joined, _, _ = join_shards(ranks, VAETransformer(), parts[0], None, None)
    assert joined["a"].tolist() == ["z", "x", "y", "x"]
    assert joined["a"].cat.categories.tolist() == ["x", "y", "z"]


def test_arrays_lists_masks_and_weights_are_joined():
    X = np.arange(6.0).reshape(3, 2)
    joined, weight, X_val = join(X.astype(">f8"), sample_weight=[1, 2, 3], X_val=X)
    assert joined.dtype == np.dtype(">f8")
    np.testing.assert_array_equal(joined, np.vstack([X, X]))
    assert weight == [1, 2, 3, 1, 2, 3]
    assert X_val.shape == (6, 2)
    assert join(X.tolist())[0] == X.tolist() * 2
    masked = np.ma.array(X, mask=X > 4)
    assert join(masked)[0].mask.sum() == 2


def test_weights_of_another_length_are_refused():
    with pytest.raises(ValueError, match="sample_weight has 2 values, but X has 3"):
        join(np.ones((3, 2)), sample_weight=[1, 2])


def describe(**params):
    """Return what another process is told of an estimator."""
    given = {"X": np.ones((3, 2)), "sample_weight": None, "X_val": None}
    return pickle.loads(pickle.dumps(_describe(VAETransformer(**params), given)))


SETTINGS = [
    {"likelihood": Censored(lower=[0.0, np.nan])},
    {"hidden_layer_sizes": np.array([8, 8]), "standardize": np.True_},
    {"net_params": {"optimizer": partial(torch.optim.SGD, lr=0.1), "b": {"c": 2}}},
]


@pytest.mark.parametrize("params", SETTINGS)
def test_equal_parameters_of_any_kind_compare_equal(params):
    _compare([describe(**params), describe(**copy.deepcopy(params))])


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        (SETTINGS[0], {"likelihood": Censored(lower=[1.0, np.nan])}, "likelihood is"),
        (
            SETTINGS[2],
            {"net_params": {"optimizer": partial(torch.optim.SGD, lr=0.2)}},
            r"net_params\['optimizer'\] is",
        ),
        ({"net_params": {"a": 1, "b": {"c": 2}}}, {"net_params": {"a": 1}}, r"\['c'\]"),
    ],
)
def test_parameters_that_differ_are_named(one, other, name):
    with pytest.raises(ValueError, match=f"rank 1 .*{name}"):
        _compare([describe(**one), describe(**other)])


def test_callbacks_of_one_process_are_no_difference():
    given = {"callbacks__print_log__sink": print}, {"callbacks": []}
    _compare([describe(net_params=params) for params in given])
