"""The discriminator, the generator, and both in an estimator."""

import pickle
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch.distributions import Bernoulli, Independent, Normal

import skvae
from skvae import CollapsedGeneratorWarning, VAETransformer
from skvae._distributions._groups import ColumnGroups
from skvae._distributions._levels import CategoricalColumns
from skvae._distributions._monotone import MonotoneMap, TransformedColumns
from skvae._model._evidence import VAEOutput
from skvae._training._objective_networks import diagnose
from skvae._utils._seed import seeded
from skvae.datasets import make_mixed
from skvae.latents import Gaussian
from skvae.objectives import ELBO, VAEGAN
from skvae.objectives._discriminator import Discriminator, _draw

pytestmark = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")

STANDARD = Gaussian(prior="standard")
SMALL = {"hidden_layer_sizes": (16,), "random_state": 0}


def make_output(n=6, seed=0):
    """Return rows (n, 3) and an output with its decoder, float64."""

    def decode(z):
        return Normal(torch.cat([z, z[..., :1]], dim=-1), 0.5)

    with seeded(seed):
        x = torch.randn(n, 3, dtype=torch.float64)
        loc = (0.5 * x[:, :2]).requires_grad_()
        posterior = Independent(Normal(loc, 0.6), 1)
        prior = Independent(Normal(torch.zeros(2).double(), 1.0), 1)
        z = posterior.rsample((2,))
    return x, VAEOutput(posterior, prior, decode(z), z, decode=decode)


# the discriminator --------------------------------------------------------------------


def test_best_discriminator_is_the_difference_of_log_densities():
    # N(0, 1) and N(1, 1): log p - log q = 1/2 - x, by quadrature over both densities
    grid = torch.linspace(-5, 6, 400).unsqueeze(-1)
    p, q = (Normal(m, 1.0).log_prob(grid[:, 0]).exp() for m in (0.0, 1.0))
    with seeded(0):
        discriminator = Discriminator(Normal(grid, 1.0), grid, (32,))
    u = discriminator.represent(grid)
    # rows and draws at the same points, with a weight for each
    for _ in range(600):
        odds = discriminator(u)
        loss = (p * torch.nn.functional.softplus(-odds)).sum() / p.sum()
        loss = loss + (q * torch.nn.functional.softplus(odds)).sum() / q.sum()
        gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
        with torch.no_grad():
            for w, gradient in zip(discriminator.parameters(), gradients, strict=True):
                w -= 0.3 * gradient
    odds = discriminator(u).detach()
    middle = (grid[:, 0] > -1.5) & (grid[:, 0] < 2.5)
    error = (odds - (0.5 - grid[:, 0]))[middle]
    assert error.abs().max() < 0.1


def test_steps_of_the_discriminator_approach_the_log_ratio():
    with seeded(0):
        real, fake = torch.randn(2000, 1), 1 + torch.randn(2000, 1)
        discriminator = Discriminator(Normal(real, 1.0), real, (16,))
        u, v = discriminator.represent(real), discriminator.represent(fake)
        share = torch.full((2000,), 1 / 2000)
        for _ in range(400):
            discriminator.learn(u, v, share, 0.005, penalty=0.0)
        free = discriminator(
            discriminator.represent(torch.tensor([[-1.0], [0.5], [2.0]]))
        )
        for _ in range(200):
            discriminator.learn(u, v, share, 0.005, penalty=10.0)
        smooth = discriminator(
            discriminator.represent(torch.tensor([[-1.0], [0.5], [2.0]]))
        )
    expected = torch.tensor([1.5, 0.0, -1.5])
    torch.testing.assert_close(free.detach(), expected, atol=0.35, rtol=0)
    # the penalty is on the slope
    assert smooth[0] - smooth[2] < 0.5 * (free[0] - free[2])


def test_rows_and_draws_of_all_kinds_are_represented_alike():
    logits = torch.zeros(4, 3, 1)
    highest = torch.tensor([2])
    likelihood = ColumnGroups(
        [Normal(torch.zeros(4, 1), 1.0), CategoricalColumns(logits, highest)],
        [torch.tensor([1]), torch.tensor([0])],
        torch.tensor([1, 0]),
    )
    x = torch.tensor([[0, 1.0], [2, -1.0], [1, torch.nan], [torch.nan, 0.0]])
    discriminator = Discriminator(likelihood, x, (8,))
    u = discriminator.represent(x)
    # a number, three categories, and two flags
    assert u.shape == (4, 6)
    assert u[:, 1:4].sum(dim=-1).tolist() == [1, 1, 1, 0]
    assert u[:, 4:].tolist() == [[0, 0], [0, 0], [0, 1], [1, 0]]
    assert u[2, 0] == 0
    with seeded(0):
        fake = discriminator.represent_draws(likelihood, x)
    torch.testing.assert_close(fake[:, 4:], u[:, 4:])
    assert fake[:, 1:4].sum(dim=-1).round(decimals=5).tolist() == [1, 1, 1, 0]
    assert fake[2, 0] == 0


