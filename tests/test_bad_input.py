"""Bad input is refused before training, in words that name the culprit."""

import copy
import functools
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback

from skvae import (
    VAEOutlierDetector,
    VAETransformer,
    latents,
    likelihoods,
    networks,
    objectives,
)

REFUSALS = (ValueError, TypeError)


class Raiser(Callback):
    """Raise an error at the end of the given epoch (the first is 1)."""

    def __init__(self, error, epoch=1):
        self.error = error
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise self.error


class Spoiler(Callback):
    """Put NaN into a weight after a number of steps."""

    def __init__(self, step=1):
        self.step = step

    def on_train_begin(self, net, **kwargs):
        self.steps_ = 0
        if self.step == 0:
            self._spoil(net)

    def on_batch_end(self, net, training=False, **kwargs):
        self.steps_ += training
        if training and self.steps_ == self.step:
            self._spoil(net)

    @staticmethod
    def _spoil(net):
        net.module_.decoder_head.bias.data.fill_(torch.nan)


@pytest.fixture(scope="module")
def kept(X):
    """A fitted estimator, which no test may change, and what it says of X."""
    vae = VAETransformer(2, hidden_layer_sizes=(8,), max_epochs=1, random_state=0).fit(
        X
    )
    return vae, vae.score_samples(X)


@pytest.fixture
def earlier(kept):
    """A fitted estimator of the test's own, and what it says of X."""
    vae, scores = kept
    return copy.deepcopy(vae), scores


def assert_still_usable(vae, X, scores):
    np.testing.assert_array_equal(vae.score_samples(X), scores)
    assert vae.n_features_in_ == X.shape[1]
    assert vae.transform(X).shape == (len(X), vae.net_.module_.n_components)


def assert_names(message, *words):
    for word in words:
        assert str(word) in message, f"{word!r} is not named in: {message}"


# parameters ---------------------------------------------------------------------------

