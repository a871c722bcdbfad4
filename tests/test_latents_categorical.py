import itertools
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score
from torch.distributions import OneHotCategorical, kl_divergence

from skvae import UnusedComponentsWarning, VAETransformer
from skvae._distributions._base import detach
from skvae._distributions._one_hot import OneHotCategoricals
from skvae._model._evidence import VAEOutput, make_noise
from skvae._model._module import VAEModule
from skvae._start import initialize_mixture, initialize_random, stack_tensors
from skvae._training._splits import Splits, make_splits
from skvae._utils._seed import seeded
from skvae.callbacks import Annealing
from skvae.datasets import make_clusters
from skvae.latents import Categorical
from skvae.likelihoods import Bernoulli, Gaussian, GaussianMixture, LogNormal
from skvae.networks import MLP
from skvae.objectives import ELBO, IWAE

# a seeded average further than this from its expectation is a bug, not bad luck
N_STANDARD_ERRORS = 5

# latents of 6 components, with 6 and with 9 joint values
VARIANTS = [Categorical(), Categorical(3), Categorical(3, prior="uniform")]
over_variants = pytest.mark.parametrize("latent", VARIANTS, ids=repr)
quiet = pytest.mark.filterwarnings("ignore::skvae.UnusedComponentsWarning")


def make_logits(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make_posterior(latent, n_samples=4, seed=0):
    loc = make_logits(n_samples, 6, seed=seed)
    return latent.posterior(torch.zeros(n_samples, 1, 6), loc, torch.ones(1, 6))


def make_prior(latent, seed=1):
    prior = latent.make_prior(6).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(make_logits(6, seed=seed))
    return prior()


def make_module(latent, likelihood=None, n_copies=None, random=False, n_samples=60):
    """Return a module of 6 components with weights away from the start, its rows."""
    likelihood = Gaussian() if likelihood is None else likelihood
    x, _, _ = make_clusters(n_samples, n_features=4, random_state=0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    if not likelihood.link.is_scaled:
        x = (x > 0).astype(float)
    rows = np.arange(n_samples)
    splits = Splits([rows] * (n_copies or 1), [], rows)
    if random:
        starts = initialize_random(x, None, splits, 6, likelihood.link)
    else:
        starts = initialize_mixture(x, None, splits, 6, likelihood, seed=0)
    with seeded(0):
        module = VAEModule(
            MLP((8,)), latent, likelihood, stack_tensors(starts), n_copies, not random
        )
    scaled = [torch.as_tensor((x - s.shift) / s.unit) for s in starts]
    return module.double(), (torch.stack(scaled) if n_copies else scaled[0]), starts


def randomize(module, scale=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            values = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(scale * values)


# the distribution ---------------------------------------------------------------------


def test_distribution_of_one_variable_is_that_of_torch():
    logits, other = make_logits(3, 1, 5), make_logits(1, 5, seed=1)
    ours, theirs = OneHotCategoricals(logits), OneHotCategorical(logits=logits[:, 0])
    assert ours.batch_shape == theirs.batch_shape == (3,)
    assert ours.event_shape == theirs.event_shape == (5,)
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    z = torch.eye(5, dtype=torch.float64)[:3]
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z))
    kl = kl_divergence(ours, OneHotCategoricals(other))
    torch.testing.assert_close(
        kl, kl_divergence(theirs, OneHotCategorical(logits=other[0]))
    )


@over_variants
def test_probabilities_of_all_values_sum_to_one(latent):
    states = latent.enumerate(6).double()
    assert len(states) == (6 if latent.n_categories is None else 9)
    for distribution in (make_posterior(latent), make_prior(latent)):
        total = distribution.log_prob(states[:, None]).exp().sum(dim=0)
        torch.testing.assert_close(total, torch.ones_like(total))


@over_variants
def test_kl_is_the_sum_over_all_values_and_zero_at_the_prior(latent):
    posterior, prior = make_posterior(latent), make_prior(latent)
    states = latent.enumerate(6).double()[:, None]
    log_q = posterior.log_prob(states)
    expected = (log_q.exp() * (log_q - prior.log_prob(states))).sum(dim=0)
    output = VAEOutput(posterior, prior, None, states)
    torch.testing.assert_close(output.kl()[0], expected)
    assert (expected > 0).all()
    loc = prior.log_probs.flatten(-2)
    same = latent.posterior(torch.zeros(1, 6), loc, None)
    assert VAEOutput(same, prior, None, None).kl().abs().max() < 1e-12


@over_variants
def test_draws_meet_the_probabilities(latent):
    posterior = make_posterior(latent)
    with seeded(0):
        noise = torch.randn(20_000, 1, 6, dtype=torch.float64)
        hard, sampled = latent.draw(posterior, noise), posterior.sample((20_000,))
        posterior.temperature = 1e-3
        cold = latent.draw(posterior, n_draws=20_000)
    bound = N_STANDARD_ERRORS * posterior.stddev / 20_000**0.5
    for z in (hard, sampled, cold):
        assert z.shape == (20_000, 4, 6)
        assert ((z.mean(dim=0) - posterior.mean).abs() < bound).all()
    for z in (hard, sampled):
        assert set(z.unique().tolist()) == {0.0, 1.0}
        per_variable = z.unflatten(-1, posterior.log_probs.shape[-2:]).sum(dim=-1)
        assert (per_variable == 1).all()


@over_variants
def test_relaxed_draws_lie_on_the_simplex_and_carry_the_gradient(latent):
    raw = make_logits(4, 1, 6).requires_grad_()
    posterior = latent.posterior(raw, torch.zeros(4, 6).double(), None)
    z = latent.draw(posterior, n_draws=7)
    assert ((z > 0) & (z < 1)).all()
    total = z.unflatten(-1, posterior.log_probs.shape[-2:]).sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    weights = make_logits(6, seed=3)
    (gradient,) = torch.autograd.grad((z * weights).sum(), raw)
    assert (gradient != 0).all()


@over_variants
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_posterior_is_finite_at_extreme_values(latent, size):
    raw = (size * make_logits(4, 1, 6)).requires_grad_()
    posterior = latent.posterior(raw, torch.zeros(4, 6).double(), None)
    assert (posterior.mean > 0).all()
    states = latent.enumerate(6).double()[:, None]
    for z in (states, latent.draw(posterior, n_draws=3)):
        log_prob = posterior.log_prob(z)
        assert torch.isfinite(log_prob).all()
        (gradient,) = torch.autograd.grad(log_prob.sum(), raw, retain_graph=True)
        assert torch.isfinite(gradient).all()


@over_variants
def test_recentred_posterior_is_itself(latent):
    posterior = make_posterior(latent)
    loc, scale = latent.get_loc_scale(posterior)
    again = latent.posterior(torch.zeros(4, 1, 6), loc, scale)
    torch.testing.assert_close(again.mean, posterior.mean)


@over_variants
def test_kl_of_components_is_positive_and_sums_to_the_kl(latent):
    posterior, prior = make_posterior(latent), make_prior(latent)
    terms = latent.log_ratio_per_component(posterior, prior, None)
    assert terms.shape == (1, 4, 6)
    assert (terms >= 0).all()
    torch.testing.assert_close(terms.sum(-1)[0], kl_divergence(posterior, prior))


def test_detached_distribution_has_no_gradient():
    logits = make_logits(2, 2, 3).requires_grad_()
    assert not detach(OneHotCategoricals(logits)).log_probs.requires_grad


def test_embedding_is_probabilities_or_ones():
    posterior = make_posterior(Categorical(3))
    torch.testing.assert_close(Categorical(3).embed(posterior), posterior.mean)
    ones = Categorical(3, embedding="onehot").embed(posterior)
    assert (ones.unflatten(-1, (2, 3)).sum(dim=-1) == 1).all()
    assert (ones * posterior.mean).sum(-1).min() >= 2 / 3


# the module ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "likelihood",
    [Gaussian(), Gaussian("shared"), Gaussian("network"), Gaussian(0.5)],
    ids=repr,
)
def test_module_without_corrections_is_the_mixture(likelihood):
    module, rows, (start,) = make_module(Categorical(), likelihood)
    with torch.no_grad():
        module.prior.logits.copy_(torch.as_tensor(start.model.weights).log())
    output = module(rows, noise=torch.zeros(1, 6))
    x = start.shift + start.unit * rows.numpy()
    expected = start.model.score_samples(x) + np.log(start.unit).sum()
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(output.log_evidence(rows), expected, rtol=0, atol=1e-9)
    # the posterior is exact: the bound is tight
    torch.testing.assert_close(output.elbo(rows), expected, rtol=0, atol=1e-9)