def test_draws_have_the_gradient_of_a_quadratic_function_of_zeros_and_ones():
    p = torch.tensor([0.2, 0.5, 0.9]).double().requires_grad_()
    with seeded(0):
        x = _draw(Bernoulli(p.expand(200_000, 3)), torch.ones(3).double())
    loss = (3 * x**2 - x).mean(dim=0).sum()
    (found,) = torch.autograd.grad(loss, p)
    assert set(x.detach().round(decimals=6).unique().tolist()) == {0.0, 1.0}
    # E[3 x² - x] = 2 p
    torch.testing.assert_close(found, torch.full_like(p, 2.0), rtol=0.02, atol=0)


def test_draws_of_transformed_columns_have_their_gradient_through_the_map(monkeypatch):
    def refuse(self):
        raise AssertionError("sums over hundreds of nodes")

    monkeypatch.setattr(TransformedColumns, "_integrate", refuse)
    centre, scale = torch.zeros(2).double(), torch.tensor([1.0, 3.0]).double()
    loc = torch.tensor([[0.5, -0.5]]).double().requires_grad_()
    columns = TransformedColumns(
        Normal(loc, 1.0), torch.zeros(2).double(), MonotoneLine(centre, scale)
    )
    with seeded(0):
        x = _draw(columns, torch.ones(2).double())
    (found,) = torch.autograd.grad(x.sum(), loc)
    torch.testing.assert_close(found, scale[None])


class MonotoneLine(MonotoneMap):
    def bend(self, v):
        return v, torch.zeros_like(v)

    def unbend(self, y):
        return y


# the objective ------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_without_the_discriminator_the_loss_is_that_of_the_elbo(beta):
    x, output = make_output()
    objective = VAEGAN(gan_weight=0.0, feature_weight=0.0, n_draws=2)
    loss, terms = objective(output, x, beta=beta)
    expected, expected_terms = ELBO(2)(output, x, beta=beta)
    torch.testing.assert_close(loss, expected)
    for name, value in expected_terms.items():
        torch.testing.assert_close(terms[name], value)


def test_terms_of_the_loss_add_up():
    x, output = make_output()
    weight = torch.linspace(0.5, 2, 6).double()
    loss, terms = VAEGAN(2.0, 3.0, 0.5, n_draws=2)(output, x, weight, beta=0.7)
    elbo = 0.7 * terms["kl"] - terms["reconstruction"]
    expected = 2 * (elbo + 0.5 * terms["feature"]) + 3 * terms["generator"]
    torch.testing.assert_close(loss, expected)


def test_held_out_rows_have_the_loss_of_the_elbo():
    x, output = make_output()
    with torch.no_grad():
        loss, _ = VAEGAN(elbo_weight=0.0, n_draws=2)(output, x)
        expected, _ = ELBO(2)(output, x)
    torch.testing.assert_close(loss, expected)


def test_rows_and_the_draws_beside_them_count_by_their_weights(monkeypatch):
    x, output = make_output()
    weight = torch.tensor([1, 3, 0, 2, 1, 0]).double()
    rows = torch.repeat_interleave(torch.arange(6), weight.long())
    objective = VAEGAN(n_draws=2)
    discriminator = objective._get_discriminator(output, x)
    # a draw that depends on the row beside it alone
    monkeypatch.setattr(
        discriminator,
        "represent_draws",
        lambda _, x: discriminator.represent(x / 2)[None],
    )
    normal = output.posterior.base_dist
    repeated = VAEOutput(
        Independent(Normal(normal.loc[rows], normal.scale[rows]), 1),
        output.prior,
        Normal(output.likelihood.loc[:, rows], 0.5),
        output.z[:, rows],
        decode=output.decode,
    )
    monkeypatch.setattr(
        objective, "_generate", lambda output, x: discriminator.represent(x / 2)
    )
    loss, terms = objective(output, x, weight)
    expected, expected_terms = objective(repeated, x[rows])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(terms, expected_terms)
    before = [p.detach().clone() for p in discriminator.parameters()]
    objective.learn(output, x, weight)
    after = [p.detach().clone() for p in discriminator.parameters()]
    for p, value in zip(discriminator.parameters(), before, strict=True):
        p.data.copy_(value)
        discriminator.n_steps.zero_()
    for buffer in (b for name, b in discriminator.named_buffers() if "square" in name):
        buffer.zero_()
    objective.learn(repeated, x[rows])
    for p, value in zip(discriminator.parameters(), after, strict=True):
        torch.testing.assert_close(p.detach(), value, rtol=1e-3, atol=1e-6)


# in an estimator ----------------------------------------------------------------------