BAD_PARAMETERS = [
    ("n_components", 0),
    ("n_components", 2.5),
    ("n_components", "two"),
    ("n_components", None),
    ("likelihood", "poison"),
    ("likelihood", 3),
    ("likelihood", None),
    ("latent", "gausian"),
    ("latent", None),
    ("network", "transformer"),
    ("network", "conv"),
    ("network", torch.nn.Identity()),
    ("hidden_layer_sizes", (0,)),
    ("hidden_layer_sizes", (2.5,)),
    ("hidden_layer_sizes", ("wide",)),
    ("hidden_layer_sizes", -1),
    ("hidden_layer_sizes", None),
    ("activation", "silo"),
    ("activation", 3),
    ("dropout", 1.0),
    ("dropout", -0.1),
    ("dropout", float("nan")),
    ("init", "pca"),
    ("standardize", "yes"),
    ("image_shape", (1, 2, 2)),
    ("image_shape", (2, 3)),
    ("image_shape", (1, 2, 3.0)),
    ("image_shape", 6),
    ("objective", "elbow"),
    ("objective", None),
    ("beta", -1.0),
    ("beta", float("nan")),
    ("kl_warmup", 1.0),
    ("kl_warmup", -0.1),
    ("max_epochs", -1),
    ("max_epochs", 2.5),
    ("batch_size", 0),
    ("batch_size", "all"),
    ("lr", 0.0),
    ("lr", "fast"),
    ("lr", float("nan")),
    ("optimizer", "adman"),
    ("optimizer", 3),
    ("weight_decay", -1.0),
    ("early_stopping", "yes"),
    ("validation_fraction", 0.0),
    ("validation_fraction", 1.0),
    ("n_iter_no_change", 0),
    ("tol", -1.0),
    ("n_draws", 0),
    ("n_draws", 2.5),
    ("device", "gpu"),
    ("device", "cpuu"),
    ("device", 3),
    ("warm_start", "yes"),
    ("random_state", "seed"),
    ("random_state", -1),
    ("verbose", -1),
    ("verbose", "yes"),
    ("net_callbacks", Callback()),
    ("net_params", ["lr"]),
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameter_is_named_and_earlier_fit_kept(name, value, earlier, X):
    vae, scores = earlier
    vae.set_params(**{name: value})
    with pytest.raises(REFUSALS) as caught:
        vae.fit(X)
    assert_names(str(caught.value), name)
    if not isinstance(value, (torch.nn.Module, Callback)):
        shown = repr(value) if isinstance(value, str) else value
        assert_names(str(caught.value), shown)
    vae.set_params(**{name: VAETransformer().get_params()[name]})
    assert_still_usable(vae, X, scores)


BAD_MEMBERS = [
    ("likelihood", likelihoods.Gaussian(noise="shard"), "noise='shard'"),
    ("likelihood", likelihoods.Gaussian(noise=-1.0), "noise=-1.0"),
    ("likelihood", likelihoods.Gaussian(noise=0.0), "noise=0.0"),
    ("likelihood", likelihoods.Gaussian(variance_floor=-1.0), "variance_floor=-1.0"),
    ("likelihood", likelihoods.Gaussian(variance_floor="no"), "variance_floor='no'"),
    ("likelihood", likelihoods.GaussianMixture(n_mixture=1), "n_mixture=1"),
    ("likelihood", likelihoods.GaussianMixture(n_mixture=2.5), "n_mixture=2.5"),
    ("likelihood", likelihoods.GaussianMixture(variance_floor=0), "variance_floor=0"),
    ("latent", latents.Gaussian(prior="mixtur"), "prior='mixtur'"),
    ("latent", latents.Gaussian(n_mixture=0), "n_mixture=0"),
    ("network", networks.MLP(activation="silo"), "activation='silo'"),
    ("network", networks.MLP(hidden_layer_sizes=(0,)), "hidden_layer_sizes=(0,)"),
    ("network", networks.MLP(dropout=1.5), "dropout=1.5"),
    ("network", networks.Conv(channels=()), "channels=()"),
    ("network", networks.Conv(n_blocks=-1), "n_blocks=-1"),
    ("objective", objectives.ELBO(n_draws=0), "n_draws=0"),
    ("objective", objectives.IWAE(n_draws=2.5), "n_draws=2.5"),
]


@pytest.mark.parametrize(("name", "member", "shown"), BAD_MEMBERS)
def test_bad_parameter_of_a_member_is_named(name, member, shown, quick, X):
    with pytest.raises(REFUSALS, match=re.escape(shown)):
        quick(**{name: member}).fit(X)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"likelihood": latents.Gaussian()},
            "one of skvae.latents; .*skvae.likelihoods",
        ),
        (
            {"latent": latents.Gaussian},
            r"is a class, where Gaussian\(\) is an instance",
        ),
        ({"objective": "beta"}, "'beta' is not known; .*instance of skvae.objectives"),
    ],
)
def test_strangers_to_a_parameter_are_told_where_they_belong(given, message, X):
    with pytest.raises(ValueError, match=message):
        VAETransformer(**given).fit(X)


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("lr", "lr"),
        ("optimizer__lr", "lr"),
        ("optimizer__weight_decay", "weight_decay"),
        ("optimizer", "optimizer"),
        ("max_epochs", "max_epochs"),
        ("batch_size", "batch_size"),
        ("iterator_train__batch_size", "batch_size"),
        ("callbacks", "net_callbacks"),
        ("device", "device"),
        ("module", "network"),
        ("module__width", "network"),
        ("criterion", "objective"),
        ("criterion__beta", "beta"),
        ("train_split", "validation_fraction"),
        ("warm_start", "warm_start"),
        ("verbose", "verbose"),
    ],
)
def test_net_params_key_with_a_parameter_of_its_own_is_refused(key, own, earlier, X):
    vae, scores = earlier
    vae.set_params(net_params={key: 1})
    with pytest.raises(REFUSALS) as caught:
        vae.fit(X)
    assert_names(str(caught.value), "net_params", repr(key), repr(own))
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("max_epoch", "max_epoch"),
        ("optimiser__betas", "optimiser__betas"),
        ("optimizer__bettas", "bettas"),
        ("iterator_train__shufle", "shufle"),
        ("callbacks__best_weight__tol", "best_weight"),
        ("callbacks__best_weights__tolerance", "tolerance"),
    ],
)
def test_misspelt_net_params_key_is_refused(key, word, earlier, X):
    vae, scores = earlier
    vae.set_params(net_params={key: (0.9, 0.99)})
    with pytest.raises(REFUSALS, match=word):
        vae.fit(X)
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize(
    ("net_params", "words"),
    [
        ({"nonsense__x": 1}, ["'nonsense__x'", "skorch.NeuralNet"]),
        ({"optimizr__betas": 1}, ["'optimizr__betas'", "did you mean 'optimizer'"]),
        ({"lr_warm": 1}, ["'lr_warm'", "did you mean 'lr_warmup'"]),
        ({"optimizer__beta": 1}, ["'optimizer__beta'", "AdamW", "mean 'betas'"]),
        ({"optimizer__betas": "ab"}, ["AdamW", "'betas': 'ab'"]),
        ({"optimizer__betas": (2.0, 0.5)}, ["AdamW", "'betas': (2.0, 0.5)"]),
        ({"iterator_train__num_worker": 1}, ["DataLoader", "mean 'num_workers'"]),
        ({"iterator_train": 1}, ["'iterator_train': 1", "DataLoader"]),
        ({"callbacks__best__tol": 1}, ["'callbacks__best__tol'", "'best_weights'"]),
        ({"callbacks__best_weights__toll": 1}, ["'toll'"]),
        ({"autocast": "half"}, ["'autocast': 'half'", "torch.dtype"]),
        ({"averaging": 1.0}, ["'averaging': 1.0", "[0, 1)"]),
        ({"max_gradient_norm": "1"}, ["'max_gradient_norm': '1'"]),
        ({"n_draws": 1}, ["'n_draws'", "parameter"]),
        ({1: 1}, ["1", "strings"]),
    ],
)
def test_net_params_are_named_with_key_and_value(net_params, words, quick, X):
    with pytest.raises(REFUSALS) as caught:
        quick(net_params=net_params).fit(X)
    assert_names(str(caught.value), "net_params", *words)


