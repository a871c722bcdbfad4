"""scikit-learn's own checks: those of check_estimator, and those beyond it."""

import functools

import pytest
import sklearn
from sklearn.base import clone
from sklearn.utils import estimator_checks
from torch_network import TorchNetwork

from skvae import UnusedComponentsWarning, VAEOutlierDetector, VAETransformer

# the checks fit pure noise, of which a component may well say nothing
pytestmark = pytest.mark.filterwarnings(
    f"ignore::{UnusedComponentsWarning.__module__}.{UnusedComponentsWarning.__name__}"
)


# The defaults of both but for the number of epochs, and small networks for the other
# ways through the code: no check needs a network that has learned much.
DEFAULT = {"max_epochs": 1, "random_state": 0}
SMALL = {"hidden_layer_sizes": (4,), **DEFAULT}
ESTIMATORS = {
    "default": VAETransformer(**DEFAULT),
    "linear": VAETransformer(**SMALL | {"hidden_layer_sizes": ()}),
    "torch": VAETransformer(network=TorchNetwork(4), init="random", **DEFAULT),
    "categorical": VAETransformer(latent="categorical", **SMALL),
    "hierarchical": VAETransformer(
        latent="hierarchical", early_stopping=False, **SMALL
    ),
    "outliers": VAEOutlierDetector(**DEFAULT),
    "calibrated": VAEOutlierDetector(contamination=0.1, **SMALL),
    "ensemble": VAETransformer(n_ensemble=2, **SMALL),
}
OWN_CHECKS = [
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_dataframe_column_names_consistency",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


# of tables, in which scikit-learn has the same check; that of scikit-learn 1.6 passes
# where an estimator refuses sparse tables, as ours do for numbers with fractions
FORMS = ("dense",) if sklearn.__version__.startswith("1.6.") else ("dense", "sparse")


def expect_failures(estimator):
    # test_estimator.py compares weights and repeated rows in distribution instead
    reason = "training is stochastic: repeated rows meet other batches and other noise"
    names = [f"check_sample_weight_equivalence_on_{form}_data" for form in FORMS]
    # its name before scikit-learn 1.6
    names.append("check_sample_weights_invariance(kind=zeros)")
    expected = dict.fromkeys(names, reason)
    if estimator.n_ensemble > 1:
        # both call partial_fit, too
        reason = "an ensemble refuses partial_fit"
        names = "check_fit_score_takes_y", "check_n_features_in_after_fitting"
        expected |= dict.fromkeys(names, reason)
    return expected


def list_checks():
    """Return the checks of `check_estimator`, of any version of scikit-learn."""
    list_of = getattr(estimator_checks, "estimator_checks_generator", None)
    if list_of is None:
        list_of = functools.partial(
            estimator_checks.check_estimator, generate_only=True
        )
    params = []
    for key, estimator in ESTIMATORS.items():
        expected = expect_failures(estimator)
        for copy, check in list_of(estimator):
            name = name_check(check)
            reason = expected.get(name)
            marks = [pytest.mark.xfail(reason=reason)] if reason else []
            params.append(pytest.param(copy, check, marks=marks, id=f"{key}-{name}"))
    return params


def name_check(check):
    """Return the name of a check with its options, as scikit-learn writes it."""
    options = ",".join(f"{k}={v}" for k, v in check.keywords.items())
    return check.func.__name__ + (f"({options})" if options else "")


@pytest.mark.parametrize(("estimator", "check"), list_checks())
def test_estimator_passes_check_estimator(estimator, check):
    check(estimator)


# these checks fit a data frame and transform an array, and the other way round
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:X has feature names, but:UserWarning")
@pytest.mark.parametrize("name", OWN_CHECKS)
@pytest.mark.parametrize("configuration", ["linear", "calibrated"])
def test_estimator_passes_checks_beyond_check_estimator(configuration, name):
    estimator = clone(ESTIMATORS[configuration])
    getattr(estimator_checks, name)(type(estimator).__name__, estimator)