def test_start_of_binary_columns_has_the_clusters_shares():
    module, rows, _ = make_module(Categorical(), Bernoulli())
    z = torch.eye(6, dtype=torch.float64)
    probs = module.decode(z).mean
    assert probs.shape == (6, 4)
    share = module.encode(rows).mean
    expected = (share.T @ rows) / share.sum(dim=0)[:, None]
    is_used = share.sum(dim=0) > 3
    assert is_used.sum() >= 3
    # soft shares of few rows by a posterior that is not exact
    assert (probs - expected)[is_used].abs().max() < 0.3


@quiet
@pytest.mark.parametrize(
    "name", ["poisson", "negative_binomial", "zero_inflated", "ordinal", "categorical"]
)
def test_start_finds_the_kinds_of_rows_that_are_no_measurements(name):
    random = np.random.default_rng(0)
    labels = random.integers(3, size=600)
    rates = np.array([[1, 8, 3, 20], [10, 1, 3, 2], [4, 4, 15, 0.3]])
    X = np.minimum(random.poisson(rates[labels]), 9)
    vae = VAETransformer(
        3, latent="categorical", likelihood=name, max_epochs=0, random_state=0
    ).fit(X)
    found = vae.transform(X).argmax(axis=1)
    # identical clusters, which is where training must not start, have 0
    assert adjusted_rand_score(labels, found) > 0.8