def test_an_optimizer_without_a_name_is_named(quick, X):
    optimizer = functools.partial(torch.optim.SGD, momentum=0.9)
    vae = quick(optimizer=optimizer, net_params={"optimizer__nestrov": True})
    with pytest.raises(ValueError, match=r"nestrov.*SGD.*mean 'nesterov'"):
        vae.fit(X)


@pytest.mark.parametrize(
    "optimizer", [dict, len, torch.nn.Linear, torch.optim.SparseAdam]
)
def test_what_makes_no_optimizer_is_named(optimizer, earlier, X):
    vae, scores = earlier
    with pytest.raises(REFUSALS) as caught:
        vae.set_params(optimizer=optimizer).fit(X)
    assert_names(str(caught.value), f"optimizer={optimizer!r}", "torch.optim")
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("likelihood", "gausian", "gaussian"),
        ("likelihood", "Student-T", "student_t"),
        ("likelihood", "normal", "gaussian"),
        ("likelihood", {0: "poison"}, "poisson"),
        ("latent", "hierarchcal", "hierarchical"),
        ("latent", latents.Gaussian(prior="mixtur"), "mixture"),
        ("network", "MLP", "mlp"),
        ("network", "Auto", "auto"),
        ("objective", "iwa", "iwae"),
        ("activation", "ReLU", "relu"),
        ("density", "Joint", "joint"),
        ("init", "linaer", "linear"),
        ("optimizer", "AdamW", "adamw"),
        ("device", "gpu", "cuda"),
        ("batch_size", "atuo", "auto"),
        ("score_method", "temperd", "tempered"),
    ],
)
def test_nearest_name_is_suggested(name, value, meant, X):
    kind = VAEOutlierDetector if name == "score_method" else VAETransformer
    with pytest.raises(ValueError, match=rf"(?i)did you mean '{meant}'\?"):
        kind(**{name: value}, max_epochs=1).fit(X)


def test_nearest_name_is_suggested_for_columns_methods_and_members(fitted, X):
    frame = pd.DataFrame(X, columns=[*"abcde", "income"])
    with pytest.raises(ValueError, match="did you mean 'income'"):
        VAETransformer(likelihood={"incom": "gaussian"}).fit(frame)
    with pytest.raises(ValueError, match="did you mean 'refined'"):
        fitted.score_samples(X, "refine")
    with pytest.raises(ValueError, match="did you mean 'gaussian'"):
        VAETransformer(latent="gausian").set_params(latent__prior="vamp")


@pytest.mark.parametrize("value", [None, 0.95, 2.0, True, "mle", 0])
def test_number_of_components_has_the_way_out(value, X):
    with pytest.raises(ValueError, match=r"n_components.*'auto', which chooses it"):
        VAETransformer(value).fit(X)


def test_net_callbacks_that_are_no_callbacks_are_refused(earlier, X):
    vae, scores = earlier
    vae.set_params(net_callbacks=[3])
    with pytest.raises(REFUSALS, match=r"net_callbacks.*3"):
        vae.fit(X)
    assert_still_usable(vae, X, scores)


def test_unknown_constructor_argument_is_refused():
    with pytest.raises(TypeError, match="n_component"):
        VAETransformer(n_component=2)
    with pytest.raises(ValueError, match="n_component"):
        VAETransformer().set_params(n_component=2)


def test_absent_device_is_refused_with_the_way_out(earlier, X, monkeypatch):
    vae, scores = earlier
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    vae.set_params(device="cuda")
    with pytest.raises(ValueError, match=r"device='cuda'.*device='auto'"):
        vae.fit(X)
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize("name", ["objective", "latent", "device", "likelihood"])
def test_a_warm_start_refuses_bad_parameters_too(name, earlier, X):
    vae, scores = earlier
    vae.set_params(warm_start=True, **{name: "nonsense"})
    for method in vae.fit, vae.partial_fit:
        with pytest.raises(ValueError, match=f"{name}='nonsense'"):
            method(X)
        assert_still_usable(vae, X, scores)


