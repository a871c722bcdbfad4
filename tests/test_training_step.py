"""Gradients that the members bring are those that autograd finds."""

import itertools
import math

import numpy as np
import pytest
import torch
from covering import cover
from discrete_cases import CASES, DISCRETE, adapt, draw_rows
from skvae._model._module_pass import AutogradModulePass, ModulePass, make_module_pass
from skvae._model._program import Program
from torch import nn

from skvae._model import _module_pass
from skvae._model._evidence import VAEOutput
from skvae._model._module import VAEModule
from skvae._training._flat_weights import FlatWeights
from skvae.latents import LATENTS, Gaussian
from skvae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Beta,
    Categorical,
    ContinuousBernoulli,
    GaussianMixture,
    Laplace,
    LogNormal,
    NegativeBinomial,
    PerColumn,
    Poisson,
    StudentT,
)
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
    "mixture of two": GaussianMixture(n_mixture=2),
    "mixture and atoms": GaussianMixture(n_mixture=3, n_atoms=2),
    "bernoulli": Bernoulli(),
    "laplace": Laplace(),
    "laplace of the network": Laplace(noise="network"),
    "student t": StudentT(),
    "student t shared": StudentT(noise="shared"),
    "student t of the network": StudentT(noise="network"),
    "student t of 3": StudentT(df=3.0),
    "log-normal": LogNormal(),
    "log-normal of the network": LogNormal(noise="network"),
    "continuous bernoulli": ContinuousBernoulli(),
    "beta": Beta(),
    "beta of the network": Beta(noise="network"),
    **{
        name: CASES[name]
        for name in ("poisson", "categorical", "categorical of known sizes")
    },
}
MIXED_CASES = {
    "mixture beside categories": PerColumn(
        [GaussianMixture(n_atoms=2), Categorical([3, 4]), Categorical(3)],
        [[4, 0], [1, 3], [2]],
    ),
    "rows last and first": PerColumn(
        [Poisson(), GaussianMixture(), Bernoulli(), GaussianNoise()],
        [[3], [0, 2], [1], [4]],
    ),
    "one kind": PerColumn([GaussianNoise("network")], [[0, 1, 2, 3, 4]]),
    "two values of the start": PerColumn(
        [LogNormal(), StudentT("learned", "shared"), Beta("network")],
        [[1, 0], [2, 3], [4]],
    ),
    "shapes of their own": PerColumn(
        [ContinuousBernoulli(), Laplace(), GaussianNoise("shared")],
        [[0], [1, 2], [3, 4]],
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
}
# rows of a batch put beside one another are left to autograd
CLOSED_OBJECTIVES = [name for name, cls in OBJECTIVES.items() if cls().is_closed]
# the others leave their gradient to autograd
CLOSED_LATENTS = [name for name, cls in LATENTS.items() if "make_pass" in vars(cls)]
OBJECTIVE_CASES = {
    "elbo": ELBO(),
    "elbo of 3": ELBO(n_draws=3),
    "iwae of 4": IWAE(n_draws=4),
    "iwae of 4, standard": IWAE(n_draws=4, gradient="standard"),
}
NETWORK_CASES = {
    "mlp": MLP((6, 4)),
    "linear": MLP(()),
}
LIBRARIES = ["numpy", "torch"]
COPIES = {"alone": None, "copies": 3}
# whether the networks correct a linear start, or begin at random
STARTS = {"corrected": True, "random": False}


def over(*factors):
    """Run a test over combinations of names.

    A step's pass is right or wrong by what meets in it: a likelihood's layout, what the
    start predicts, draws and copies shape one tensor, the prior and the objective
    another. That is four factors at most, so not all combinations are tried, but any
    four values of different factors meet in one: all pairs and all threes do, too.
    """
    return pytest.mark.parametrize("names", cover(*factors, strength=4), ids="-".join)


def make_module(
    network, latent, likelihood, n_copies=None, is_corrected=True, sees_missing=False
):
    """Return a module in float64 with all weights, and its start, random."""
    generator = torch.Generator().manual_seed(0)
    # rates and odds are exponential: large numbers would lose digits
    size = 1.0
    groups = likelihood.list_groups(D)
    for member, columns in groups:
        if isinstance(member, DISCRETE):
            adapt(member, len(columns))
    # under heavy tails no draw wins outright: the weights of log-ratios of millions,
    # rounded to 1e-10, would count
    # and a small gradient of one column is what is left of the large ones of others
    has_scales = any(member.n_start > 1 for member, _ in groups)
    has_atoms = getattr(likelihood, "n_atoms", 0) > 0
    is_steep = isinstance(likelihood, (*DISCRETE, StudentT, PerColumn))
    if has_scales or has_atoms or is_steep:
        size = 0.3
    n_inputs = likelihood.count_inputs(D)
    n_predicted = math.prod(likelihood.start_shape(D))

    def draw(*shape):
        copies = () if n_copies is None else (n_copies,)
        return torch.randn(*copies, *shape, generator=generator, dtype=torch.float64)

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
    if has_scales:
        # z of some thousands would make scales of it that no number holds
        start["decoder_weight"] *= 1e-3
    if not is_corrected:
        # as random starts have them
        for name in ("decoder_weight", "encoder_weight", "decoder_bias"):
            start[name] = torch.zeros_like(start[name])
        start["encoder_centre"] = torch.zeros_like(start["encoder_centre"])
        start["input_scale"] = torch.ones_like(start["input_scale"])
    module = VAEModule(
        network, latent, likelihood, start, n_copies, is_corrected, sees_missing
    )
    module = module.double().train()
    for parameter in module.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.copy_(0.5 * values)
    return module


def make_batch(n_copies, n_draws, likelihood=None):
    generator = torch.Generator().manual_seed(1)
    copies = () if n_copies is None else (n_copies,)
    x = torch.randn(*copies, N, D, generator=generator, dtype=torch.float64)
    noise = torch.randn(
        n_draws, *copies, N, Q, generator=generator, dtype=torch.float64
    )
    weight = torch.rand(*copies, N, generator=generator, dtype=torch.float64)
    for member, columns in [] if likelihood is None else likelihood.list_groups(D):
        part = x[..., columns]
        if isinstance(member, DISCRETE):
            rows = draw_rows(member, part[..., 0].numel(), len(columns), seed=1)
            part = torch.as_tensor(rows).reshape(part.shape)
        x[..., columns] = VALUES.get(type(member), torch.clone)(part)
    return x, noise, weight


def hide(x):
    """Return rows that lack a third of their cells; of the first nothing is known."""
    generator = torch.Generator().manual_seed(3)
    missing = torch.rand(x.shape, generator=generator) < 1 / 3
    missing[..., 0, :] = True
    return x.masked_fill(missing, torch.nan)


def differentiate(module, objective, x, noise, weight, beta):
    """Return loss, terms and gradients as autograd finds them."""
    posterior = module.encode(x)
    z = module.latent.draw(posterior, noise)
    output = VAEOutput(posterior, module.prior(), module.decode(z), z)
    loss, terms = objective(output, x, weight, beta)
    parameters = list(module.parameters())
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    grads = [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(parameters, grads, strict=True)
    ]
    return (loss.detach(), terms["reconstruction"], terms["kl"]), grads


@pytest.fixture
def choose_library(monkeypatch):
    """Return what lets programs use the one library or the other."""

    def choose(name):
        monkeypatch.setattr(_module_pass, "suits_numpy", lambda device: name == "numpy")

    return choose


@pytest.fixture(params=LIBRARIES)
def library(request, choose_library):
    """Let programs use the one library and the other."""
    choose_library(request.param)


def make_gradient(module, objective, n_copies=None, is_complete=True):
    """Return the pass of a module on batches, with no gradient written yet."""
    weights = FlatWeights([list(module.parameters())])
    weights.grad.fill_(torch.nan)
    shape = (N, D) if n_copies is None else (n_copies, N, D)
    with torch.no_grad():
        return make_module_pass(
            module, objective, shape, weights.grad, is_complete=is_complete
        )


def run(gradient, x, noise, share, beta, see=None):
    """Return loss, reconstruction and KL; all gradients are written."""
    with torch.no_grad(), torch.random.fork_rng():
        # the second run must not see anything of the first
        for x_now in (torch.rand_like(x), x):
            gradient.x.copy_(x_now)
            if gradient.seen is not None:
                gradient.seen.copy_(see(x_now))
            gradient.noise.copy_(noise.movedim(0, -3))
            gradient.weigh(share, beta)
            torch.manual_seed(2)
            gradient.run()
        return gradient.terms[:3].unbind()


def assert_equals_autograd(
    network,
    latent,
    likelihood,
    objective,
    n_copies=None,
    is_corrected=True,
    is_complete=True,
    sees_missing=False,
):
    module = make_module(
        network, latent, likelihood, n_copies, is_corrected, sees_missing
    )
    x, noise, weight = make_batch(n_copies, objective.n_draws, likelihood)
    x = x if is_complete else hide(x)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        expected, grads = differentiate(module, objective, x, noise, weight, 0.5)
    closed = make_gradient(module, objective, n_copies, is_complete)
    assert isinstance(closed, ModulePass)
    found = run(closed, x, noise, weight / weight.sum(), 0.5, module.see)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for (name, p), grad in zip(module.named_parameters(), grads, strict=True):
        torch.testing.assert_close(
            p.grad, grad, rtol=1e-10, atol=1e-10, msg=lambda m, name=name: name + m
        )


@over(
    NETWORK_CASES,
    LATENT_CASES,
    LIKELIHOOD_CASES | MIXED_CASES,
    OBJECTIVE_CASES,
    COPIES,
    STARTS,
    LIBRARIES,
)
def test_steps_equal_autograd_for_combinations_of_members(names, choose_library):
    network, latent, likelihood, objective, copies, start, library = names
    choose_library(library)
    assert_equals_autograd(
        NETWORK_CASES[network],
        LATENT_CASES[latent],
        (LIKELIHOOD_CASES | MIXED_CASES)[likelihood],
        OBJECTIVE_CASES[objective],
        COPIES[copies],
        STARTS[start],
    )


@over(
    ["standard", "mixture"],
    LIKELIHOOD_CASES | MIXED_CASES,
    OBJECTIVE_CASES,
    COPIES,
    STARTS,
    LIBRARIES,
)
def test_steps_equal_autograd_where_cells_are_missing(names, choose_library):
    latent, likelihood, objective, copies, start, library = names
    choose_library(library)
    assert_equals_autograd(
        MLP((6, 4)),
        LATENT_CASES[latent],
        (LIKELIHOOD_CASES | MIXED_CASES)[likelihood],
        OBJECTIVE_CASES[objective],
        COPIES[copies],
        STARTS[start],
        is_complete=False,
        sees_missing=True,
    )


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("network", NETWORK_CASES)
@pytest.mark.parametrize("latent", LATENT_CASES)
@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("sees_missing", [True, False])
def test_steps_equal_autograd_with_flags_and_without(
    network, latent, is_complete, sees_missing
):
    assert_equals_autograd(
        NETWORK_CASES[network],
        LATENT_CASES[latent],
        MIXED_CASES["rows last and first"],
        IWAE(n_draws=3),
        is_complete=is_complete,
        sees_missing=sees_missing,
    )


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_equal_autograd_for_every_activation(activation):
    network = MLP((6, 4), activation=activation)
    assert_equals_autograd(network, Gaussian("mixture"), GaussianMixture(), ELBO())


@pytest.mark.usefixtures("library")
def test_steps_equal_autograd_with_dropout():
    network = MLP((30, 20), dropout=0.3)
    assert_equals_autograd(network, Gaussian("standard"), GaussianNoise(), ELBO())


# which members bring their gradient ---------------------------------------------------


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


def make_own_layers(n_inputs, n_copies=None):
    """Return what brings its gradient, in another order than in `MLP`."""
    layers = [nn.Tanh(), Linear(n_inputs, 6, n_copies), Linear(6, 4, n_copies)]
    return nn.Sequential(*layers, nn.GELU(approximate="tanh"), nn.ELU(0.5)), 4


def make_inplace(n_inputs, n_copies=None):
    first, second = Linear(n_inputs, 6, n_copies), Linear(6, 4, n_copies)
    layers = first, nn.SiLU(inplace=True), second, nn.ELU(inplace=True)
    return nn.Sequential(*layers), 4


def make_tied(n_inputs, n_copies=None):
    """Return a body that uses one layer twice."""
    layer = Linear(6, 6, n_copies)
    first = Linear(n_inputs, 6, n_copies)
    return nn.Sequential(first, nn.Tanh(), layer, nn.Tanh(), layer), 6


def make_tied_weight(n_inputs, n_copies=None):
    """Return a body in which two layers have one weight."""
    first, second = (Linear(6, 6, n_copies) for _ in range(2))
    second.weight = first.weight
    return nn.Sequential(Linear(n_inputs, 6, n_copies), first, nn.Tanh(), second), 6


def make_nothing(n_inputs, n_copies=None):
    return nn.Identity(), n_inputs


# convolutions leave their gradient to autograd
CLOSED_NETWORKS = [name for name in NETWORKS if name != "conv"]
OWN_BODIES = {"own layers": make_own_layers, "in place": make_inplace}
AUTOGRAD_BODIES = {
    "torch's layers": make_torch_layers,
    "residual": make_residual,
    "tied layer": make_tied,
    "tied weight": make_tied_weight,
    "no weights": make_nothing,
}


# what the others compute is left to autograd
CLOSED_LIKELIHOODS = [n for n, cls in LIKELIHOODS.items() if "make_pass" in vars(cls)]


@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize("n_copies", [None, 2])
@pytest.mark.parametrize("is_corrected", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        *itertools.product(
            CLOSED_NETWORKS, CLOSED_LATENTS, CLOSED_LIKELIHOODS, CLOSED_OBJECTIVES
        )
    ],
    ids="-".join,
)
def test_members_that_bring_their_gradient_train_without_autograd(
    names, prior, n_copies, is_corrected
):
    registries = NETWORKS, LATENTS, LIKELIHOODS, OBJECTIVES
    network, latent, likelihood, objective = (
        registry[name]() for registry, name in zip(registries, names, strict=True)
    )
    latent.set_params(prior=prior)
    module = make_module(network, latent, likelihood, n_copies, is_corrected)
    closed = make_gradient(module, objective, n_copies)
    assert isinstance(closed, ModulePass)
    assert closed.is_closed


