"""What all tests share: small seeded data, one cheap fitted estimator, one thread."""

import os

# scikit-learn's array-API checks need it before scipy is imported for the first time
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

torch.set_num_threads(1)

# for checkers of types, not to be run
collect_ignore = ["typing/user_code.py"]


@pytest.fixture(autouse=True)
def same_draws():
    """Give every test the same draws of torch's global generator, in any order."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def X():
    """Standardised rows of breast_cancer, (200, 6); read-only, so shared safely."""
    table = load_breast_cancer().data[:200, :6]
    table = np.ascontiguousarray(StandardScaler().fit_transform(table))
    table.setflags(write=False)
    return table


@pytest.fixture(scope="session")
def fitted(X):
    """An estimator of two components after three epochs; tests must not change it."""
    return VAETransformer(2, max_epochs=3, random_state=0).fit(X)


@pytest.fixture
def sklearn_callback():
    """Return the module of callbacks, which scikit-learn has from 1.9 on."""
    return pytest.importorskip("sklearn.callback")


@pytest.fixture
def quick():
    """Make an estimator of a small network that trains for two epochs, in one stage.

    All may be told otherwise.
    """

    def make(n_components=2, **params):
        small = {"hidden_layer_sizes": (16,), "max_epochs": 2, "random_state": 0}
        small["density"] = "joint"
        params = small | params
        return VAETransformer(n_components, **params)

    return make