def test_a_warm_start_with_other_n_components_is_refused(earlier, X):
    vae, scores = earlier
    vae.set_params(warm_start=True, n_components=3)
    for method in vae.fit, vae.partial_fit:
        with pytest.raises(ValueError, match="n_components=3"):
            method(X)
        assert_still_usable(vae, X, scores)


# likelihoods of columns ---------------------------------------------------------------


def test_likelihood_of_an_unknown_column_is_refused(quick, X):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    with pytest.raises(ValueError, match=r"likelihood.*'g'"):
        quick(likelihood={"g": "gaussian"}).fit(frame)
    with pytest.raises(ValueError, match=r"likelihood.*6"):
        quick(likelihood={6: "gaussian"}).fit(X)


def test_unknown_likelihood_of_a_column_is_refused(quick, X):
    every = dict.fromkeys(range(6), "poison")
    with pytest.raises(ValueError, match=r"likelihood.*'poison'"):
        quick(likelihood=every).fit(X)


def test_value_outside_the_support_of_its_own_likelihood_is_named(quick, X):
    X = np.column_stack([X[:, 0] > 0, X[:, 1:]])
    X[3, 0] = 0.5
    with pytest.raises(ValueError, match=r"Column 0 has the value 0.5.*Bernoulli"):
        quick(likelihood={0: "bernoulli"}).fit(X)


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0])
def test_values_outside_the_support_are_named(value, earlier, X):
    vae, scores = earlier
    binary = (X > 0).astype(float)
    binary[7, 3] = value
    vae.set_params(likelihood="bernoulli")
    with pytest.raises(ValueError, match=r"[Cc]olumn 3") as caught:
        vae.fit(binary)
    assert_names(str(caught.value), f"{value:g}", "likelihood")
    with pytest.raises(ValueError, match=r"[Cc]olumn 'd'"):
        vae.fit(pd.DataFrame(binary, columns=list("abcdef")))
    assert_still_usable(vae, X, scores)


def test_values_outside_the_support_are_refused_in_a_validation_set(quick, X):
    binary = (X > 0).astype(float)
    spoilt = binary.copy()
    spoilt[0, 2] = 0.5
    with pytest.raises(ValueError, match=r"[Cc]olumn 2.*0\.5"):
        quick(likelihood="bernoulli").fit(binary, X_val=spoilt)


# values far out -----------------------------------------------------------------------

READERS = {
    "transform": lambda vae, rows: vae.transform(rows),
    "posterior": lambda vae, rows: np.hstack(vae.posterior(rows)),
    "refined": lambda vae, rows: np.hstack(vae.posterior(rows, refine=True)),
    "reconstruct": lambda vae, rows: vae.reconstruct(rows),
    "impute": lambda vae, rows: vae.impute(rows),
    "draw": lambda vae, rows: vae.impute(rows, random_state=0),
    "features": lambda vae, rows: vae.score_features(rows),
    "score": lambda vae, rows: np.array([vae.score(rows)]),
    "explain": lambda vae, rows: vae.explain(rows),
    "given": lambda vae, rows: vae.sample(2, given={1: rows[3, 1]}),
}
READERS |= {
    method: lambda vae, rows, method=method: vae.score_samples(rows, method)
    for method in (*VAETransformer._methods, "tempered", "regret")
}


def attempt(function, *args):
    """Return what a function returns, or its ValueError."""
    try:
        return function(*args)
    except ValueError as error:
        return error


@pytest.fixture(scope="module")
def detectors(X):
    """Detectors of numbers, with one of the densities, which no test may change."""
    table = np.column_stack([X, np.full(len(X), 2.0)])
    settings = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0}
    names = ("gaussian", "gaussian_mixture", "student_t", "autoregressive")
    return table, {
        name: VAEOutlierDetector(2, likelihood=name, **settings).fit(table)
        for name in names
    }


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_mixture", "student_t"])
@pytest.mark.parametrize("reader", READERS)
def test_far_values_have_finite_results_or_are_named(reader, likelihood, detectors):
    table, fitted = detectors
    for value in (1e5, -1e30, 1e45, 1e120, -1e160, np.finfo(float).max):
        for column in (1, -1):
            rows = table[:5].copy()
            rows[3, column], rows[3, 2] = value, np.nan
            if abs(value) <= 1e20:
                assert np.isfinite(READERS[reader](fitted[likelihood], rows)).all()
                continue
            # finite, or an error that names the cell
            found = attempt(READERS[reader], fitted[likelihood], rows)
            if isinstance(found, Exception):
                where = r"column 1, row \d" if column == 1 else "column 6, row 3"
                assert re.search(f"{re.escape(f'{value:g}')} in {where}", str(found))
            else:
                assert np.isfinite(found).all()