def test_elbo_and_iwae_are_closed():
    assert CLOSED_OBJECTIVES == ["elbo", "iwae"]


def test_likelihoods_that_bring_their_gradient_take_missing_cells():
    assert CLOSED_LIKELIHOODS == [
        "gaussian",
        "gaussian_mixture",
        "bernoulli",
        "laplace",
        "student_t",
        "log_normal",
        "continuous_bernoulli",
        "beta",
        "categorical",
        "poisson",
    ]
    program = Program(torch.empty(0), uses_numpy=True)
    for name in CLOSED_LIKELIHOODS:
        assert LIKELIHOODS[name]().offer_pass(program).takes_missing


def test_columns_of_several_kinds_are_closed_if_every_kind_is():
    def is_closed(*members, is_complete=True):
        columns = np.array_split(np.arange(D), len(members))
        likelihood = PerColumn(members, [part.tolist() for part in columns])
        module = make_module(MLP((4,)), Gaussian("standard"), likelihood)
        made = make_gradient(module, ELBO(), is_complete=is_complete)
        return isinstance(made, ModulePass)

    assert is_closed(GaussianMixture(n_atoms=2), Categorical(4), Poisson())
    assert is_closed(GaussianNoise(), Bernoulli(), is_complete=False)
    assert is_closed(GaussianNoise(), OnlyComplete())
    assert not is_closed(GaussianNoise(), OnlyComplete(), is_complete=False)
    assert not is_closed(GaussianNoise(), NegativeBinomial())
    # a subclass changes what its parent's gradient is the gradient of
    assert not is_closed(GaussianNoise(), WiderNoise())