@quiet
@pytest.mark.parametrize("floor", [1e-2, 1e-4])
def test_noise_of_linked_clusters_may_fall_to_the_floor(floor):
    X = np.exp(make_clusters(400, n_features=3, random_state=0)[0] / 4)
    vae = VAETransformer(
        3,
        latent="categorical",
        likelihood=LogNormal(variance_floor=floor),
        max_epochs=0,
        random_state=0,
    ).fit(X)
    module, log_x = vae.net_.module_, np.log(X)
    _, log_unit = module.linear_start.decoder_bias.view(2, 3)
    least = torch.exp(2 * (log_unit - module.linear_start.log_range[0])).numpy()
    # clusters differ in their noise: the floor is one of their mean
    assert np.abs(np.log(least / log_x.var(axis=0) / floor)).max() < np.log(3)


@over_variants
@pytest.mark.parametrize("likelihood", [Gaussian(), GaussianMixture()], ids=repr)
def test_scores_are_sums_over_all_values(latent, likelihood):
    module, rows, _ = make_module(latent, likelihood, random=True)
    randomize(module)
    output = module(rows, noise=torch.zeros(5, 6))
    states = [
        torch.cat(parts)
        for parts in itertools.product(
            *[torch.eye(latent.n_categories or 6, dtype=torch.float64)]
            * (2 if latent.n_categories else 1)
        )
    ]
    posterior, prior = output.posterior, output.prior
    total, bound = [], 0.0
    for z in states:
        likelihood_z = module.decode(z.expand(len(rows), 1, 6)[:, 0])
        log_joint = likelihood_z.log_prob(rows).sum(-1) + prior.log_prob(z)
        log_q = posterior.log_prob(z)
        total.append(log_joint)
        bound = bound + log_q.exp() * (log_joint - log_q)
    evidence = torch.stack(total).logsumexp(dim=0)
    torch.testing.assert_close(output.log_evidence(rows), evidence, atol=1e-9, rtol=0)
    torch.testing.assert_close(output.elbo(rows), bound, atol=1e-9, rtol=0)
    assert (output.elbo(rows) <= evidence).all()