def test_far_rows_are_outliers_or_named(detectors):
    table, fitted = detectors
    for value in (1e5, 1e30, 1e90):
        rows = table[:2].copy()
        rows[1, 0] = value
        assert fitted["gaussian"].predict(rows)[1] == -1
    rows[1, 0] = 1e200
    with pytest.raises(ValueError, match=r"1e\+200 in column 0, row 1"):
        fitted["gaussian"].predict(rows)


@pytest.mark.parametrize("value", [1e10, -1e37, 1e200, 1.7e308])
def test_latent_far_out_is_finite_or_named(value, fitted):
    Z = [[0.0, 0.0], [1.0, value]]
    found = attempt(fitted.inverse_transform, Z)
    if isinstance(found, Exception):
        assert f"Z has the value {value:g} in row 1" in str(found)
    else:
        assert np.isfinite(found).all()


@pytest.mark.parametrize("make", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_results_beyond_the_floats_of_a_column_are_named(make, quick):
    z = np.random.default_rng(0).normal(size=(90, 1))
    X = make((z @ [[1, 5, 0.1]] + 0.1).astype(np.float32))
    vae = quick(1).fit(X)
    near, far = np.asarray(vae.inverse_transform([[0.0], [1e30]])), [[0.0], [3e38]]
    assert np.isfinite(near).all()
    with pytest.raises(ValueError, match=r"for column .*, row 1, is beyond the floats"):
        vae.inverse_transform(far)
    with pytest.raises(ValueError, match="is beyond the floats"):
        vae.sample(
            2, given={X.columns[0] if hasattr(X, "columns") else 0: 3e38}, bounded=False
        )


@pytest.mark.parametrize("value", [1e17, 1e40, 1e200])
def test_training_refuses_values_that_are_far_from_those_at_fit(value, quick, X):
    far = X.copy()
    far[5, 2] = value
    for fit in (
        lambda: quick().fit(X, X_val=far),
        lambda: quick().partial_fit(X).partial_fit(far),
        lambda: quick(warm_start=True).fit(X).fit(far),
    ):
        with pytest.raises(ValueError, match="in column 2, row 5, is too far"):
            fit()


def test_numbers_that_keep_their_unit_have_squares(quick, X):
    with pytest.raises(ValueError, match=r"column 0 lie .*standardize"):
        quick(standardize=False).fit(X * np.array([1e150, 1, 1, 1, 1, 1]))


@pytest.mark.parametrize("value", [1e155, -1e300, 1.7e308])
@pytest.mark.parametrize("weight", [None, 1e-20])
@pytest.mark.parametrize("detect", [False, True])
def test_fit_refuses_numbers_whose_distance_has_no_square(
    value, weight, detect, quick, X
):
    far = X.copy()
    far[5, 2] = value
    weights = weight and np.where(np.arange(len(X)) == 5, weight, 1.0)
    model = VAEOutlierDetector(max_epochs=1) if detect else quick()
    with pytest.raises(
        ValueError, match=f"value {re.escape(f'{value:g}')} in column 2"
    ):
        model.fit(far, sample_weight=weights)


@pytest.mark.parametrize("constant", [1e160, -1e300])
def test_fit_refuses_constants_without_a_square(constant, quick, X):
    for table in (np.c_[X, np.full(len(X), constant)], np.full((40, 2), constant)):
        with pytest.raises(
            ValueError, match=re.escape(f"value {constant:g} in column")
        ):
            quick().fit(table)


def test_fit_takes_numbers_that_have_squares(quick, X):
    model = quick().fit(np.c_[X * 1e150, np.full(len(X), 1e150)])
    assert np.isfinite(model.noise_variance_).all()
    assert np.isfinite(model.score_samples(model.sample(5, random_state=0))).all()


def test_prior_of_weights_that_are_not_finite_ends_in_a_named_error(X):
    # draws from it would raise errors of torch
    vae = VAETransformer(objective="mmd", lr=10.0, early_stopping=False, max_epochs=5)
    vae.set_params(hidden_layer_sizes=(16, 8, 4), random_state=74)
    rows = np.random.default_rng(0).normal(size=(80, 5))[:10, :3]
    with pytest.raises(ValueError, match=r"lr=10\.0"):
        vae.fit(rows)


# tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_value_that_is_no_number_is_named_with_its_column(value, earlier, X):
    vae, scores = earlier
    spoilt = X.copy()
    spoilt[5, 4] = value
    shown = str(value)
    for method in vae.fit, vae.partial_fit, vae.transform, vae.score_samples:
        with pytest.raises(ValueError, match="column 4") as caught:
            method(spoilt)
        assert_names(str(caught.value), shown)
        assert_still_usable(vae, X, scores)
    frame = pd.DataFrame(spoilt, columns=list("abcdef"))
    with pytest.raises(ValueError, match="column 'e'") as caught:
        vae.fit(frame)
    assert_names(str(caught.value), shown)
    assert_still_usable(vae, X, scores)


def test_infinities_of_both_signs_are_named(quick, X):
    spoilt = X.copy()
    spoilt[5, 4], spoilt[3, 1] = np.inf, -np.inf
    with pytest.raises(ValueError, match=r"-inf.*column 1"):
        quick().fit(spoilt)


def test_columns_with_integer_names_are_called_by_them(quick, X):
    spoilt = X.copy()
    spoilt[5, 4] = np.inf
    with pytest.raises(ValueError, match="column 50"):
        quick().fit(pd.DataFrame(spoilt, columns=[10, 20, 30, 40, 50, 60]))


def test_missing_values_of_pandas_and_polars_are_missing(quick, X):
    incomplete = X.copy()
    incomplete[3, 2] = np.nan
    expected = quick().fit(incomplete).score_samples(incomplete)
    table = pd.DataFrame(X, columns=list("abcdef")).astype({"c": "Float64"})
    table.loc[3, "c"] = pd.NA
    other = pl.DataFrame(X, schema=list("abcdef"))
    other[3, "c"] = None
    for frame in (table, other):
        found = quick().fit(frame).score_samples(frame)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_column_without_any_value_is_named(quick, X):
    spoilt = X.copy()
    spoilt[:, 2] = np.nan
    with pytest.raises(ValueError, match="column 2"):
        quick().fit(spoilt)


def test_strings_are_refused(earlier, X):
    vae, scores = earlier
    words = X.astype(object)
    words[3, 2] = "red"
    with pytest.raises(REFUSALS, match="red"):
        vae.fit(words)
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.0, "red"] * 100, dtype=object),
        pd.Series([1j, 2j] * 100),
        pd.Series(pd.period_range("2020-01-01", periods=200, freq="D")),
    ],
    ids=["objects", "complex", "period"],
)
def test_columns_of_other_types_are_named(column, earlier, X):
    vae, scores = earlier
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame["c"] = column
    with pytest.raises(REFUSALS, match=r"[Cc]olumn 'c'"):
        vae.fit(frame)
    assert_still_usable(vae, X, scores)


