import copy
import functools
import pickle

import numpy as np
import pytest
import torch
from covering import cover

from skvae._model._chunks import make_precise
from skvae._model._cost import count_widest, count_work
from skvae._model._evidence import make_noise
from skvae._model._initialization import initialize_members
from skvae._model._module import VAEModule
from skvae._model._score import score_refined, score_rows
from skvae._start import initialize_linear, initialize_random, stack_tensors
from skvae._training._splits import make_splits
from skvae._utils._seed import seeded
from skvae.datasets import make_factors
from skvae.latents import LATENTS, Categorical, Gaussian, Hierarchical
from skvae.likelihoods import LIKELIHOODS, GaussianMixture
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import MLP, NETWORKS
from skvae.networks._layers import squash
from skvae.objectives import ELBO

LIKELIHOOD_VARIANTS = [
    *(cls() for cls in LIKELIHOODS.values()),
    GaussianNoise(noise="shared"),
    GaussianNoise(noise="network"),
    GaussianNoise(noise=0.5),
]
# those that are the linear model, and not near it, where training starts
EXACT = [
    likelihood
    for likelihood in LIKELIHOOD_VARIANTS
    if isinstance(likelihood, GaussianNoise | GaussianMixture)
]
# what a likelihood without units makes its values of; 0 and 1 where not named
TABLES = {
    "LogNormal": np.exp,
    "Beta": lambda X: 1 / (1 + np.exp(-X)),
    "ContinuousBernoulli": lambda X: 1 / (1 + np.exp(-X)),
    # numbers, not zeros and ones: those have next to no noise, and no digits left
    "Transformed": lambda X: X,
    "Censored": lambda X: np.maximum(X, 0.0),
    "HurdleLogNormal": lambda X: np.exp(X) * (X > -0.5),
}
# these do not start at the posterior of the linear model: their tests are elsewhere
OTHER_LATENTS = Categorical, Hierarchical
LATENT_VARIANTS = [
    *(cls() for cls in LATENTS.values() if cls not in OTHER_LATENTS),
    Gaussian(prior="mixture", n_mixture=3),
    Gaussian(prior="vamp", n_mixture=3),
    Gaussian(prior="standard", prior_scale=2.5),
    Gaussian(prior="standard", covariance="full"),
    Gaussian(prior="vamp", n_mixture=3, covariance="full"),
]
# whose prior starts as that of the linear model
ANCHORED = [latent for latent in LATENT_VARIANTS if latent.is_anchored]

over_likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOOD_VARIANTS, ids=repr)
over_latents = pytest.mark.parametrize("latent", LATENT_VARIANTS, ids=repr)
# small ones of the first, and all others of the registry
NETWORK_VARIANTS = [
    MLP((8,)),
    MLP(()),
    *(cls() for cls in NETWORKS.values() if cls is not MLP),
]
for network in NETWORK_VARIANTS:
    network.set_image((1, 2, 3))
STACKABLE = [network for network in NETWORK_VARIANTS if network.is_stackable]
# A likelihood and a latent meet in the sum of two log densities only: every one of
# either is here, and both meet all that else there is. All pairs of the two are in
# `test_every_parameter_gets_a_gradient`.
MEMBERS = cover(LIKELIHOOD_VARIANTS, LATENT_VARIANTS, strength=1)


def over_members(names="", *factors):
    """Run a test over likelihoods and latents, all pairs of them and other factors."""
    names = ["likelihood", "latent", *filter(None, names.split(","))]
    rows = cover(MEMBERS, *factors, strength=min(2, 1 + len(factors)))
    rows = [(*members, *rest) for members, *rest in rows]
    return pytest.mark.parametrize(names, rows, ids=repr)


def over_pairs(names, *factors):
    """Run a test over combinations in which any two values meet."""
    rows = cover(*factors, strength=2)
    return pytest.mark.parametrize(names.split(","), rows, ids=repr)


def make_table(likelihood, n_samples=60, n_features=6, seed=0):
    X, _ = make_factors(n_samples, n_features, n_components=2, random_state=seed)
    if not likelihood.link.is_scaled:
        make = TABLES.get(type(likelihood).__name__, lambda X: X > 0)
        return make(X).astype(float)
    return (X - X.mean(axis=0)) / X.std(axis=0)


class Key:
    """A likelihood that equals others with its parameters."""

    def __init__(self, likelihood):
        self.likelihood, self.shown = likelihood, repr(likelihood)

    def __eq__(self, other):
        return self.shown == other.shown

    def __hash__(self):
        return hash(self.shown)