@pytest.mark.parametrize("is_complete", [True, False])
def test_passes_that_take_no_missing_cells_leave_those_to_autograd(is_complete):
    module = make_module(MLP((4,)), Gaussian("standard"), OnlyComplete())
    closed = make_gradient(module, ELBO(), is_complete=is_complete)
    assert isinstance(closed, ModulePass) == is_complete


@pytest.mark.parametrize("objective", [ELBO(free_bits=0.1), TC(), MMD()], ids=repr)
def test_other_objectives_leave_all_to_autograd(objective):
    module = make_module(MLP((4,)), Gaussian("standard"), GaussianNoise())
    assert isinstance(make_gradient(module, objective), AutogradModulePass)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("make", OWN_BODIES)
@pytest.mark.parametrize("objective", OBJECTIVE_CASES)
@pytest.mark.parametrize("n_copies", [None, 3])
@pytest.mark.parametrize("is_corrected", [True, False])
def test_own_bodies_of_known_layers_bring_their_gradient(
    make, objective, n_copies, is_corrected
):
    network = Bodies(OWN_BODIES[make])
    module = make_module(network, Gaussian("standard"), GaussianNoise(), n_copies)
    assert make_gradient(module, ELBO(), n_copies).is_closed
    assert_equals_autograd(
        network,
        Gaussian("standard"),
        GaussianNoise(),
        OBJECTIVE_CASES[objective],
        n_copies,
        is_corrected,
    )


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("make", AUTOGRAD_BODIES)
@pytest.mark.parametrize("objective", OBJECTIVE_CASES)
def test_only_the_gradient_of_other_bodies_is_autograds(make, objective):
    network = Bodies(AUTOGRAD_BODIES[make])
    module = make_module(network, Gaussian("mixture", 3), GaussianMixture())
    closed = make_gradient(module, ELBO())
    assert isinstance(closed, ModulePass)
    assert not closed.is_closed
    for is_corrected in (True, False):
        assert_equals_autograd(
            network,
            Gaussian("mixture", 3),
            GaussianMixture(),
            OBJECTIVE_CASES[objective],
            is_corrected=is_corrected,
        )


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "likelihood", ["noise of every column", "mixture", "bernoulli"]
)
@pytest.mark.parametrize("objective", OBJECTIVE_CASES)
@pytest.mark.parametrize("is_corrected", [True, False])
def test_only_the_gradient_of_convolutions_is_autograds(
    likelihood, objective, is_corrected
):
    network = Conv((3, 4), n_hidden=5)
    network.set_image((2, 1, 3), np.array([0, 1, 2, 4, 5]))
    members = Gaussian("mixture", 3), LIKELIHOOD_CASES[likelihood]
    closed = make_gradient(make_module(network, *members), ELBO())
    assert isinstance(closed, ModulePass)
    assert not closed.is_closed
    objective = OBJECTIVE_CASES[objective]
    assert_equals_autograd(network, *members, objective, is_corrected=is_corrected)


