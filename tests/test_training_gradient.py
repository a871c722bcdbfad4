"""Recorded training steps have the gradients that autograd finds."""

import copy
import math
import random
import warnings
from unittest import mock

import numpy as np
import pytest
import torch
from covering import cover
from discrete_cases import CASES, DISCRETE, adapt, draw_rows
from torch import nn
from torch.utils.checkpoint import checkpoint

from skvae._model._module import VAEModule
from skvae._training import _gradient, _parted_gradient
from skvae._training._flat_weights import FlatWeights
from skvae._training._gradient import BatchGradient
from skvae.latents import LATENTS, Categorical, Gaussian, Hierarchical
from skvae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Beta,
    ContinuousBernoulli,
    GaussianMixture,
    Laplace,
    LogNormal,
    PerColumn,
    Poisson,
    StudentT,
    Transformed,
)
from skvae.likelihoods import Categorical as CategoricalLikelihood
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import ACTIVATIONS, MLP, NETWORKS, Conv, Linear, Network
from skvae.objectives import ELBO, IWAE, MMD, OBJECTIVES, TC

N, D, Q = 7, 5, 2

LIKELIHOOD_CASES = {
    "noise of every column": GaussianNoise(),
    "noise shared": GaussianNoise(noise="shared"),
    "noise of the network": GaussianNoise(noise="network"),
    "noise known": GaussianNoise(noise=0.7),
    "mixture": GaussianMixture(),
    "mixture and atoms": GaussianMixture(n_mixture=3, n_atoms=2),
    "bernoulli": Bernoulli(),
    "laplace": Laplace(),
    "student t": StudentT(),
    "student t of the network": StudentT(noise="network"),
    "student t of 3": StudentT(df=3.0),
    "log-normal": LogNormal(),
    "transformed": Transformed(),
    "continuous bernoulli": ContinuousBernoulli(),
    "beta": Beta(),
    "beta of the network": Beta(noise="network"),
    **CASES,
    "mixture beside categories": PerColumn(
        [GaussianMixture(n_atoms=2), CategoricalLikelihood([3, 4]), Poisson()],
        [[4, 0], [1, 3], [2]],
    ),
    "several values of the linear model": PerColumn(
        [LogNormal(), StudentT("learned", "shared"), Beta("network")],
        [[1, 0], [2, 3], [4]],
    ),
}
# what makes values of a likelihood from real numbers
VALUES = {
    Bernoulli: lambda x: (x > 0).double(),
    LogNormal: torch.exp,
    ContinuousBernoulli: torch.sigmoid,
    Beta: torch.sigmoid,
}
LATENT_CASES = {
    "standard": Gaussian(prior="standard"),
    "scaled": Gaussian(prior="standard", prior_scale=2.5),
    "mixture": Gaussian(prior="mixture", n_mixture=3),
    "vamp": Gaussian(prior="vamp", n_mixture=4),
    "full": Gaussian(covariance="full"),
    "categorical": Categorical(),
    "hierarchical": Hierarchical(),
}
OBJECTIVE_CASES = {
    "elbo": ELBO(),
    "elbo of 3": ELBO(n_draws=3),
    "free bits": ELBO(free_bits=0.1),
    "iwae of 4": IWAE(n_draws=4),
    "iwae of 4, standard": IWAE(n_draws=4, gradient="standard"),
    "tc": TC(),
    "mmd": MMD(),
}


class Body(nn.Module):
    """A residual connection, and a layer whose weights no gradient reaches."""

    def __init__(self, n_inputs, width=6):
        super().__init__()
        self.first = nn.Linear(n_inputs, width)
        self.second = nn.Linear(width, width)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return hidden + torch.tanh(self.second(hidden))


class Bodies(Network):
    """Encoder and decoder from one function of the number of inputs."""

    is_stackable = True

    def __init__(self, make):
        self.make = make

    def make_encoder(self, n_inputs, n_copies=None):
        return self.make(n_inputs, n_copies)

    make_decoder = make_encoder


def make_torch_layers(n_inputs, n_copies=None):
    return nn.Sequential(nn.Linear(n_inputs, 6), nn.Tanh(), nn.Linear(6, 4)), 4


def make_residual(n_inputs, n_copies=None):
    return Body(n_inputs), 6


def make_inplace(n_inputs, n_copies=None):
    first, second = Linear(n_inputs, 6, n_copies), Linear(6, 4, n_copies)
    layers = first, nn.SiLU(inplace=True), second, nn.ELU(inplace=True)
    return nn.Sequential(*layers), 4