@functools.cache
def make_starts(key, n_components, stacked, init):
    """Return starts and splits, the same for all latents and networks."""
    x = make_table(key.likelihood)
    generator = np.random.default_rng(0)
    splits = make_splits(len(x), 0.2 if stacked else None, generator, stacked)
    arguments = x, None, splits, n_components, key.likelihood.link
    if init == "linear":
        return initialize_linear(*arguments, np.ones(x.shape[1])), splits
    return initialize_random(*arguments), splits


def make_module(
    likelihood, latent, network, *, n_components=2, stacked=False, init="linear"
):
    """Return a module, its rows in the units of the module, its starts and splits."""
    x = make_table(likelihood)
    likelihood.adapt(x)
    if network.needs_images and likelihood.link.count_inputs(6) != 6:
        # refused in an estimator, as are codes: several values are no pixel
        network = NETWORK_VARIANTS[0]
    key = Key(likelihood)
    starts, splits = copy.deepcopy(make_starts(key, n_components, stacked, init))
    with seeded(0):
        module = VAEModule(
            network,
            latent,
            likelihood,
            stack_tensors(starts),
            splits.n_copies,
            is_corrected=init == "linear",
        )
    rows = [torch.as_tensor((x - start.shift) / start.unit) for start in starts]
    rows = torch.stack(rows) if stacked else rows[0]
    return module, rows, starts, splits, x


def pickle_round_trip(module):
    return pickle.loads(pickle.dumps(module))


def randomize(module, scale=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))