@pytest.mark.usefixtures("library")
def test_weights_that_no_gradient_reaches_have_gradient_zero():
    module = make_module(Bodies(make_residual), Gaussian("standard"), GaussianNoise())
    closed = make_gradient(module, ELBO())
    x, noise, weight = make_batch(None, 1)
    run(closed, x, noise, weight / weight.sum(), 1.0)
    assert (module.encoder.unused.weight.grad == 0).all()
    assert all(p.grad.any() for p in module.encoder.first.parameters())


def test_weights_that_encoder_and_decoder_share_leave_all_to_autograd():
    shared = Linear(6, 6)

    def make(n_inputs, n_copies=None):
        return nn.Sequential(Linear(n_inputs, 6), nn.Tanh(), shared), 6

    module = make_module(Bodies(make), Gaussian("standard"), GaussianNoise())
    assert isinstance(make_gradient(module, ELBO()), AutogradModulePass)


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_hooks_of_a_body_are_called(register):
    module = make_module(MLP((4,)), Gaussian("standard"), GaussianNoise())
    assert make_gradient(module, ELBO()).is_closed
    called = []
    getattr(module.decoder[0], register)(lambda *args: called.append(len(args)))
    hooked = make_gradient(module, ELBO())
    assert not hooked.is_closed
    x, noise, weight = make_batch(None, 1)
    run(hooked, x, noise, weight / weight.sum(), 1.0)
    # once in each of two runs
    assert len(called) == 2


