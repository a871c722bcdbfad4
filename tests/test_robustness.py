"""What users do around an estimator must not change what it computes."""

import numpy as np
import pandas as pd
import pytest
import torch

from skvae import UnusedComponentsWarning, VAETransformer
from skvae._columns._kinds import Integer
from skvae.likelihoods import Gaussian


@pytest.mark.parametrize(
    "mode",
    [
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    ],
)
@pytest.mark.parametrize("params", [{}, {"early_stopping": False, "batch_size": 20}])
def test_modes_of_torch_do_not_reach_fits_and_scores(mode, params, quick, X):
    expected = quick(**params).fit(X)
    with mode():
        vae = quick(**params).fit(X)
        np.testing.assert_array_equal(vae.score_samples(X), expected.score_samples(X))
        np.testing.assert_array_equal(
            vae.score_samples(X[:5], "refined"),
            expected.score_samples(X[:5], "refined"),
        )


def test_default_dtype_of_torch_does_not_reach_fits(quick, X):
    expected = quick().fit(X).score_samples(X)
    torch.set_default_dtype(torch.float64)
    try:
        scores = quick().fit(X).score_samples(X)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(scores, expected)


def test_reversed_arrays_are_fitted_and_scored(quick, X):
    expected = quick().fit(np.ascontiguousarray(X[::-1]))
    vae = quick().fit(X[::-1])
    np.testing.assert_array_equal(vae.transform(X[::-1]), expected.transform(X[::-1]))
    Z = vae.transform(X)[::-1]
    assert vae.inverse_transform(Z).shape == X.shape


def test_values_outside_the_support_are_refused_when_scored(quick, X):
    vae = quick().fit(X > 0)
    with pytest.raises(ValueError, match=r"Column 0 has the value 7.*0 and 1"):
        vae.score_samples(np.full((2, X.shape[1]), 7))


def test_reconstruct_keeps_the_index_of_a_data_frame(quick, X):
    frame = pd.DataFrame(X).add_prefix("x")
    frame.index = [f"row {i}" for i in range(len(X))]
    vae = quick().fit(frame)
    pd.testing.assert_index_equal(vae.reconstruct(frame[5:9]).index, frame.index[5:9])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64", "uint64"])
def test_integer_columns_reach_the_ends_of_their_type(dtype):
    limits = np.iinfo(dtype)
    ends = np.array([float(limits.min), float(limits.max)])
    values = Integer(np.dtype(dtype)).from_codes(ends)
    assert values.dtype == dtype
    assert values[0] == limits.min
    # floats are 1024 apart at the end of 64 bits, and may not pass it
    assert limits.max - 2048 < int(values[1]) <= limits.max
    if limits.bits < 64:
        assert values[1] == limits.max


def test_x_val_without_early_stopping_only_watches(quick, X):
    vae = quick(max_epochs=12, n_iter_no_change=1, early_stopping=False)
    vae.fit(X[:150], X_val=X[150:])
    assert vae.n_iter_ == 12
    assert len(vae.validation_scores_) == 12


@pytest.mark.parametrize("key", ["log_volume", "noise", "init_members"])
def test_internals_are_no_net_params(key, quick, X):
    with pytest.raises(ValueError, match=key):
        quick(net_params={key: 0.0}).fit(X)


def test_settings_of_training_may_change_on_a_warm_start(quick, X):
    vae = quick(warm_start=True, batch_size=16).fit(X)
    vae.set_params(batch_size=50, n_iter_no_change=3, tol=0.01).fit(X)
    assert vae.net_.batch_size == 50
    best = dict(vae.net_.callbacks_)["best_weights"]
    assert (best.patience, best.tol) == (3, 0.01)


def test_a_loss_weighted_by_rows_scores_initial_weights_and_epochs_alike(quick):
    generator = np.random.default_rng(0)
    X = generator.standard_normal((30_000, 3)) * generator.uniform(1, 3, (30_000, 1))
    X += 2 * generator.standard_normal((30_000, 1))
    weight = np.where(generator.uniform(size=len(X)) < 0.01, 100.0, 1.0)
    vae = quick(1, hidden_layer_sizes=(), lr=1e-12, max_epochs=1)
    vae.fit(X, sample_weight=weight)
    # the weights have not moved, so neither has the loss
    assert vae.validation_scores_[0] == pytest.approx(
        vae.best_validation_score_, abs=1e-4
    )


def test_divergence_without_held_out_rows_keeps_the_last_finished_epoch(X):
    from sklearn.exceptions import ConvergenceWarning
    from skorch.callbacks import Callback

    class Explode(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 4:
                for group in net.optimizer_.param_groups:
                    group["lr"] = 1e30

    vae = VAETransformer(
        early_stopping=False, max_epochs=6, net_callbacks=[Explode()], random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="best weights so far"):
        vae.fit(X)
    assert vae.score(X) > -20


def test_constant_columns_stay_finite_where_new_rows_differ(X):
    table = np.hstack([X, np.full((len(X), 1), 3.0)])
    vae = VAETransformer(
        hidden_layer_sizes=(), likelihood=Gaussian(), random_state=0
    ).fit(table)
    new = table[:2].copy()
    new[1, -1] = 4.0
    same, differs = vae.score_features(new)[:, -1]
    chance = 1 / (len(X) + 2)
    known = np.log(1 - chance) - 0.5 * np.log(2 * np.pi * 9e-12)
    other = np.log(chance) - 0.5 * np.log(2 * np.pi * 9) - 1 / 18
    assert same == pytest.approx(known, abs=1e-6)
    assert differs == pytest.approx(other, abs=1e-6)
    np.testing.assert_array_equal(vae.reconstruct(new)[:, -1], 3.0)


@pytest.mark.parametrize("as_frame", [False, True])
def test_rows_of_a_constant_table_carry_no_information(as_frame, quick):
    table = np.full((30, 2), 3.0)
    with pytest.warns(UnusedComponentsWarning):
        vae = quick().fit(pd.DataFrame(table) if as_frame else table)
    assert (vae.score_samples(table + [[0], [1]] * 15, "kl") == 0).all()
    assert (vae.kl_per_component_ == 0).all()
    np.testing.assert_array_equal(
        vae.score_samples(table), vae.score_samples(table, "reconstruction")
    )


def test_corrections_do_not_grow_with_an_outlier(fitted, X):
    far = X[:1] + 1e4 * np.eye(X.shape[1])
    _, near_std = fitted.posterior(X[:1] + 1e3 * np.eye(X.shape[1]))
    _, far_std = fitted.posterior(far)
    # ten times as far out is no other row to the networks
    np.testing.assert_allclose(far_std, near_std, rtol=1e-3)
    assert np.isfinite(fitted.score_samples(far)).all()