def test_sparse_table_is_refused_with_the_way_out(earlier, X):
    vae, scores = earlier
    for method in vae.fit, vae.partial_fit, vae.transform, vae.score_samples:
        with pytest.raises(TypeError, match=r"(?i)sparse.*toarray"):
            method(scipy.sparse.csr_array(X))
    assert_still_usable(vae, X, scores)


def test_other_number_of_columns_is_refused(fitted, earlier, X):
    for method in (
        fitted.transform,
        fitted.posterior,
        fitted.reconstruct,
        fitted.score_samples,
        fitted.score_features,
        fitted.score,
    ):
        with pytest.raises(ValueError, match=r"5 features.*6 features"):
            method(X[:, :5])
    vae, scores = earlier
    with pytest.raises(ValueError, match=r"5 features.*6 features"):
        vae.partial_fit(X[:, :5])
    with pytest.raises(ValueError, match=r"5 features.*6 features"):
        vae.fit(X, X_val=X[:, :5])
    assert_still_usable(vae, X, scores)


def test_other_column_names_are_refused(quick, X):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    vae = quick(hidden_layer_sizes=()).fit(frame)
    scores = vae.score_samples(frame)
    renamed = frame.rename(columns={"a": "z"})
    for method in vae.transform, vae.score_samples, vae.partial_fit:
        with pytest.raises(ValueError, match=r"(?s)feature names.*z"):
            method(renamed)
    with pytest.raises(ValueError, match="same order"):
        vae.transform(frame[list("fedcba")])
    np.testing.assert_array_equal(vae.score_samples(frame), scores)


def test_one_row_and_no_rows_are_refused(earlier, X):
    vae, scores = earlier
    for method in vae.fit, vae.partial_fit:
        with pytest.raises(ValueError, match=r"n_samples=1|1 sample"):
            method(X[:1])
        with pytest.raises(ValueError, match="0 sample"):
            method(X[:0])
        with pytest.raises(ValueError, match="n_samples=1"):
            method(X, sample_weight=np.arange(len(X)) == 3)
        with pytest.raises(ValueError, match=r"(?i)sample.weight"):
            method(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="0 sample"):
        vae.transform(X[:0])
    assert_still_usable(vae, X, scores)


def test_message_on_one_row_names_n_samples_1(quick, X):
    with pytest.raises(ValueError, match="1 sample"):
        quick().fit(X[:1])