def test_draws_approach_the_sum_over_all_values():
    latent = Categorical(3)
    module, rows, _ = make_module(latent, random=True)
    randomize(module, 0.1)
    exact = module(rows, noise=torch.zeros(1, 6))
    posterior = exact.posterior
    noise = make_noise(20_000, 6, np.random.default_rng(0)).unsqueeze(1)
    z = latent.draw(posterior, noise)
    with torch.no_grad():
        drawn = VAEOutput(posterior, exact.prior, module.decode(z), z)
        log_weights = drawn.log_weights(rows)
        error = log_weights.std(dim=0) / 20_000**0.5
        difference = (drawn.elbo(rows) - exact.elbo(rows)).abs()
        assert (difference < N_STANDARD_ERRORS * error).all()
        # E_q[p(x, z) / q(z|x)] = p(x)
        ratio = (log_weights - exact.log_evidence(rows)).exp()
        error = ratio.std(dim=0) / 20_000**0.5
        assert ((ratio.mean(dim=0) - 1).abs() < N_STANDARD_ERRORS * error).all()


@pytest.mark.parametrize("latent", [Categorical(), Categorical(3)], ids=repr)
def test_stacked_copies_are_separate_modules(latent):
    module, rows, _ = make_module(latent, n_copies=2, random=True)
    randomize(module)
    for gradient in ("auto", "gumbel"):
        module.latent.gradient = gradient
        with seeded(0):
            loss, _ = ELBO(2)(module(rows, n_draws=2), rows)
        grads = torch.autograd.grad(loss, list(module.parameters()))
        assert all(torch.isfinite(g).all() and g.any() for g in grads)
    module.latent.gradient = "auto"
    output = module(rows, noise=torch.zeros(1, 6))
    for i in range(2):
        single = module.select(i).double()
        expected = single(rows[i], noise=torch.zeros(1, 6))
        for name in ("elbo", "log_evidence"):
            torch.testing.assert_close(
                getattr(output, name)(rows)[i], getattr(expected, name)(rows[i])
            )


def test_exact_gradient_is_the_mean_of_score_function_gradients():
    # d/dφ Σ q(z) f(z) = E_q[f(z) d log q(z)/dφ], whatever f
    latent = Categorical()
    module, rows, _ = make_module(latent, random=True, n_samples=5)
    randomize(module)
    parameters = list(module.encoder.parameters())
    loss, terms = ELBO()(module(rows), rows)
    exact = torch.autograd.grad(loss, parameters)
    output = module(rows, noise=torch.zeros(1, 6))
    value = (output.log_weights(rows)).detach()  # (6, n)
    log_q = output.posterior.log_prob(output.z)
    score = -(log_q.detach().exp() * value * log_q).sum(dim=0).mean()
    for ours, other in zip(exact, torch.autograd.grad(score, parameters), strict=True):
        torch.testing.assert_close(ours, other)
    elbo = output.elbo(rows).mean()
    torch.testing.assert_close(loss, -elbo)
    torch.testing.assert_close(terms["reconstruction"] - terms["kl"], elbo.detach())


def test_iwae_of_all_values_is_the_evidence_and_trains_the_encoder():
    module, rows, _ = make_module(Categorical(), random=True)
    randomize(module)
    loss, _ = IWAE()(module(rows), rows)
    output = module(rows, noise=torch.zeros(1, 6))
    torch.testing.assert_close(loss, -output.log_evidence(rows).mean())
    ours = torch.autograd.grad(loss, list(module.parameters()))
    elbo, _ = ELBO()(module(rows), rows)
    by_elbo = torch.autograd.grad(elbo, list(module.parameters()))
    by_evidence = torch.autograd.grad(
        -output.log_evidence(rows).mean(), list(module.parameters()), allow_unused=True
    )
    names = [name for name, _ in module.named_parameters()]
    for name, one, by_q, by_p in zip(names, ours, by_elbo, by_evidence, strict=True):
        torch.testing.assert_close(one, by_q if "encoder" in name else by_p)


