"""Files of ONNX compute what the estimators do, without this package."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from likelihood_cases import delete, make_rows

from skvae import VAEOutlierDetector, VAETransformer
from skvae.latents import Categorical, Gaussian, Hierarchical
from skvae.likelihoods import LIKELIHOODS, Autoregressive

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from skvae.export import to_onnx, to_torch  # noqa: E402

FAST = {
    "n_components": 2,
    "max_epochs": 3,
    "hidden_layer_sizes": (16, 16),
    "random_state": 0,
}
METHODS = "transform", "score_samples", "reconstruct"


def run(model, X):
    """Return the outputs of a model of ONNX for an array or data frame."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, make_feed(session, X))


def make_feed(session, X):
    """Return the inputs of a session by name."""
    if isinstance(X, np.ndarray):
        return {session.get_inputs()[0].name: X}
    return {
        given.name: make_column(X[given.name], given.type)
        for given in session.get_inputs()
    }


def make_column(column, kind):
    """Return a column of a data frame as the tensor that ONNX takes."""
    if kind == "tensor(string)":
        cells = column.astype(object).where(column.notna(), "").to_numpy(object)
    elif kind in ("tensor(int64)", "tensor(bool)"):
        cells = column.to_numpy()
    else:
        dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[kind]
        cells = column.to_numpy(dtype, na_value=np.nan)
    return cells.reshape(-1, 1)


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape


def check(estimator, X, methods=METHODS):
    """Compare methods of an estimator with those of its files, for some sizes."""
    for method in methods:
        model = to_onnx(estimator, method=method)
        expected = getattr(estimator, method)(X)
        for rows in (slice(0, 1), slice(1, 2), slice(None)):
            (found,) = run(model, X[rows])
            assert_equal(found, expected[rows])


def make_incomplete(name, n_features=4):
    """Return rows for a likelihood, and the same with missing cells but in the first."""
    X = make_rows(name, 100, n_features)
    incomplete = delete(X, 0.2)
    incomplete[0], incomplete[1] = X[0], np.nan
    return X, incomplete


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_file_computes_what_the_estimator_does(name):
    X, incomplete = make_incomplete(name)
    check(VAETransformer(likelihood=name, **FAST).fit(X), incomplete)


@pytest.mark.parametrize(
    "latent",
    [
        Gaussian(prior="standard", prior_scale=3.0),
        Gaussian(prior="vamp", n_mixture=5),
        Gaussian(covariance="full"),
        Gaussian(covariance="full", prior="vamp", n_mixture=5),
        Categorical(n_categories=2),
        Categorical(embedding="onehot"),
        Hierarchical(),
        Hierarchical(inference="bottom_up"),
    ],
    ids=repr,
)
def test_file_has_every_latent(latent):
    X, incomplete = make_incomplete("gaussian")
    model = VAETransformer(
        likelihood="gaussian", latent=latent, **FAST | {"n_components": 4}
    )
    check(model.fit(X), incomplete)


@pytest.mark.parametrize(
    "parameters",
    [
        {"density": None},
        {"density": "joint"},
        {"hidden_layer_sizes": ()},
        {"standardize": False},
        {"init": "random"},
        {"activation": "gelu"},
        {"activation": "elu"},
        {"activation": "leaky_relu"},
        {"activation": "softplus"},
        {"activation": "relu", "dropout": 0.2},
        {"n_ensemble": 2},
        {"likelihood": Autoregressive("gaussian")},
    ],
    ids=repr,
)
def test_file_has_every_setting(parameters):
    X, incomplete = make_incomplete("gaussian")
    X[:, 2] = 7.0
    model = VAETransformer(**FAST | parameters)
    check(model.fit(incomplete if "init" in parameters else X), incomplete)