def make_tied(n_inputs, n_copies=None):
    """Return a body that uses one layer twice, and another with its weight."""
    layer, other = Linear(6, 6, n_copies), Linear(6, 6, n_copies)
    other.weight = layer.weight
    first = Linear(n_inputs, 6, n_copies)
    return nn.Sequential(first, nn.Tanh(), layer, nn.Tanh(), layer, other), 6


def make_nothing(n_inputs, n_copies=None):
    return nn.Identity(), n_inputs


def make_norms(n_inputs, n_copies=None):
    layers = nn.Linear(n_inputs, 6), nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.3)
    return nn.Sequential(*layers), 6


NETWORK_CASES = {
    "mlp": MLP((6, 4)),
    "linear": MLP(()),
    "dropout": MLP((9,), dropout=0.3),
    "in place": Bodies(make_inplace),
    "tied": Bodies(make_tied),
    "nothing": Bodies(make_nothing),
    "torch": Bodies(make_torch_layers),
    "residual": Bodies(make_residual),
    "norms": Bodies(make_norms),
}
LIBRARIES = ["numpy", "torch"]
FOLDS = {"alone": None, "stacked": 3}


def make_module(
    network, latent, likelihood, n_folds=None, is_corrected=True, sees_missing=False
):
    """Return a module in float64 with all weights, and its start, random."""
    generator = torch.Generator().manual_seed(0)
    groups = PerColumn.cover(likelihood, D).list_groups()
    for member, columns in groups:
        if isinstance(member, DISCRETE):
            adapt(member, len(columns))
    # rates and odds are exponential: large numbers would lose digits
    size = 0.3
    n_inputs = likelihood.link.count_inputs(D)
    n_predicted = math.prod(likelihood.link.offset_shape(D))

    def draw(*shape):
        folds = () if n_folds is None else (n_folds,)
        return torch.randn(*folds, *shape, generator=generator, dtype=torch.float64)

    start = {
        "decoder_weight": size * draw(Q, n_predicted),
        "decoder_bias": size * draw(1, n_predicted),
        "encoder_centre": draw(1, n_inputs),
        "encoder_weight": 0.3 * size * draw(n_inputs, Q),
        "posterior_scale": draw(1, Q).exp(),
        "input_scale": size * draw(1, n_inputs).exp(),
        "log_range": draw(1, D).exp(),
        "input_noise": draw(1, n_inputs).exp(),
    }
    if any(member.link.n_offsets > 1 for member, _ in groups):
        # z of some thousands would make scales of it that no number holds
        start["decoder_weight"] *= 1e-3
    if not is_corrected:
        # as random starts have them
        for name in ("decoder_weight", "encoder_weight", "decoder_bias"):
            start[name] = torch.zeros_like(start[name])
        start["encoder_centre"] = torch.zeros_like(start["encoder_centre"])
        start["input_scale"] = torch.ones_like(start["input_scale"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = VAEModule(
            copy.deepcopy(network),
            latent,
            likelihood,
            start,
            n_folds,
            is_corrected,
            sees_missing,
        )
    module = module.double().train()
    for parameter in module.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.copy_(0.5 * values)
    return module


def make_batch(n_folds=None, likelihood=None, seed=1, has_missing=False):
    """Return rows, and weights of rows."""
    generator = torch.Generator().manual_seed(seed)
    folds = () if n_folds is None else (n_folds,)
    x = torch.randn(*folds, N, D, generator=generator, dtype=torch.float64)
    weight = torch.rand(*folds, N, generator=generator, dtype=torch.float64)
    groups = [] if likelihood is None else PerColumn.cover(likelihood, D).list_groups()
    for member, columns in groups:
        part = x[..., columns]
        if isinstance(member, DISCRETE):
            rows = draw_rows(member, part[..., 0].numel(), len(columns), seed=seed)
            part = torch.as_tensor(rows).reshape(part.shape)
        x[..., columns] = VALUES.get(type(member), torch.clone)(part)
    if has_missing:
        missing = torch.rand(x.shape, generator=generator) < 1 / 3
        # of the first row nothing is known
        missing[..., 0, :] = True
        x = x.masked_fill(missing, torch.nan)
    return x, weight / weight.sum()


@pytest.fixture
def choose_library(monkeypatch):
    """Return what lets programs use the one library or the other."""

    def choose(name):
        monkeypatch.setattr(_gradient, "suits_numpy", lambda device: name == "numpy")

    return choose


@pytest.fixture(params=LIBRARIES)
def library(request, choose_library):
    """Let programs use the one library and the other."""
    choose_library(request.param)


def make_gradient(module, objective, n_folds=None, has_missing=False, weighted=True):
    weights = FlatWeights([list(module.parameters())])
    shape = (N, D) if n_folds is None else (n_folds, N, D)
    return BatchGradient(module, objective, shape, weights, has_missing, weighted)


@torch.no_grad()
def run(gradient, x, share, beta=0.5, seed=2):
    """Return loss, terms and gradients after a run."""
    for target in gradient.targets or ():
        target.fill_(torch.nan)
    gradient.x.copy_(x)
    if gradient.seen is not None:
        gradient.seen.copy_(gradient.module.see(x))
    gradient.weigh(share)
    gradient.begin_epoch(beta)
    torch.manual_seed(seed)
    with np.errstate(all="ignore"):
        gradient.run()
    return [target.clone() for target in gradient.targets]


def run_autograd(gradient, seed=2):
    """Return what autograd makes of the batch of the last run."""
    torch.manual_seed(seed)
    found = gradient.compute()
    pairs = zip(found, gradient.targets, strict=True)
    return [torch.zeros_like(t) if f is None else f.detach() for f, t in pairs]


def assert_close(found, expected, rtol=1e-8):
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(other).all()
        # what is small beside the rest of a tensor is what is left of larger numbers
        atol = rtol * max(1.0, other.abs().max().item()) if other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


def move(gradient, generator):
    """Change all weights, as a step does."""
    noise = torch.randn(
        gradient.weights.values.shape, generator=generator, dtype=torch.float64
    )
    gradient.weights.values.add_(0.05 * noise)


def assert_equals_autograd(gradient, likelihood, n_folds=None, batches=3, **kwargs):
    """Compare runs on other batches, other weights, and other draws."""
    generator = torch.Generator().manual_seed(5)
    with torch.random.fork_rng():
        for i in range(batches):
            x, share = make_batch(n_folds, likelihood, i, gradient.has_missing)
            if not gradient.is_weighted:
                share = torch.full_like(share, 1 / share.numel())
            if i == 0 and hasattr(gradient.objective, "discriminate"):
                with torch.no_grad():
                    gradient.objective.start(gradient.module(x), x)
            before = copy.deepcopy(list_networks(gradient.objective))
            found = run(gradient, x, share, seed=i, **kwargs)
            # those of the objective take a step in every run
            for network, state in zip(
                list_networks(gradient.objective), before, strict=True
            ):
                network.load_state_dict(state.state_dict())
            assert_close(found, run_autograd(gradient, seed=i))
            move(gradient, generator)


def list_networks(objective):
    """Return the networks of the objective's own."""
    return [m for m in vars(objective).values() if isinstance(m, torch.nn.Module)]


COMBINATIONS = cover(
    NETWORK_CASES,
    LATENT_CASES,
    LIKELIHOOD_CASES,
    OBJECTIVE_CASES,
    FOLDS,
    ["corrected", "random"],
    ["complete", "missing", "flagged"],
    ["weighted", "uniform"],
    LIBRARIES,
    strength=2,
)


@pytest.mark.parametrize("names", COMBINATIONS, ids="-".join)
def test_steps_equal_autograd_for_combinations_of_members(names, choose_library):
    network, latent, likelihood, objective, folds, start, cells, rows, library = names
    choose_library(library)
    likelihood = copy.deepcopy(LIKELIHOOD_CASES[likelihood])
    # layers of torch's own have no folds
    is_own = network in ("torch", "residual", "norms")
    n_folds = None if is_own else FOLDS[folds]
    module = make_module(
        NETWORK_CASES[network],
        LATENT_CASES[latent],
        likelihood,
        n_folds,
        start == "corrected",
        cells == "flagged",
    )
    gradient = make_gradient(
        module,
        OBJECTIVE_CASES[objective],
        n_folds,
        cells != "complete",
        rows == "weighted",
    )
    assert_equals_autograd(gradient, likelihood, n_folds)
    assert gradient.is_recorded
    assert gradient.program is not None


def list_members():
    """Return one module's members for every built-in member and activation."""
    found = {"default": {}}
    for name, network in NETWORKS.items():
        if network is not Conv:
            found[f"network {name}"] = {"network": network()}
    for name, latent in LATENTS.items():
        found[f"latent {name}"] = {"latent": latent()}
    for name, likelihood in LIKELIHOODS.items():
        found[f"likelihood {name}"] = {"likelihood": likelihood()}
    for name, objective in OBJECTIVES.items():
        found[f"objective {name}"] = {"objective": objective()}
    for name in ACTIVATIONS:
        found[f"activation {name}"] = {"network": MLP((6, 4), activation=name)}
    image = Conv((3, 4), n_hidden=5)
    image.set_image((2, 1, 3), np.array([0, 1, 2, 4, 5]))
    return {**found, "network conv": {"network": image}}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("member", list_members())
def test_all_members_of_the_package_are_recorded(member):
    members = {
        "network": MLP((6, 4)),
        "latent": Gaussian("mixture", n_mixture=3),
        "likelihood": GaussianNoise(),
        "objective": ELBO(),
        **list_members()[member],
    }
    objective = members.pop("objective")
    gradient = make_gradient(make_module(**members), objective)
    assert_equals_autograd(gradient, members["likelihood"])
    assert gradient.is_recorded


# what changes in the course of training -----------------------------------------------


def make_default(network=None, latent=None, likelihood=None, objective=None):
    module = make_module(
        network or MLP((6, 4)),
        latent or Gaussian("mixture", n_mixture=3),
        likelihood or GaussianNoise(),
    )
    return make_gradient(module, objective or ELBO())


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", ["elbo", "free bits", "iwae of 4", "tc", "mmd"])
def test_a_weight_of_the_kl_that_rises_is_recorded_twice_at_most(objective):
    gradient = make_default(objective=OBJECTIVE_CASES[objective])
    with mock.patch.object(_gradient, "record", wraps=_gradient.record) as record:
        with torch.random.fork_rng():
            for i, beta in enumerate([0.0, 0.0, 0.25, 0.5, 0.5, 1.0, 1.0]):
                x, share = make_batch(seed=i)
                assert_close(run(gradient, x, share, beta), run_autograd(gradient))
        assert record.call_count == 2
    assert gradient.is_recorded


@pytest.mark.usefixtures("library")
def test_annealed_latents_are_recorded_once():
    latent = Categorical()
    gradient = make_default(latent=latent)
    assert latent.is_annealed
    buffers = list(gradient.module.prior.buffers())
    assert buffers
    with mock.patch.object(_gradient, "record", wraps=_gradient.record) as record:
        with torch.random.fork_rng():
            for i in range(4):
                x, share = make_batch(seed=i)
                assert_close(run(gradient, x, share), run_autograd(gradient))
                for buffer in buffers:
                    buffer.mul_(0.8)
        assert record.call_count == 1


@pytest.mark.usefixtures("library")
def test_a_buffer_that_changes_leads_to_another_recording():
    gradient = make_default()
    with mock.patch.object(_gradient, "record", wraps=_gradient.record) as record:
        with torch.random.fork_rng():
            for i in range(6):
                x, share = make_batch(seed=i)
                assert_close(run(gradient, x, share), run_autograd(gradient))
                if i == 2:
                    with torch.no_grad():
                        gradient.module.linear_start.log_range.mul_(1.5)
                        gradient.module._cast = {}
        assert record.call_count == 2


@pytest.mark.usefixtures("library")
def test_equal_seeds_draw_what_autograd_draws_and_runs_draw_anew():
    gradient = make_default(MLP((9,), dropout=0.5))
    x, share = make_batch()
    with torch.random.fork_rng():
        losses = [run(gradient, x, share, seed=i)[0].item() for i in (0, 1, 2, 1)]
    assert losses[1] == losses[3]
    assert len(set(losses)) == 3


# what is left to autograd -------------------------------------------------------------


def ignore(*args):
    pass


@pytest.mark.parametrize(
    "register",
    [
        lambda module: module.register_forward_hook(ignore),
        lambda module: module.encoder_head.register_forward_pre_hook(ignore),
        lambda module: module.prior.register_full_backward_hook(ignore),
        lambda module: module.decoder[0].register_full_backward_pre_hook(ignore),
        lambda module: module.encoder[0].weight.register_hook(ignore),
        lambda module: module.free.register_post_accumulate_grad_hook(ignore),
    ],
    ids=["module", "head", "prior", "body", "weight", "gradient"],
)
def test_hooks_leave_all_to_autograd(register):
    module = make_module(MLP((4,)), Gaussian("standard"), GaussianNoise())
    assert make_gradient(module, ELBO()).is_recorded
    register(module)
    gradient = make_gradient(module, ELBO())
    assert not gradient.is_recorded
    with warnings.catch_warnings():
        # torch's, of hooks on what returns a distribution
        warnings.simplefilter("ignore")
        assert_equals_autograd(gradient, None)


@pytest.mark.parametrize(
    "register", ["register_forward_hook", "register_full_backward_hook"]
)
def test_hooks_are_called_in_every_run(register):
    module = make_module(MLP((4,)), Gaussian("standard"), GaussianNoise())
    called = []
    getattr(module.decoder[0], register)(lambda *args: called.append(len(args)))
    gradient = make_gradient(module, ELBO())
    for i in range(3):
        run(gradient, *make_batch(seed=i))
    assert len(called) == 3


class Counting(nn.Module):
    """A layer that does something else in every step."""

    def __init__(self, n_inputs):
        super().__init__()
        self.layer, self.n_steps = nn.Linear(n_inputs, 4), 0

    def forward(self, x):
        self.n_steps += 1
        return self.layer(x) * self.n_steps


class Chancy(nn.Module):
    def __init__(self, n_inputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, 4)

    def forward(self, x):
        return self.layer(x) * random.random()


class Branching(nn.Module):
    def __init__(self, n_inputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, 4)

    def forward(self, x):
        hidden = self.layer(x)
        return hidden if hidden.sum() > 0 else 2 * hidden


def test_modules_with_a_state_in_python_are_left_to_autograd():
    network = Bodies(lambda n_inputs, n_copies=None: (Counting(n_inputs), 4))
    gradient = make_default(network)
    counters = gradient.module.encoder, gradient.module.decoder
    for i in range(5):
        n_before = [counter.n_steps for counter in counters]
        found = run(gradient, *make_batch(seed=i))
        # the first and the second batch go through autograd, and so do all others
        assert [counter.n_steps for counter in counters] == [n + 1 for n in n_before]
        for counter, n in zip(counters, n_before, strict=True):
            counter.n_steps = n
        assert_close(found, run_autograd(gradient))
    assert not gradient.is_recorded


@pytest.mark.parametrize("layer", [Chancy, Branching])
def test_modules_whose_values_decide_are_left_to_autograd(layer):
    network = Bodies(lambda n_inputs, n_copies=None: (layer(n_inputs), 4))
    gradient = make_default(network)
    for i in range(4):
        state = random.getstate()
        found = run(gradient, *make_batch(seed=i))
        random.setstate(state)
        assert_close(found, run_autograd(gradient))
    assert not gradient.is_recorded


class WiderNoise(GaussianNoise):
    def __call__(self, raw, free, offset, log_range):
        normal = super().__call__(raw, free, offset, log_range)
        scale = 2 * normal.scale
        return torch.distributions.Normal(normal.loc, scale, validate_args=False)


class Validated(GaussianNoise):
    """A distribution that torch validates by reading its values."""

    def __call__(self, raw, free, offset, log_range):
        normal = super().__call__(raw, free, offset, log_range)
        return torch.distributions.Normal(normal.loc, normal.scale, validate_args=True)


class WiderPosterior(Gaussian):
    def posterior(self, raw, loc, scale):
        return super().posterior(raw, loc, 2 * scale)


class DoubleLoss(ELBO):
    def __call__(self, output, x, weight=None, beta=1.0):
        loss, terms = super().__call__(output, x, weight, beta)
        return 2 * loss, terms


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "member",
    [
        {"likelihood": WiderNoise()},
        {"latent": WiderPosterior("standard")},
        {"objective": DoubleLoss()},
        {"network": Bodies(make_residual)},
        {"network": Bodies(make_norms)},
    ],
    ids=["likelihood", "latent", "objective", "residual", "norms"],
)
def test_members_of_ones_own_are_recorded_after_a_check(member):
    gradient = make_default(**member)
    assert not gradient.is_checked
    assert_equals_autograd(gradient, None, batches=4)
    assert gradient.is_checked
    assert gradient.is_recorded


def test_distributions_that_are_validated_are_left_to_autograd():
    gradient = make_default(likelihood=Validated())
    assert_equals_autograd(gradient, None)
    assert not gradient.is_recorded


def test_weights_that_encoder_and_decoder_share_have_both_gradients():
    shared = Linear(6, 6)

    def make(n_inputs, n_copies=None):
        return nn.Sequential(Linear(n_inputs, 6), nn.Tanh(), shared), 6

    network = Bodies(make)
    with mock.patch.object(copy, "deepcopy", lambda value: value):
        gradient = make_default(network)
    assert gradient.module.encoder[2] is gradient.module.decoder[2]
    assert_equals_autograd(gradient, None)
    assert gradient.is_recorded


@pytest.mark.usefixtures("library")
def test_weights_that_no_gradient_reaches_have_gradient_zero():
    gradient = make_default(Bodies(make_residual))
    for i in range(3):
        run(gradient, *make_batch(seed=i))
        assert (gradient.module.encoder.unused.weight.grad == 0).all()
        assert all(p.grad.any() for p in gradient.module.encoder.first.parameters())


# at the edges -------------------------------------------------------------------------


def make_extreme(latent, likelihood, raw_latent, raw, objective=None, free=0.0):
    """Return the gradient of a module whose raw outputs are hardly more than biases.

    Rows still differ by a little: what the weights are multiplied with is not constant.
    """
    module = make_module(MLP((6, 4)), latent, likelihood)
    with torch.no_grad():
        for head, values, width in (
            (module.encoder_head, raw_latent, Q),
            (module.decoder_head, raw, D),
        ):
            head.weight.mul_(1e-3)
            bias = torch.tensor(values, dtype=torch.float64).repeat_interleave(width)
            head.bias.copy_(bias)
        module.free.fill_(free)
    return make_gradient(module, objective or ELBO())


def assert_finite_and_equal(gradient, likelihood=None, change=None, rtol=1e-7):
    """Compare where values are so large that they lose digits, in float64 too."""
    with torch.random.fork_rng():
        for i in range(3):
            x, share = make_batch(likelihood=likelihood, seed=i)
            if change is not None:
                change(x)
            found = run(gradient, x, share, seed=i)
            assert_close(found, run_autograd(gradient, seed=i), rtol=rtol)
    assert gradient.is_recorded


EXTREME_LATENTS = {
    "narrow": [0.0, -20.0],
    "wide": [0.0, 20.0],
    "far": [1e3, 0.0],
}
# weights of three components, two narrow, one wide, two shifts
EXTREME_MIXTURES = {
    "wide at 0": [0, 0, 0, 0, 0, 0, 0, 0],
    "wide below 0": [0, 0, 0, 0, 0, -3, 0, 0],
    "wide above its bound": [0, 0, 0, 0, 0, 20, 0, 0],
    "narrow above its bound": [0, 0, 0, 20, 13, 0, 0, 0],
    "narrow far below 0": [0, 0, 0, -60, -1e3, 0, 0, 0],
    "components far away": [0, 0, 0, 0, 0, 0, 1e3, -1e3],
    "all weight in one": [80, -80, -80, 0, 0, 0, 0, 0],
    "all weight in one far away": [80, -80, -80, -60, 0, 0, 1e3, 0],
}
EXTREME_OBJECTIVES = ["elbo", "elbo of 3", "iwae of 4", "iwae of 4, standard"]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", EXTREME_OBJECTIVES)
@pytest.mark.parametrize("prior", ["standard", "scaled", "mixture"])
@pytest.mark.parametrize("raw", EXTREME_LATENTS)
def test_gradient_is_right_for_extreme_posteriors(raw, prior, objective):
    gradient = make_extreme(
        LATENT_CASES[prior],
        GaussianNoise(),
        EXTREME_LATENTS[raw],
        [0.0],
        OBJECTIVE_CASES[objective],
    )
    assert_finite_and_equal(gradient)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", EXTREME_OBJECTIVES)
@pytest.mark.parametrize("raw", EXTREME_MIXTURES)
def test_gradient_is_right_for_extreme_mixtures(raw, objective):
    gradient = make_extreme(
        Gaussian("standard"),
        GaussianMixture(3),
        [0.0, 0.0],
        EXTREME_MIXTURES[raw],
        OBJECTIVE_CASES[objective],
    )
    head = gradient.module.decoder_head
    if raw == "wide at 0":
        # exactly: no weight leads there either
        with torch.no_grad():
            head.weight.unflatten(-1, (8, D))[:, 5] = 0.0
    assert_finite_and_equal(gradient)
    if raw == "wide at 0":
        # a start often leaves it there, and it must be able to leave
        assert head.bias.grad.unflatten(-1, (8, D))[..., 5, :].all()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("raw", [-1e3, -20.0, 11.9, 20.0])
@pytest.mark.parametrize("noise", ["feature", "shared", "network"])
def test_gradient_is_right_for_extreme_noise(noise, raw):
    values = [0.0, raw] if noise == "network" else [0.0]
    latent = Gaussian("standard")
    gradient = make_extreme(latent, GaussianNoise(noise), [0.0, 0.0], values, free=raw)
    assert_finite_and_equal(gradient)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("raw", [-1e3, 20.0, 1e3])
@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson", "categorical"])
def test_gradient_is_right_for_extreme_rates_and_logits(likelihood, raw):
    likelihood = copy.deepcopy(LIKELIHOOD_CASES[likelihood])
    if isinstance(likelihood, DISCRETE):
        adapt(likelihood, D)
    # the first category stands for one far from the others
    values = [raw] + [0.0] * (likelihood.n_raw - 1)
    gradient = make_extreme(Gaussian("standard"), likelihood, [0.0, 0.0], values)
    assert_finite_and_equal(gradient, likelihood)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", ["elbo", "iwae of 4"])
@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize(
    "likelihood",
    [
        name
        for name, case in LIKELIHOOD_CASES.items()
        if case.link.is_scaled and not isinstance(case, Transformed)
    ],
)
def test_gradient_is_right_for_rows_far_away(likelihood, prior, objective):
    def change(x):
        x[0] *= 1e6
        x[1, 2] = -1e6

    module = make_module(MLP((6, 4)), LATENT_CASES[prior], LIKELIHOOD_CASES[likelihood])
    gradient = make_gradient(module, OBJECTIVE_CASES[objective])
    # weights of draws are exponentials of numbers of 1e13, which are known to 1e-3
    rtol = 1e-2 if objective == "iwae of 4" else 1e-7
    assert_finite_and_equal(gradient, change=change, rtol=rtol)


# parts of a batch ---------------------------------------------------------------------


@pytest.mark.parametrize("n_folds", [None, 3])
@pytest.mark.parametrize("has_missing", [True, False])
@pytest.mark.parametrize("objective", [ELBO(), IWAE(3)], ids=repr)
def test_parts_of_a_batch_add_up_to_its_gradient(
    objective, has_missing, n_folds, monkeypatch
):
    monkeypatch.setattr(_parted_gradient, "_PART_VALUES", 256)
    monkeypatch.setattr(_parted_gradient, "_PART_ROWS", 3)
    # the same draw for every row
    monkeypatch.setattr(
        torch.Tensor, "normal_", lambda tensor, *args: tensor.fill_(0.5)
    )
    likelihood = LIKELIHOOD_CASES["mixture"]
    module = make_module(
        MLP((6, 4)), Gaussian("mixture"), likelihood, n_folds, sees_missing=has_missing
    )
    weights = FlatWeights([list(module.parameters())])
    shape = (N, D) if n_folds is None else (n_folds, N, D)
    args = module, objective, shape, weights, has_missing, True
    parts, whole = _parted_gradient.make_gradient(*args), BatchGradient(*args)
    assert len(parts.parts) > 1
    for seed in range(3):
        x, share = make_batch(n_folds, likelihood, seed, has_missing)
        found = []
        for gradient in (parts, whole):
            with torch.no_grad():
                gradient.x.copy_(x)
                if gradient.seen is not None:
                    gradient.seen.copy_(module.see(x))
                gradient.weigh(share)
                gradient.begin_epoch(0.5)
                gradient.run()
            found.append([gradient.terms[:-1].clone(), weights.grad.clone()])
        assert_close(*found)


def test_only_means_over_rows_are_computed_in_parts(monkeypatch):
    monkeypatch.setattr(_parted_gradient, "_PART_VALUES", 256)
    monkeypatch.setattr(_parted_gradient, "_PART_ROWS", 3)

    class Other(ELBO):
        """Perhaps no mean over rows."""

    module = make_module(MLP((6, 4)), Gaussian(), LIKELIHOOD_CASES["mixture"])
    weights = FlatWeights([list(module.parameters())])
    for objective in (ELBO(free_bits=0.1), TC(), MMD(), Other()):
        args = module, objective, (N, D), weights, False, True
        assert isinstance(_parted_gradient.make_gradient(*args), BatchGradient)


def test_modules_with_hooks_see_whole_batches(monkeypatch):
    monkeypatch.setattr(_parted_gradient, "_PART_VALUES", 256)
    monkeypatch.setattr(_parted_gradient, "_PART_ROWS", 3)
    module = make_module(MLP((6, 4)), Gaussian(), LIKELIHOOD_CASES["mixture"])
    args = module, ELBO(), (N, D), FlatWeights([list(module.parameters())]), False, True
    assert not isinstance(_parted_gradient.make_gradient(*args), BatchGradient)
    module.encoder.register_forward_hook(lambda *args: None)
    assert isinstance(_parted_gradient.make_gradient(*args), BatchGradient)


def test_another_thread_may_draw_by_numpy_meanwhile():
    gradient = make_default()
    compute = gradient.compute

    def compute_and_draw():
        np.random.random()  # noqa: NPY002
        return compute()

    gradient.compute = compute_and_draw
    run(gradient, *make_batch())
    assert gradient.is_recorded


def test_a_setting_that_changes_leads_to_another_recording():
    objective = ELBO()
    gradient = make_default(MLP((6, 4)), objective=objective)
    for free_bits in (0.0, 5.0):
        objective.free_bits = free_bits
        for seed in range(3):
            found = run(gradient, *make_batch(seed=seed), seed=seed)
            assert_close(found, run_autograd(gradient, seed=seed))


def test_hooks_that_come_later_are_called():
    gradient = make_default(MLP((6, 4)))
    run(gradient, *make_batch())
    called = []
    gradient.module.encoder.register_forward_hook(lambda *args: called.append(args))
    for seed in range(3):
        run(gradient, *make_batch(seed=seed))
    assert len(called) == 3


# states of one's own ------------------------------------------------------------------

GLOBAL = {"factor": 1.0}


class Stateful(nn.Module):
    """A layer that depends on something in Python, by its kind."""

    def __init__(self, n_inputs, kind):
        super().__init__()
        self.layer, self.kind = nn.Linear(n_inputs, 4), kind
        self.settings, self.slope, self.random = {"factor": 1.0}, 1.0, random.Random(0)
        self.plain, self.generator = torch.zeros(()), torch.Generator()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        h = self.layer(x)
        if self.kind == "slow":
            self.slope *= 0.9999
        elif self.kind == "random":
            h = h * (self.random.random() > 0.01)
        elif self.kind == "rebound":
            self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        elif self.kind == "plain":
            self.plain += 1
        elif self.kind == "generator":
            h = h + torch.randn(4, generator=self.generator)
        elif self.kind == "checkpoint" and h.requires_grad:
            h = checkpoint(torch.tanh, h, use_reentrant=True)
        return h * self.slope * self.settings["factor"] * GLOBAL["factor"]


def make_stateful(kind):
    network = Bodies(lambda n_inputs, n_copies=None: (Stateful(n_inputs, kind), 4))
    return make_default(network)


@pytest.mark.parametrize("kind", ["slow", "random", "rebound"])
def test_small_states_are_noticed_at_the_second_batch(kind):
    gradient = make_stateful(kind)
    for seed in range(2):
        run(gradient, *make_batch(seed=seed))
    assert not gradient.is_recorded


@pytest.mark.parametrize("change", ["settings", "slope", "mean", "global"])
def test_what_changes_between_epochs_is_noticed(change):
    gradient = make_stateful("none")
    layer = gradient.module.encoder
    try:
        for seed in range(6):
            if seed == 3:
                layer.settings["factor"] = 2.0 if change == "settings" else 1.0
                layer.slope = 2.0 if change == "slope" else 1.0
                if change == "mean":
                    layer.mean = layer.mean + 1
                GLOBAL["factor"] = 2.0 if change == "global" else 1.0
            found = run(gradient, *make_batch(seed=seed), seed=seed)
            assert_close(found, run_autograd(gradient, seed=seed))
    finally:
        GLOBAL["factor"] = 1.0
    assert gradient.is_recorded == (change != "global")


def test_a_check_moves_no_state_twice():
    gradient = make_stateful("plain")
    before = gradient.module.encoder.plain.item()
    for seed in range(4):
        run(gradient, *make_batch(seed=seed))
        assert gradient.module.encoder.plain == before + seed + 1
    gradient = make_stateful("generator")
    layer = gradient.module.encoder
    expected = torch.Generator()
    expected.set_state(layer.generator.get_state())
    for seed in range(4):
        run(gradient, *make_batch(seed=seed))
        torch.randn(4, generator=expected)
        assert torch.equal(layer.generator.get_state(), expected.get_state())


def test_reentrant_checkpoints_have_their_gradient():
    gradient, other = make_stateful("checkpoint"), make_default()
    for seed in range(3):
        found = run(gradient, *make_batch(seed=seed))
        assert all(value.isfinite().all() for value in found)
        assert gradient.module.encoder.layer.weight.grad.any()
    assert not other.calls_backward
    assert gradient.calls_backward


def test_members_within_members_are_checked():
    likelihood = Transformed(base=WiderNoise())
    assert not make_default(likelihood=likelihood).is_trusted
    assert make_default(likelihood=Transformed()).is_trusted


def test_global_hooks_are_hooks():
    handle = nn.modules.module.register_module_forward_hook(ignore)
    try:
        assert not make_default().is_recorded
    finally:
        handle.remove()
    assert make_default().is_recorded
