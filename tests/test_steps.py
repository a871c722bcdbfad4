import itertools

import pytest
import torch

from skvae import _module_pass
from skvae._evidence import VAEOutput
from skvae._module import VAEModule
from skvae._module_pass import make_module_pass
from skvae._weights import FlatWeights
from skvae.latents import Gaussian
from skvae.likelihoods import Bernoulli, GaussianMixture
from skvae.likelihoods import Gaussian as GaussianNoise
from skvae.networks import ACTIVATIONS, MLP
from skvae.objectives import ELBO, IWAE

N, D, Q = 7, 5, 2

LIKELIHOOD_CASES = {
    "noise of every column": GaussianNoise(),
    "noise shared": GaussianNoise(noise="shared"),
    "noise of the network": GaussianNoise(noise="network"),
    "noise known": GaussianNoise(noise=0.7),
    "mixture": GaussianMixture(),
    "mixture of two": GaussianMixture(n_mixture=2),
    "bernoulli": Bernoulli(),
}
LATENT_CASES = {
    "standard": Gaussian(prior="standard"),
    "mixture": Gaussian(prior="mixture", n_mixture=3),
}
OBJECTIVE_CASES = {
    "elbo": ELBO(),
    "elbo of 3": ELBO(n_draws=3),
    "iwae of 4": IWAE(n_draws=4),
}
NETWORK_CASES = {
    "mlp": MLP((6, 4)),
    "linear": MLP(()),
}


def make_module(network, latent, likelihood, n_copies=None, is_corrected=True):
    """Return a module in float64 with all weights, and its start, random."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        copies = () if n_copies is None else (n_copies,)
        return torch.randn(*copies, *shape, generator=generator, dtype=torch.float64)

    start = {
        "decoder_weight": draw(Q, D),
        "decoder_bias": draw(1, D),
        "encoder_centre": draw(1, D),
        "encoder_weight": 0.3 * draw(D, Q),
        "posterior_scale": draw(1, Q).exp(),
        "input_scale": draw(1, D).exp(),
        "log_range": draw(1, D).exp(),
    }
    if not is_corrected:
        # as random starts have them
        for name in ("decoder_weight", "encoder_weight", "decoder_bias"):
            start[name] = torch.zeros_like(start[name])
        start["encoder_centre"] = torch.zeros_like(start["encoder_centre"])
        start["input_scale"] = torch.ones_like(start["input_scale"])
    module = VAEModule(network, latent, likelihood, start, n_copies, is_corrected)
    module = module.double().train()
    for parameter in module.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.copy_(0.5 * values)
    return module


def make_batch(n_copies, n_draws, is_binary):
    generator = torch.Generator().manual_seed(1)
    copies = () if n_copies is None else (n_copies,)
    x = torch.randn(*copies, N, D, generator=generator, dtype=torch.float64)
    noise = torch.randn(
        n_draws, *copies, N, Q, generator=generator, dtype=torch.float64
    )
    weight = torch.rand(*copies, N, generator=generator, dtype=torch.float64)
    return ((x > 0).double() if is_binary else x), noise, weight


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


def assert_equals_autograd(
    network, latent, likelihood, objective, n_copies=None, is_corrected=True
):
    module = make_module(network, latent, likelihood, n_copies, is_corrected)
    is_binary = isinstance(likelihood, Bernoulli)
    x, noise, weight = make_batch(n_copies, objective.n_draws, is_binary)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        expected, grads = differentiate(module, objective, x, noise, weight, 0.5)
    flat = FlatWeights([list(module.parameters())])
    flat.grad.fill_(torch.nan)  # every gradient is written, none added to
    with torch.no_grad(), torch.random.fork_rng():
        closed = make_module_pass(module, objective, tuple(x.shape), flat.grad)
        torch.manual_seed(2)
        # the second run must not see anything of the first
        for x_now in (torch.rand_like(x), x):
            closed.x.copy_(x_now)
            closed.noise.copy_(noise.movedim(0, -3))
            closed.weigh(weight / weight.sum(), 0.5)
            torch.manual_seed(2)
            closed.run()
        found = closed.terms[:3].unbind()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for (name, p), grad in zip(module.named_parameters(), grads, strict=True):
        torch.testing.assert_close(
            p.grad, grad, rtol=1e-10, atol=1e-10, msg=lambda m, name=name: name + m
        )


@pytest.fixture(params=["numpy", "torch"])
def library(request, monkeypatch):
    """Let programs use the one library or the other."""
    uses_numpy = request.param == "numpy"
    monkeypatch.setattr(_module_pass, "suits_numpy", lambda device: uses_numpy)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("n_copies", [None, 3])
@pytest.mark.parametrize("is_corrected", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        *itertools.product(
            NETWORK_CASES, LATENT_CASES, LIKELIHOOD_CASES, OBJECTIVE_CASES
        )
    ],
    ids="-".join,
)
def test_steps_equal_autograd_for_every_combination(names, n_copies, is_corrected):
    network, latent, likelihood, objective = names
    assert_equals_autograd(
        NETWORK_CASES[network],
        LATENT_CASES[latent],
        LIKELIHOOD_CASES[likelihood],
        OBJECTIVE_CASES[objective],
        n_copies,
        is_corrected,
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