def ignore(*args):
    pass


@pytest.mark.parametrize(
    "register",
    [
        lambda module: module.register_forward_hook(ignore),
        lambda module: module.encoder_head.register_forward_pre_hook(ignore),
        lambda module: module.prior.register_full_backward_hook(ignore),
        lambda module: module.encoder[0].weight.register_hook(ignore),
        lambda module: module.free.register_post_accumulate_grad_hook(ignore),
    ],
    ids=["module", "head", "prior", "weight", "gradient"],
)
def test_hooks_elsewhere_leave_all_to_autograd(register):
    module = make_module(MLP((4,)), Gaussian("standard"), GaussianNoise())
    assert make_gradient(module, ELBO()).is_closed
    register(module)
    assert isinstance(make_gradient(module, ELBO()), AutogradModulePass)


# a subclass changes what its parent's gradient is the gradient of


class WiderNoise(GaussianNoise):
    def __call__(self, raw, free, start, log_range):
        normal = super().__call__(raw, free, start, log_range)
        return torch.distributions.Normal(normal.loc, 2 * normal.scale)


class WiderPosterior(Gaussian):
    def posterior(self, raw, loc, scale):
        return super().posterior(raw, loc, 2 * scale)


class DoubleLoss(ELBO):
    def __call__(self, output, x, weight=None, beta=1.0):
        loss, terms = super().__call__(output, x, weight, beta)
        return 2 * loss, terms