@over_pairs(
    "likelihood,latent,network,n_components",
    EXACT,
    ANCHORED,
    NETWORK_VARIANTS,
    [1, 2, 9],
)
def test_module_without_corrections_is_the_linear_model(
    likelihood, latent, network, n_components
):
    module, rows, (start,), _, x = make_module(
        likelihood, latent, network, n_components=n_components
    )
    if latent.unit != 1:
        # the logarithm of the prior's scale, which is not zero then
        module = module.double()
    # the posterior is exact: every draw has the weight p(x)
    noise = make_noise(4, n_components, np.random.default_rng(0))
    log_weights = module(rows, noise=noise).log_weights(rows)
    assert log_weights.shape == (4, len(x))
    expected = torch.as_tensor(start.model.score_samples(x) + np.log(start.unit).sum())
    torch.testing.assert_close(log_weights.mean(dim=0), expected, rtol=0, atol=1e-9)
    expected = expected.expand_as(log_weights)
    torch.testing.assert_close(log_weights, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("unit", [0.3, 1.0, 20.0])
def test_unit_of_the_latent_is_the_scale_of_z_alone(covariance, unit):
    noise = make_noise(4, 2, np.random.default_rng(0))
    outputs = []
    for scale in (1.0, unit):
        latent = Gaussian("standard", covariance=covariance, prior_scale=scale)
        module, rows, *_ = make_module(GaussianNoise(), latent, MLP((8,)))
        randomize(module)
        outputs.append(module.double()(rows, noise=noise))
    one, other = outputs
    torch.testing.assert_close(other.z, unit * one.z)
    torch.testing.assert_close(other.posterior.stddev, unit * one.posterior.stddev)
    torch.testing.assert_close(other.prior.stddev, unit * one.prior.stddev)
    torch.testing.assert_close(other.kl(), one.kl())
    torch.testing.assert_close(other.log_weights(rows), one.log_weights(rows))


def make_rotated_module(covariance, n_components=3):
    """Return a linear module whose posterior is correlated, rows, and the exact terms.

    With z' = R z, R a rotation, p(x) stays, and the precision of p(z'|x) is R P R'.
    """
    latent = Gaussian(prior="standard", covariance=covariance)
    module, rows, (start,), _, x = make_module(
        GaussianNoise(), latent, MLP(()), n_components=n_components
    )
    generator = np.random.default_rng(1)
    rotation = np.linalg.qr(generator.standard_normal((n_components, n_components)))[0]
    rotation = torch.as_tensor(rotation)
    linear_start = module.linear_start
    scale = linear_start.posterior_scale
    precision = rotation @ torch.diag(scale[0] ** -2) @ rotation.mT
    for name, value in {
        "decoder_weight": rotation @ linear_start.decoder_weight,
        "encoder_weight": linear_start.encoder_weight @ rotation.mT,
        "posterior_scale": torch.ones_like(scale),
    }.items():
        getattr(linear_start, name).copy_(value)
    evidence = torch.as_tensor(start.model.score_samples(x) + np.log(start.unit).sum())
    return module.double(), rows, precision, evidence


def set_bias(module, *parts):
    """Let the encoder's raw outputs be the same values for all rows."""
    with torch.no_grad():
        module.encoder_head.bias.copy_(torch.cat(parts)[None])


def test_full_covariance_reaches_the_evidence_of_a_correlated_posterior():
    module, rows, precision, evidence = make_rotated_module("full")
    root = torch.linalg.cholesky(torch.linalg.inv(precision))
    index = torch.tril_indices(3, 3, -1)
    below = root[index[0], index[1]]
    assert below.abs().max() > 0.01
    set_bias(module, torch.zeros(3), root.diagonal().log(), below)
    noise = make_noise(4, 3, np.random.default_rng(0))
    log_weights = module(rows, noise=noise).log_weights(rows)
    # of every draw, for q is p(z|x)
    expected = evidence.expand_as(log_weights)
    torch.testing.assert_close(log_weights, expected, rtol=0, atol=1e-9)


def test_diagonal_covariance_misses_the_evidence_by_what_mean_field_theory_says():
    module, rows, precision, evidence = make_rotated_module("diagonal")
    # the best diagonal q has the diagonal of the precision: KL(q || p(z|x)) is then
    # ½ (Σ log P_kk - log det P), whatever the row (Bishop 2006, eq. 10.12)
    best = -0.5 * precision.diagonal().log()
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert gap > 0.1
    # of unit covariance: averages of quadratic functions are exact
    noise = make_noise(8, 3, np.random.default_rng(0))

    def bound(log_scale):
        set_bias(module, torch.zeros(3), log_scale)
        return module(rows, noise=noise).elbo(rows).detach()

    reached = bound(best)
    torch.testing.assert_close(reached, evidence - gap, rtol=0, atol=1e-9)
    for change in 0.1 * torch.cat([torch.eye(3), -torch.eye(3)]):
        assert (bound(best + change) < reached).all()


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_refined_score_closes_the_gap_that_the_family_allows(covariance):
    module, rows, precision, evidence = make_rotated_module(covariance)
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    limit = evidence - gap if covariance == "diagonal" else evidence
    precise = make_precise(module)
    noise, other = (make_noise(8, 3, np.random.default_rng(i)) for i in range(2))
    with torch.no_grad():
        refined = score_refined(precise, rows, noise, other)
        assert (score_rows(precise, rows, "elbo", noise) < limit - 0.1).all()
    assert (refined <= limit + 1e-9).all()
    torch.testing.assert_close(refined, limit.expand(60), rtol=0, atol=0.01)


@over_latents
def test_precise_module_knows_its_prior_in_double_precision(latent):
    module, rows, *_ = make_module(GaussianNoise(), latent, MLP((8,)))
    randomize(module)
    precise, double = make_precise(module), copy.deepcopy(module).double()
    z = rows[:, :2]
    found = precise.get_prior().log_prob(z)
    assert precise.get_prior() is precise.get_prior()
    torch.testing.assert_close(found, double.get_prior().log_prob(z))
    assert not found.requires_grad
    # the module that was copied learns on
    assert module.known_prior is None


def test_width_counts_the_densities_of_pseudo_inputs():
    def count(**params):
        latent = Gaussian(prior="vamp", n_mixture=1000, **params)
        module, *_ = make_module(GaussianNoise(), latent, MLP((8,)))
        return count_widest(module)

    assert count() == 1000
    assert count(covariance="full") == 2000


@over_members("network", NETWORK_VARIANTS)
def test_shapes_follow_draws_and_rows(likelihood, latent, network):
    module, rows, _, _, _ = make_module(likelihood, latent, network)
    rows = rows[:7].float()
    for output in (module(rows, n_draws=3), module(rows, noise=torch.zeros(3, 2))):
        assert output.z.shape == (3, 7, 2)
        assert output.posterior.batch_shape == (7,)
        assert output.log_likelihood_by_column(rows).shape == (3, 7, 6)
        assert output.log_likelihood(rows).shape == (3, 7)
        assert output.log_weights(rows).shape == (3, 7)
        assert output.kl().shape in [(1, 7), (3, 7)]


@over_members()
def test_shared_noise_makes_a_row_depend_on_itself_alone(likelihood, latent):
    module, rows, _, _, _ = make_module(likelihood, latent, MLP((8,)))
    randomize(module)
    module = module.double()
    noise = make_noise(4, 2, np.random.default_rng(0))
    whole = module(rows, noise=noise).log_weights(rows)
    part = module(rows[5:6], noise=noise).log_weights(rows[5:6])
    torch.testing.assert_close(part, whole[:, 5:6], rtol=0, atol=1e-10)


@over_members("network", STACKABLE)
def test_stacked_copies_are_separate_modules(likelihood, latent, network):
    module, rows, _, splits, _ = make_module(likelihood, latent, network, stacked=True)
    assert module.n_copies == splits.n_copies == 6
    randomize(module)
    # no more rows than tell them from draws, copies and columns
    rows = rows[:, :2].float()
    noise = make_noise(3, 2, np.random.default_rng(0)).float()
    output = module(rows, noise=noise)
    log_weights, kl = output.log_weights(rows), output.kl()
    assert log_weights.shape == (3, 6, 2)
    # a quadrature over hundreds of points for some
    mean = output.likelihood.mean
    for i in range(6):
        single = module.select(i)
        assert single.n_copies is None
        expected = single(rows[i], noise=noise)
        pairs = [
            (output.posterior.mean[i], expected.posterior.mean),
            (output.posterior.stddev[i], expected.posterior.stddev),
            (mean[:, i], expected.likelihood.mean),
            (log_weights[:, i], expected.log_weights(rows[i])),
            (kl[:, i], expected.kl()),
        ]
        for ours, other in pairs:
            torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_selected_copy_shares_no_memory_and_draws_nothing():
    module, *_ = make_module(
        GaussianNoise(), Gaussian(prior="mixture"), MLP((8,)), stacked=True
    )
    randomize(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.random.get_rng_state()
    single = module.select(1)
    torch.testing.assert_close(torch.random.get_rng_state(), state, rtol=0, atol=0)
    randomize(single, seed=1)
    with torch.no_grad():
        for buffer in single.buffers():
            buffer.add_(1)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_selected_copy_keeps_the_training_mode():
    module, *_ = make_module(GaussianNoise(), Gaussian(), MLP((8,)), stacked=True)
    assert module.train().select().training
    assert not module.eval().select().training


def test_module_of_one_copy_selects_itself():
    module, *_ = make_module(GaussianNoise(), Gaussian(), MLP((8,)))
    assert module.select() is module


@over_pairs(
    "likelihood,latent,setting",
    LIKELIHOOD_VARIANTS,
    LATENT_VARIANTS,
    [
        *((network, False) for network in NETWORK_VARIANTS),
        *((network, True) for network in STACKABLE),
    ],
)
def test_every_parameter_gets_a_gradient(likelihood, latent, setting):
    network, stacked = setting
    module, rows, *_ = make_module(
        likelihood, latent, network, stacked=stacked, init="random"
    )
    rows = rows.float()
    samples = list(rows) if stacked else [rows]
    initialize_members(module, samples, np.random.default_rng(0))
    with seeded(0):
        loss, _ = ELBO(n_draws=2)(module(rows, n_draws=2), rows)
    loss.backward()
    assert torch.isfinite(loss)
    (base, _), *_ = module.likelihood.list_groups()
    has_mixture = isinstance(getattr(base, "_base", base), GaussianMixture)
    has_mixture &= not module.likelihood.is_joint
    for name, parameter in module.named_parameters():
        if parameter.numel() == 0:
            continue
        if name == "free" and has_mixture:
            # which components follow the offset is not learned
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        by_copy = parameter.grad.flatten(1) if stacked else parameter.grad[None]
        assert (by_copy.abs().amax(dim=tuple(range(1, by_copy.dim()))) > 0).all(), name


@over_members("init,stacked", ["linear", "random"], [False, True])
def test_started_members_give_finite_outputs(likelihood, latent, init, stacked):
    module, rows, *_ = make_module(
        likelihood, latent, MLP((8,)), stacked=stacked, init=init
    )
    rows = rows.float()
    samples = list(rows) if stacked else [rows]
    initialize_members(module, samples, np.random.default_rng(0))
    noise = make_noise(8, 2, np.random.default_rng(0)).float()
    output = module(rows, noise=noise)
    assert torch.isfinite(output.log_weights(rows)).all()
    assert torch.isfinite(output.kl()).all()


@over_pairs("likelihood,latent", EXACT, ANCHORED)
def test_started_members_cost_little(likelihood, latent):
    # rows of a factor model: the linear start is the truth, and nothing can be gained
    module, rows, (start,), _, x = make_module(likelihood, latent, MLP((8,)))
    initialize_members(module, [rows], np.random.default_rng(0))
    noise = make_noise(64, 2, np.random.default_rng(0))
    bound = module(rows, noise=noise).log_weights(rows).mean()
    linear = start.model.score_samples(x).mean() + np.log(start.unit).sum()
    # 6 columns and a prior, none more than a little
    assert bound > linear - 0.2


def test_members_start_is_the_same_for_a_copy_and_a_module():
    latent = Gaussian(prior="mixture", n_mixture=3)
    likelihood = LIKELIHOODS["gaussian_mixture"]()
    module, rows, *_ = make_module(likelihood, latent, MLP((8,)), stacked=True)
    single = module.select(0)
    initialize_members(module, list(rows.float()), np.random.default_rng(0))
    initialize_members(single, [rows[0].float()], np.random.default_rng(0))
    expected = module.select(0)
    for name, parameter in single.named_parameters():
        other = dict(expected.named_parameters())[name]
        torch.testing.assert_close(parameter, other, rtol=0, atol=1e-6)


@over_likelihoods
def test_double_module_agrees_with_the_float_one(likelihood):
    module, rows, *_ = make_module(likelihood, Gaussian(prior="mixture"), MLP((8,)))
    randomize(module)
    noise = make_noise(4, 2, np.random.default_rng(0))
    single = module(rows.float(), noise=noise).log_weights(rows.float())
    assert single.dtype == torch.float32
    double = module.double()(rows, noise=noise).log_weights(rows)
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_loaded_state_is_what_the_module_computes_with():
    latent, network = Gaussian(prior="mixture", n_mixture=3), MLP((8,))
    module, rows, *_ = make_module(GaussianNoise(), latent, network)
    other, *_ = make_module(GaussianNoise(), latent, network)
    randomize(other)
    for buffer in other.linear_start.buffers():
        buffer.mul_(1.1)
    noise = torch.zeros(1, 2)
    rows = rows.float()
    before = module(rows, noise=noise).log_weights(rows)
    module.load_state_dict(other.state_dict())
    expected = other(rows, noise=noise).log_weights(rows)
    assert not torch.allclose(before, expected)
    log_weights = module(rows, noise=noise).log_weights(rows)
    torch.testing.assert_close(log_weights, expected, rtol=0, atol=0)


@over_latents
@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle_round_trip])
def test_copied_module_computes_the_same(duplicate, latent):
    module, rows, *_ = make_module(GaussianNoise(), latent, MLP((8,)))
    randomize(module)
    noise = torch.zeros(1, 2)
    expected = module(rows.float(), noise=noise).log_weights(rows.float())
    log_weights = duplicate(module)(rows.float(), noise=noise).log_weights(rows.float())
    torch.testing.assert_close(log_weights, expected, rtol=0, atol=0)


def test_outliers_reach_the_bodies_squashed():
    network = MLP((8,))
    module, rows, *_ = make_module(GaussianNoise(), Gaussian(), network)
    seen = []
    module.encoder.register_forward_hook(lambda _, args, out: seen.append(args[0]))
    module(rows.float() * 1e6)
    assert seen[0].abs().max() <= 8


def test_squash_is_bounded_odd_and_rising():
    u = torch.tensor([0.0, 1e-3, 0.5, 1.0, 3.0, 8.0, 20.0, 1e10], dtype=torch.float64)
    squashed = squash(u)
    assert squashed.abs().max() <= 8
    assert (squashed.diff() >= 0).all()
    torch.testing.assert_close(squash(-u), -squashed, rtol=0, atol=0)
    # u - u³ / 192 + ...: ordinary values pass
    torch.testing.assert_close(squashed[:4], u[:4], rtol=0, atol=1 / 192)


def test_work_grows_with_rows_and_weights():
    small, *_ = make_module(GaussianNoise(), Gaussian(), MLP((8,)))
    large, *_ = make_module(GaussianNoise(), Gaussian(), MLP((32, 32)))
    assert count_work(small, 20) == 2 * count_work(small, 10)
    assert count_work(large, 10) > count_work(small, 10)