@pytest.mark.parametrize(
    "weight", [-np.ones(200), np.ones(199), np.full(200, np.nan), ["a"] * 200]
)
def test_bad_sample_weight_is_refused(weight, earlier, X):
    vae, scores = earlier
    for method in vae.fit, vae.partial_fit:
        with pytest.raises(ValueError, match=r"(?i)sample_weight|convert"):
            method(X, sample_weight=weight)
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize(
    ("weight", "word"),
    [
        (["a"] * 200, "'a'"),
        (["1"] * 200, "'1'"),
        ([None, *["x"] * 199], "'x'"),
        ("balanced", "'balanced'"),
        (np.ones((200, 2)), "(200, 2)"),
        ([[1.0]] * 200, "(200, 1)"),
        (np.ones(199), "(199,)"),
        ([1.0] * 150 + [np.nan] * 50, "nan in row 150"),
        (np.r_[np.ones(199), np.inf], "inf in row 199"),
        (np.r_[1, -2.0, np.ones(198)], "-2 in row 1"),
        (np.ma.masked_equal([0] + [1] * 199, 0), "nan in row 0"),
        (pd.Series([1, pd.NA] * 100, dtype="Int64"), "nan in row 1"),
        (np.ones(200) * 1j, "1j"),
        (pd.date_range("2020", periods=200), "2020"),
        ([[1], [1, 2]] * 100, "numbers"),
        ({0: 1.0}, "dict"),
        (np.zeros(200), "zero in all rows"),
        (np.eye(200)[0], "n_samples=1"),
    ],
)
def test_bad_sample_weight_is_named_with_its_value(weight, word, fitted, quick, X):
    calls = [quick().fit, quick().partial_fit]
    for method in [*calls, fitted.score] if word != "n_samples=1" else calls:
        with pytest.raises(ValueError, match="sample_weight") as caught:
            method(X, sample_weight=weight)
        assert_names(str(caught.value), word)


@pytest.mark.parametrize("weight", [1e16, 1e20, 1e300])
def test_a_weight_beside_which_no_other_counts_is_refused(weight, quick, X):
    weights = np.ones(len(X))
    weights[7] = weight
    words = rf"sample_weight has the value {re.escape(f'{weight:g}')} in row 7"
    with pytest.raises(ValueError, match=words):
        quick().fit(X, sample_weight=weights)


@pytest.mark.parametrize("scale", [1e-310, 1e-250, 1e250, 1e307])
def test_the_unit_of_weights_does_not_matter(scale, quick, X):
    weights = 1.0 + np.arange(len(X)) % 3
    vae = quick().fit(X, sample_weight=weights)
    other = quick().fit(X, sample_weight=weights * scale)
    # rounded otherwise
    np.testing.assert_allclose(vae.transform(X), other.transform(X), atol=0.1)
    assert vae.score(X, sample_weight=weights * scale) == pytest.approx(
        vae.score(X, sample_weight=weights)
    )


def test_read_only_tables_of_zeros_and_ones_are_accepted(quick, X):
    binary = (X > 0).astype(float)
    binary.setflags(write=False)
    assert np.isfinite(quick(likelihood="bernoulli").fit(binary).score(binary))


def test_table_of_one_dimension_is_refused(quick, X):
    with pytest.raises(ValueError, match="Expected 2D array"):
        quick().fit(X[:, 0])


# calls on a fitted estimator ----------------------------------------------------------


def test_unknown_score_method_is_named(fitted, X):
    with pytest.raises(ValueError, match=r"method='elbow'.*'refined'"):
        fitted.score_samples(X, method="elbow")


def test_latent_of_other_width_is_refused(fitted):
    with pytest.raises(ValueError, match=r"3 columns.*n_components=2"):
        fitted.inverse_transform(np.zeros((4, 3)))


def test_latent_that_is_not_finite_is_refused(fitted):
    with pytest.raises(ValueError, match="Z contains NaN"):
        fitted.inverse_transform([[0.0, np.nan]])


@pytest.mark.parametrize(
    "Z", [["a"], [["a", "b"]], [1.0, 2.0], None, np.zeros((2, 2, 1)), np.zeros((0, 2))]
)
def test_what_is_no_latent_is_named(Z, fitted):
    with pytest.raises(REFUSALS, match=r"\bZ\b"):
        fitted.inverse_transform(Z)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "two", None, True])
def test_bad_number_of_samples_is_named(n_samples, fitted):
    with pytest.raises(REFUSALS, match=re.escape(f"n_samples={n_samples!r}")):
        fitted.sample(n_samples)


@pytest.mark.parametrize("flag", ["no", None, 0, [True]])
def test_flags_that_are_no_booleans_are_named(flag, fitted, X):
    def refuses(name):
        return pytest.raises(ValueError, match=re.escape(f"{name}={flag!r} must be"))

    for name in ("mean", "bounded"):
        with refuses(name):
            fitted.sample(3, **{name: flag})
    with refuses("bounded"):
        fitted.impute(X, bounded=flag)
    with refuses("return_std"):
        fitted.score_samples(X, return_std=flag)
    assert len(fitted.sample(2, mean=np.True_)) == 2