class SamePass(GaussianNoise):
    make_pass = GaussianNoise.make_pass


class OnlyComplete(GaussianNoise):
    def make_pass(self, program):
        made = super().make_pass(program)
        made.takes_missing = False
        return made


def test_subclasses_do_not_inherit_the_gradient_of_what_they_change():
    def is_closed(likelihood=None, latent=None, objective=None):
        module = make_module(
            MLP((4,)), latent or Gaussian("standard"), likelihood or GaussianNoise()
        )
        return make_gradient(module, objective or ELBO()).is_closed

    assert is_closed()
    assert not is_closed(likelihood=WiderNoise())
    assert not is_closed(latent=WiderPosterior("standard"))
    assert not is_closed(objective=DoubleLoss())
    assert is_closed(likelihood=SamePass())


# at the edges -------------------------------------------------------------------------


def set_bias(values, n_columns):
    """Return a bias that repeats one value for each kind of raw output."""
    return torch.tensor(values, dtype=torch.float64).repeat_interleave(n_columns)


def make_extreme_module(latent, likelihood, raw_latent, raw_likelihood, free=0.0):
    """Return a module whose raw outputs are hardly more than the biases given.

    Rows still differ by a little: what the weights are multiplied with is not constant.
    """
    module = make_module(MLP((6, 4)), latent, likelihood)
    with torch.no_grad():
        for head, values, width in (
            (module.encoder_head, raw_latent, Q),
            (module.decoder_head, raw_likelihood, D),
        ):
            head.weight.mul_(1e-3)
            head.bias.copy_(set_bias(values, width))
        module.free.fill_(free)
    return module


