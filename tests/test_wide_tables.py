"""Tables with hundreds of columns: what is different about their training."""

import pickle

import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._model._chunks import make_precise, run_blocks
from skvae._model._evidence import make_noise
from skvae._model._score import compute_kl_per_component
from skvae._training._net_arguments import _count_draws, resolve_batch_size
from skvae._training._splits import make_splits

N, D = 60, 320


def make_table(n_features=D):
    generator = np.random.default_rng(0)
    z, loadings = generator.normal(size=(N, 2)), generator.normal(size=(2, n_features))
    return z @ loadings + 0.3 * generator.normal(size=(N, n_features))


@pytest.fixture(scope="module")
def wide():
    return VAETransformer(2, max_epochs=2, random_state=0).fit(make_table())


def test_head_has_low_rank_where_many_columns_have_several_outputs(wide):
    module = wide.net_.module_
    rank = module.decoder_head.weight.shape[0]
    assert module.decoder_neck.weight.shape[1] == rank
    assert rank < module.decoder_neck.weight.shape[0]
    # one output a column is no more than the columns have inputs
    assert module.linear_start.map.decoder_neck is None


@pytest.mark.parametrize(
    ("n_features", "params"),
    [(40, {}), (D, {"likelihood": "gaussian"}), (D, {"hidden_layer_sizes": (16,)})],
)
def test_other_heads_are_full(n_features, params):
    vae = VAETransformer(2, max_epochs=1, random_state=0, **params)
    module = vae.fit(make_table(n_features)).net_.module_
    assert module.decoder_neck is None


def test_scores_of_a_wide_table_depend_on_the_row_alone(wide):
    X = make_table()
    expected = wide.score_samples(X)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(wide.score_samples(X[7:10]), expected[7:10], rtol=1e-9)
    again = pickle.loads(pickle.dumps(wide))
    np.testing.assert_array_equal(again.score_samples(X), expected)


def test_density_of_a_wide_table_beats_its_linear_model(wide):
    linear = VAETransformer(2, hidden_layer_sizes=(), random_state=0)
    X = make_table()
    assert wide.score(X) > linear.fit(X).score(X) - 0.05 * D


@pytest.mark.parametrize(
    ("n_features", "n_steps"), [(1, 32), (128, 32), (256, 16), (512, 12), (20_000, 6)]
)
def test_epochs_of_wide_tables_have_fewer_steps(n_features, n_steps):
    assert resolve_batch_size("auto", 100, n_features) == (64, n_steps)
    assert resolve_batch_size(10, 100, n_features) == (10, 1)


def test_many_columns_average_over_draws():
    assert _count_draws(60, 10) == _count_draws(60, 128) == 16
    assert _count_draws(60, 1000) == _count_draws(60, 20_000) == 4
    assert _count_draws(5000, 1000) == 2


def test_detector_of_the_widest_tables_has_one_fold():
    splits = make_splits(
        500, 0.1, np.random.default_rng(0), True, covers=True, n_features=20_000
    )
    assert splits.n_copies is None


# after one epoch components may still be unused
@pytest.mark.filterwarnings("ignore::skvae._utils._warnings.UnusedComponentsWarning")
@pytest.mark.parametrize("latent", ["gaussian", "categorical", "hierarchical"], ids=str)
def test_diagnosis_from_the_posterior_is_that_of_decoded_draws(latent):
    vae = VAETransformer(3, latent=latent, max_epochs=1, random_state=0)
    module = make_precise(vae.fit(make_table(12)).net_.module_)
    x = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator())
    noise = make_noise(8, 3, np.random.default_rng(0))
    with torch.no_grad():
        found = compute_kl_per_component(module, x, noise)
        (output,) = run_blocks(module, x, noise)
        values = module.latent.log_ratio_per_component(
            output.posterior, output.prior, output.z
        )
        share = output.log_share
        if share is None:
            expected = values.mean(dim=0)
        else:
            expected = (share.exp().unsqueeze(-1) * values).sum(dim=0)
    torch.testing.assert_close(found, expected)