@pytest.mark.parametrize("random_state", ["seed", -1, 2.5])
def test_bad_random_state_of_sample_is_named(random_state, fitted):
    with pytest.raises(REFUSALS, match=re.escape(repr(random_state))):
        fitted.sample(3, random_state=random_state)


@pytest.mark.parametrize(
    "call",
    [
        "transform",
        "inverse_transform",
        "score_samples",
        "score",
        "posterior",
        "reconstruct",
        "score_features",
    ],
)
def test_unfitted_estimator_raises_not_fitted(call, X):
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(VAETransformer(), call)(X)


def test_sampling_from_an_unfitted_estimator_is_refused():
    with pytest.raises(NotFittedError, match="not fitted"):
        VAETransformer().sample()


# what happens during training ---------------------------------------------------------


def test_error_in_training_leaves_the_earlier_fit(earlier, X):
    vae, scores = earlier
    before = set(vars(vae))
    vae.set_params(net_callbacks=[Raiser(RuntimeError("boom"))])
    with pytest.raises(RuntimeError, match="boom"):
        vae.fit(X[:, :4])
    assert set(vars(vae)) == before
    assert_still_usable(vae, X, scores)


def test_error_in_a_first_fit_leaves_the_estimator_unfitted(quick, X):
    vae = quick(net_callbacks=[Raiser(RuntimeError("boom"))])
    with pytest.raises(RuntimeError, match="boom"):
        vae.fit(X)
    with pytest.raises(NotFittedError):
        vae.transform(X)
    assert not hasattr(vae, "n_features_in_")


def test_error_in_a_warm_start_leaves_the_earlier_fit(quick, X):
    raiser = Raiser(RuntimeError("boom"), epoch=4)
    vae = quick(warm_start=True, net_callbacks=[raiser]).fit(X)
    scores = vae.score_samples(X)
    with pytest.raises(RuntimeError, match="boom"):
        vae.fit(X)
    assert vae.n_iter_ == len(vae.history_) == 2
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_interrupt_keeps_what_training_reached(early_stopping, quick, X):
    vae = quick(
        max_epochs=5,
        early_stopping=early_stopping,
        net_callbacks=[Raiser(KeyboardInterrupt(), epoch=3)],
    )
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    assert vae.n_iter_ == 3
    assert vae.transform(X).shape == (200, 2)
    start = quick(max_epochs=0, early_stopping=early_stopping).fit(X).score(X)
    assert vae.score(X) > start - 0.1
    assert vae.sample(3).shape == (3, 6)


def test_interrupt_before_training_leaves_the_earlier_fit(earlier, X, monkeypatch):
    from skvae._training import _fit

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    vae, scores = earlier
    monkeypatch.setattr(_fit, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        vae.fit(X)
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_loss_turned_non_finite_keeps_the_best_weights(early_stopping, quick, X):
    vae = quick(
        max_epochs=5,
        early_stopping=early_stopping,
        net_callbacks=[Spoiler(step=70)],
    )
    with pytest.warns(ConvergenceWarning, match=r"lr=0\.003"):
        vae.fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    start = quick(max_epochs=0, early_stopping=early_stopping).fit(X).score(X)
    assert vae.score(X) > start - 0.1


def test_non_finite_loss_at_the_first_step_keeps_the_start(quick, X):
    vae = quick(net_callbacks=[Spoiler(step=0)])
    with pytest.warns(ConvergenceWarning, match="non-finite"):
        vae.fit(X)
    assert np.isfinite(vae.score_samples(X)).all()


def test_non_finite_loss_without_weights_to_keep_is_an_error(earlier, X):
    vae, scores = earlier
    vae.set_params(early_stopping=False, net_callbacks=[Spoiler(step=0)])
    with pytest.raises(ValueError, match=r"non-finite.*lr=0\.003"):
        vae.fit(X)
    assert_still_usable(vae, X, scores)


@pytest.mark.parametrize("lr", [1e4, 1e30])
def test_absurd_learning_rate_keeps_the_start(lr, quick, X):
    vae = quick(lr=lr)
    with pytest.warns(ConvergenceWarning, match=f"lr={re.escape(repr(lr))}"):
        vae.fit(X)
    assert vae.score(X) > quick(max_epochs=0).fit(X).score(X) - 0.1


@pytest.mark.parametrize("likelihood", ["gaussian", "auto"])
def test_absurd_learning_rate_without_held_out_rows_is_refused(likelihood, quick, X):
    vae = quick(lr=1e30, early_stopping=False, likelihood=likelihood)
    with pytest.raises(ValueError, match=r"non-finite.*lr=1e\+30"):
        vae.fit(X)