def assert_finite_and_equal(module, objective, x, noise, weight):
    """Compare where values are so large that they lose digits, in float64 too."""
    expected, grads = differentiate(module, objective, x, noise, weight, 0.5)
    closed = make_gradient(module, objective)
    assert closed.is_closed
    found = run(closed, x, noise, weight / weight.sum(), 0.5)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for (name, p), grad in zip(module.named_parameters(), grads, strict=True):
        assert torch.isfinite(p.grad).all(), name
        # what is small beside the rest of a tensor is what is left of larger numbers
        atol = 1e-9 * grad.abs().max().item() if grad.numel() else 0.0
        torch.testing.assert_close(
            p.grad, grad, rtol=1e-7, atol=atol, msg=lambda m, name=name: name + m
        )


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


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", OBJECTIVE_CASES)
@pytest.mark.parametrize("prior", LATENT_CASES)
@pytest.mark.parametrize("raw", EXTREME_LATENTS)
def test_gradient_is_right_for_extreme_posteriors(raw, prior, objective):
    module = make_extreme_module(
        LATENT_CASES[prior], GaussianNoise(), EXTREME_LATENTS[raw], [0.0]
    )
    objective = OBJECTIVE_CASES[objective]
    batch = make_batch(None, objective.n_draws)
    assert_finite_and_equal(module, objective, *batch)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", OBJECTIVE_CASES)
@pytest.mark.parametrize("raw", EXTREME_MIXTURES)
def test_gradient_is_right_for_extreme_mixtures(raw, objective):
    module = make_extreme_module(
        Gaussian("standard"), GaussianMixture(3), [0.0, 0.0], EXTREME_MIXTURES[raw]
    )
    if raw == "wide at 0":
        # exactly: no weight leads there either
        with torch.no_grad():
            module.decoder_head.weight.unflatten(-1, (8, D))[:, 5] = 0.0
    objective = OBJECTIVE_CASES[objective]
    batch = make_batch(None, objective.n_draws)
    assert_finite_and_equal(module, objective, *batch)
    if raw == "wide at 0":
        # a start often leaves it there, and it must be able to leave
        assert module.decoder_head.bias.grad.unflatten(-1, (8, D))[..., 5, :].all()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("raw", [-1e3, -20.0, 11.9, 20.0])
@pytest.mark.parametrize("noise", ["feature", "shared", "network"])
def test_gradient_is_right_for_extreme_noise(noise, raw):
    is_network = noise == "network"
    module = make_extreme_module(
        Gaussian("standard"),
        GaussianNoise(noise),
        [0.0, 0.0],
        [0.0, raw] if is_network else [0.0],
        free=raw,
    )
    assert_finite_and_equal(module, ELBO(), *make_batch(None, 1))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("raw", [-1e3, 1e3])
def test_gradient_is_right_for_extreme_logits(raw):
    module = make_extreme_module(Gaussian("standard"), Bernoulli(), [0.0, 0.0], [raw])
    assert_finite_and_equal(module, ELBO(), *make_batch(None, 1, Bernoulli()))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("raw", [-1e3, 20.0, 1e3])
@pytest.mark.parametrize("likelihood", ["poisson", "categorical"])
def test_gradient_is_right_for_extreme_rates_and_logits(likelihood, raw):
    likelihood = LIKELIHOOD_CASES[likelihood]
    adapt(likelihood, D)
    # the first category stands for one far from the others
    values = [raw] + [0.0] * (likelihood.n_raw - 1)
    module = make_extreme_module(Gaussian("standard"), likelihood, [0.0, 0.0], values)
    batch = make_batch(None, 1, likelihood)
    assert_finite_and_equal(module, ELBO(), *batch)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("objective", OBJECTIVE_CASES)
@pytest.mark.parametrize("prior", LATENT_CASES)
@pytest.mark.parametrize(
    "likelihood", [name for name, case in LIKELIHOOD_CASES.items() if case.is_scaled]
)
def test_gradient_is_right_for_rows_far_away(likelihood, prior, objective):
    module = make_module(MLP((6, 4)), LATENT_CASES[prior], LIKELIHOOD_CASES[likelihood])
    objective = OBJECTIVE_CASES[objective]
    x, noise, weight = make_batch(None, objective.n_draws)
    x[0] *= 1e6
    x[1, 2] = -1e6
    assert_finite_and_equal(module, objective, x, noise, weight)