def test_temperature_falls_exponentially():
    latent = Categorical(temperature=2.0, min_temperature=0.5, gradient="gumbel")
    module, rows, _ = make_module(latent)
    assert latent.is_annealed
    for progress, expected in ((0.0, 2.0), (0.5, 1.0), (1.0, 0.5)):
        latent.anneal(module.prior, progress)
        assert module.prior.temperature.item() == pytest.approx(expected)
        assert module(rows).posterior.temperature.item() == pytest.approx(expected)


@pytest.mark.parametrize("n_epochs", [1, 4])
def test_training_ends_at_the_lowest_temperature(n_epochs):
    latent = Categorical(temperature=2.0, min_temperature=0.5, gradient="gumbel")
    module, _, _ = make_module(latent)
    net = SimpleNamespace(module_=module, history=[])
    found = []
    for _ in range(n_epochs):
        net.history.append({})
        Annealing(n_epochs).on_epoch_begin(net)
        found.append(module.prior.temperature.item())
    expected = np.geomspace(2.0, 0.5, n_epochs)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# the estimator ------------------------------------------------------------------------


@pytest.mark.parametrize("separation", [1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_clusters_are_recovered_within_a_twentieth_of_a_nat(seed, separation):
    X, labels, log_density = make_clusters(
        6000, separation=separation, random_state=seed
    )
    vae = VAETransformer(
        5,
        latent="categorical",
        likelihood=Gaussian(noise="network"),
        hidden_layer_sizes=(16,),
        max_epochs=10,
        lr=0.01,
        random_state=seed,
    ).fit(X[:4000])
    truth = log_density[4000:].mean()
    elbo, evidence = (
        vae.score_samples(X[4000:], method).mean() for method in ("elbo", "evidence")
    )
    assert elbo <= evidence
    assert abs(elbo - truth) < 0.05
    assert abs(evidence - truth) < 0.05
    found = vae.transform(X[4000:]).argmax(axis=1)
    assert adjusted_rand_score(labels[4000:], found) > 0.9


@quiet
@pytest.mark.parametrize("likelihood", ["gaussian_mixture", "gaussian"])
def test_evidence_is_the_log_of_a_sum_over_categories(likelihood):
    X = load_iris().data
    vae = VAETransformer(
        3,
        latent="categorical",
        likelihood=likelihood,
        hidden_layer_sizes=(16,),
        max_epochs=3,
        random_state=0,
    ).fit(X)
    evidence = vae.score_samples(X, "evidence")
    elbo, refined = vae.score_samples(X), vae.score_samples(X, "refined")
    assert (elbo <= evidence + 1e-9).all()
    assert (elbo <= refined + 1e-9).all()
    assert (refined <= evidence + 1e-9).all()
    # the posterior of one variable can be exact
    np.testing.assert_allclose(refined, evidence, atol=2e-3)
    kl = vae.score_samples(X, "kl")
    reconstruction = vae.score_samples(X, "reconstruction")
    np.testing.assert_allclose(elbo, reconstruction - kl, atol=1e-9)
    features = vae.score_features(X).sum(axis=1)
    np.testing.assert_allclose(features, reconstruction, atol=1e-9)
    assert vae.kl_per_component_.sum() == pytest.approx(kl.mean())


@quiet
def test_rows_are_scored_one_by_one_where_values_are_many():
    # 4 ** 6 values: draws
    X, _, _ = make_clusters(300, random_state=0)
    vae = VAETransformer(
        24,
        latent=Categorical(4),
        hidden_layer_sizes=(16,),
        max_epochs=2,
        n_draws=8,
        random_state=0,
    ).fit(X)
    for method in ("elbo", "evidence", "refined", "kl"):
        whole = vae.score_samples(X[:20], method)
        assert np.isfinite(whole).all()
        np.testing.assert_allclose(whole[3:5], vae.score_samples(X[3:5], method))
    assert (vae.score_samples(X[:20], "refined") >= vae.score_samples(X[:20])).all()


@quiet
@pytest.mark.parametrize("embedding", ["probabilities", "onehot"])
def test_transform_and_back(embedding):
    X, _, _ = make_clusters(300, random_state=0)
    vae = VAETransformer(
        5,
        latent=Categorical(embedding=embedding),
        hidden_layer_sizes=(16,),
        max_epochs=2,
        random_state=0,
    ).fit(X)
    Z = vae.transform(X)
    np.testing.assert_allclose(Z.sum(axis=1), 1, atol=1e-5)
    mean, std = vae.posterior(X)
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(std**2, mean * (1 - mean), atol=1e-5)
    np.testing.assert_allclose(vae.inverse_transform(Z), vae.reconstruct(X))
    centres = vae.inverse_transform(np.eye(5))
    assert centres.shape == (5, 6)
    assert vae.sample(50, random_state=0).shape == (50, 6)
    # z is one-hot: means of samples are the centres themselves
    drawn = vae.sample(50, random_state=0, mean=True)
    distance = np.abs(drawn[:, None] - centres).max(axis=-1).min(axis=1)
    assert distance.max() < 1e-4


@quiet
def test_fit_is_deterministic_and_can_be_pickled_and_goes_on():
    X, _, _ = make_clusters(200, random_state=0)
    vae = VAETransformer(
        5,
        latent=Categorical(gradient="gumbel"),
        hidden_layer_sizes=(16,),
        max_epochs=2,
        random_state=0,
        warm_start=True,
    )
    score = vae.fit(X).score(X)
    again = clone(vae).fit(X)
    assert again.score(X) == score
    assert pickle.loads(pickle.dumps(vae)).score(X) == score
    assert np.isfinite(vae.fit(X).score(X))
    callbacks = [c for _, c in again.net_.callbacks_ if isinstance(c, Annealing)]
    assert len(callbacks) == 1


def test_unused_categories_are_warned_of():
    # two kinds of rows
    X = np.repeat(np.arange(600)[:, None] % 2, 5, axis=1).astype(float)
    vae = VAETransformer(
        4, latent="categorical", likelihood="bernoulli", max_epochs=3, random_state=0
    )
    with pytest.warns(UnusedComponentsWarning, match="2 of 4 components are unused"):
        vae.fit(X)
    vae.set_params(n_components=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.fit(X)
    # which of the two a row is
    assert vae.kl_per_component_.sum() == pytest.approx(np.log(2), abs=0.02)
    assert vae.score(X) == pytest.approx(-np.log(2), abs=0.1)


@pytest.mark.parametrize(
    ("latent", "n_components", "words"),
    [
        (Categorical(4), 6, "n_components=6.*n_categories=4"),
        (Categorical(4), 2, "n_components=2.*n_categories=4"),
        (Categorical(4, gradient="exact"), 24, "gradient='exact'.*4096"),
        (Categorical(1), 2, "n_categories=1"),
        (Categorical(2.5), 2, "n_categories=2.5"),
        (Categorical(prior="mixture"), 2, "prior='mixture'"),
        (Categorical(gradient="score"), 2, "gradient='score'"),
        (Categorical(temperature=0.0), 2, "temperature=0.0"),
        (Categorical(min_temperature="low"), 2, "min_temperature='low'"),
        (Categorical(temperature=0.1), 2, "min_temperature=0.5.*temperature=0.1"),
        (Categorical(embedding="mean"), 2, "embedding='mean'"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(latent, n_components, words):
    X = np.random.default_rng(0).standard_normal((30, 3))
    with pytest.raises((ValueError, TypeError), match=words):
        VAETransformer(n_components, latent=latent, max_epochs=0).fit(X)


def test_starts_of_splits_know_their_own_rows_alone():
    x, _, _ = make_clusters(200, random_state=0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    splits = make_splits(len(x), 0.2, np.random.default_rng(0), can_stack=True)
    starts = initialize_mixture(x, None, splits, 5, Gaussian(), seed=0)
    assert len(starts) == splits.n_copies
    other = x.copy()
    other[splits.valid[0]] += 0.1
    again = initialize_mixture(other, None, splits, 5, Gaussian(), seed=0)
    # the same clusters, in the same order, in spite of moved rows held out
    first, second = starts[0].model.means, again[0].model.means
    np.testing.assert_allclose(first, second, atol=0.2)