def encode(vae, X):
    """Return rows in the units of the module, float32."""
    return torch.as_tensor(vae.columns_.encode(np.asarray(X)), dtype=torch.float32)


def fit(X, objective, **params):
    return VAETransformer(objective=objective, **(SMALL | params)).fit(X)


def test_the_generator_alone_learns_mean_and_spread():
    X = np.random.default_rng(0).normal([3.0, -1.0], [2.0, 0.1], (300, 2))
    # from random weights: the linear start is right from the beginning
    vae = fit(
        X,
        VAEGAN(elbo_weight=0.0),
        n_components=2,
        likelihood="gaussian",
        latent=STANDARD,
        init="random",
        max_epochs=15,
    )
    S = vae.sample(2000)
    assert (np.abs(S.mean(axis=0) - X.mean(axis=0)) < 0.25 * X.std(axis=0)).all()
    np.testing.assert_allclose(S.std(axis=0), X.std(axis=0), rtol=0.3)


def make_two_modes():
    """Return 500 rows around (-3, -1.5) and (3, 1.5)."""
    draw = np.random.default_rng(0)
    side = np.where(draw.random((500, 1)) < 0.5, -3.0, 3.0)
    return np.hstack([side, side / 2]) + draw.normal(0, 0.5, (500, 2))


def test_the_generator_alone_finds_two_modes():
    # settings were found by trial; with smaller batches one mode may be lost, as with
    # any such network
    vae = fit(
        make_two_modes(),
        VAEGAN(elbo_weight=0.0),
        n_components=2,
        likelihood="gaussian",
        latent=STANDARD,
        hidden_layer_sizes=(32, 32),
        batch_size=128,
        max_epochs=80,
    )
    S = vae.sample(2000)[:, 0]
    # a quarter of the draws of a normal distribution of this spread are in between
    assert (np.abs(S) < 1).mean() < 0.16
    assert min((S < -2).mean(), (S > 2).mean()) > 0.2


def test_the_discriminator_tells_rows_from_draws(X):
    vae = fit(X, "vaegan", n_components=2, max_epochs=5)
    odds = vae.discriminate(X)
    assert odds.shape == (len(X),)
    assert odds.dtype == np.float64
    # every row by itself
    np.testing.assert_allclose(
        vae.discriminate(X[3:5]), odds[3:5], rtol=1e-4, atol=1e-5
    )


def test_rows_of_which_a_model_draws_too_many_count_as_drawn():
    X = make_two_modes()
    # the linear model, which no step changes: a normal distribution of this spread
    vae = fit(
        X,
        VAEGAN(gan_weight=0.0, feature_weight=0.0, discriminator_lr=0.01),
        n_components=1,
        likelihood="gaussian",
        latent=STANDARD,
        lr=1e-9,
        max_epochs=30,
        early_stopping=False,
    )
    between, left, right = vae.discriminate([[0.0, 0.0], [-3.0, -1.5], [3.0, 1.5]])
    # log N(3 | 3, 0.25) / 2 - log N(3 | 0, 9.25) is 1.6; no row is between the two
    assert between < -1
    assert min(left, right) > 0.3


def test_estimators_without_a_discriminator_do_not_discriminate(X):
    assert not hasattr(VAETransformer(), "discriminate")
    assert hasattr(VAETransformer(objective=VAEGAN()), "discriminate")
    vae = fit(X, "elbo", n_components=2, max_epochs=1)
    with pytest.raises(AttributeError, match="fitted with objective=ELBO"):
        vae.set_params(objective="vaegan").discriminate(X)


def test_tables_of_all_kinds_with_missing_cells_are_learned():
    table = make_mixed(n_samples=150, random_state=0)
    X = pd.DataFrame(table[0] if isinstance(table, tuple) else table)
    X = X.mask(np.random.default_rng(0).random(X.shape) < 0.1)
    vae = fit(X, "vaegan", n_components=2, max_epochs=3)
    assert np.isfinite(vae.discriminate(X)).all()
    discriminator = vae.net_.criterion_.objective.discriminator_
    assert discriminator.has_flags
    # every step has been taken by the recording, too
    assert discriminator.n_steps == sum(r["train_batch_count"] for r in vae.history_)


def test_every_row_has_a_draw_of_its_own_where_categories_of_z_are_enumerated(X):
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    vae = fit(X, "vaegan", n_components=3, latent="categorical", max_epochs=1)
    x = encode(vae, X)
    with torch.no_grad():
        output, objective = vae.net_.infer(x), vae.net_.criterion_.objective
        with monitored_draws(output) as shapes:
            fake = objective._generate(output, x)
    assert shapes == [(1, len(X), 3)]
    assert len(fake) == len(X)
    assert np.isfinite(vae.history_[-1]["train_feature"])


@contextmanager
def monitored_draws(output):
    """Yield the shapes of z that are decoded."""
    shapes, decode = [], output.decode

    def watch(z):
        shapes.append(tuple(z.shape))
        return decode(z)

    output.decode = watch
    yield shapes


def test_draws_of_an_autoregressive_likelihood_have_a_gradient(X):
    vae = fit(
        X[:60], "vaegan", n_components=1, likelihood="autoregressive", max_epochs=1
    )
    x = encode(vae, X[:60])
    fake = vae.net_.criterion_.objective._generate(vae.net_.module_(x), x)
    fake.sum().backward()
    gradients = [p.grad for p in vae.net_.module_.decoder_head.parameters()]
    assert all(g is not None and g.abs().max() > 0 for g in gradients)


def test_images_are_learned():
    X = np.random.default_rng(0).random((60, 1, 8, 8))
    vae = fit(X, "vaegan", n_components=2, image_shape=(1, 8, 8), max_epochs=1)
    assert vae.discriminate(X).shape == (60,)


def test_fitted_estimators_are_copied_and_saved_with_their_discriminator(X, tmp_path):
    vae = fit(X, VAEGAN(hidden_layer_sizes=(8,)), n_components=2, max_epochs=2)
    assert not hasattr(clone(vae).objective, "discriminator_")
    assert not hasattr(vae.objective, "discriminator_")
    skvae.save(vae, tmp_path / "vae.skvae")
    for other in (
        pickle.loads(pickle.dumps(vae)),
        skvae.load(tmp_path / "vae.skvae"),
    ):
        np.testing.assert_array_equal(other.discriminate(X), vae.discriminate(X))


def test_training_goes_on_with_the_discriminator_it_has(X):
    vae = VAETransformer(2, objective="vaegan", **SMALL)
    vae.partial_fit(X[:100])
    discriminator = vae.net_.criterion_.objective.discriminator_
    n_steps = int(discriminator.n_steps)
    weights = [p.detach().clone() for p in discriminator.parameters()]
    vae.partial_fit(X[100:])
    discriminator = vae.net_.criterion_.objective.discriminator_
    assert discriminator.n_steps > n_steps
    # one epoch of steps of 0.002 leads no further
    for p, before in zip(discriminator.parameters(), weights, strict=True):
        assert (p - before).abs().max() < 0.2


def test_weights_of_the_parts_can_be_searched(X):
    vae = VAETransformer(2, objective="vaegan", max_epochs=1, **SMALL)
    search = GridSearchCV(vae, {"objective__gan_weight": [0.1, 1.0]}, cv=2).fit(X)
    assert np.isfinite(search.best_score_)


def test_equal_seeds_give_equal_discriminators(X):
    one, other = (fit(X, "vaegan", n_components=2, max_epochs=2) for _ in range(2))
    np.testing.assert_array_equal(one.discriminate(X), other.discriminate(X))


def test_the_generator_alone_keeps_its_last_weights(X):
    vae = fit(X, VAEGAN(elbo_weight=0.0), n_components=2, max_epochs=3)
    assert len(vae.history_) == 3
    start = VAETransformer(2, max_epochs=0, density="joint", **SMALL).fit(X)
    assert not np.allclose(vae.score_samples(X), start.score_samples(X))


def test_steps_of_skorch_train_the_discriminator_as_well(X):
    from skorch.callbacks import Callback

    class Watch(Callback):
        def on_batch_end(self, net, **kwargs):
            pass

    vae = fit(X, "vaegan", n_components=2, max_epochs=1, net_callbacks=[Watch()])
    assert vae.net_.criterion_.objective.discriminator_.n_steps > 0
    assert np.isfinite(vae.history_[-1]["train_generator"])


def test_draws_that_are_all_alike_are_warned_of(X, monkeypatch):
    vae = fit(X, "vaegan", n_components=2, max_epochs=1)
    net = vae.net_
    assert diagnose(net, vae.columns_, np.asarray(X)) is None
    decode = type(net.module_).decode

    def collapse(module, z):
        likelihood = decode(module, 0 * z)
        return Normal(likelihood.mean, 1e-3)

    monkeypatch.setattr(type(net.module_), "decode", collapse)
    with pytest.warns(CollapsedGeneratorWarning, match="are alike"):
        vae._diagnose(X)


def test_a_discriminator_that_knows_every_row_is_warned_of(X):
    vae = fit(X, "vaegan", n_components=2, max_epochs=1)
    discriminator = vae.net_.criterion_.objective.discriminator_
    # odds of ±10 for draws that are like rows, and elsewhere
    discriminator.represent_draws = lambda likelihood, x: (
        discriminator.represent(x)[None] + 20
    )
    discriminator.forward = lambda u: 20 * (0.5 - (u[..., 0] > 10).to(u))
    with pytest.warns(CollapsedGeneratorWarning, match="without error"):
        vae._diagnose(X)
