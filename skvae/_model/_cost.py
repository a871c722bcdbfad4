"""Memory and work that a module takes for a row.

The body of a network may be any torch module: its cost is measured by sending one row
of zeros through it.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


@dataclass(frozen=True)
class BodyCost:
    """Cost of a row in the body of a network.

    Attributes
    ----------
    n_widest : int
        Values of the widest tensor; of convolutions, of the unfolded input.
    n_repeated : int
        Products of weights that are used at many places, except the first of each.
    """

    n_widest: int = 0
    n_repeated: int = 0


def measure_bodies(module, n_hidden):
    """Return the cost of a module's two bodies.

    Parameters
    ----------
    module : VAEModule
    n_hidden : tuple of int
        Outputs of the encoder and of the decoder that their heads expect.

    Raises
    ------
    ValueError
        If a body has another number of outputs.
    """
    if module.network.is_linear:
        return BodyCost()
    folds = () if module.n_copies is None else (module.n_copies,)
    n_inputs = module.n_inputs + module.n_flags, module.n_components
    costs = []
    for kind, n, n_outputs, draws in zip(
        ("encoder", "decoder"), n_inputs, n_hidden, ((), (1,)), strict=True
    ):
        shape = (*draws, *folds, 1, n)
        source = f"the n_outputs that make_{kind} returned"
        if kind == "decoder" and module.network.has_outputs:
            n_raw = module.likelihood.n_raw
            source = (
                f"n_raw * n_features = {n_raw} * {module.n_features}: the raw outputs "
                "of the likelihood, which has_outputs=True promises"
            )
        message = (
            f"network={module.network!r}: the {kind}'s body maps {shape} to {{given}}, "
            f"but the last dimension must be {n_outputs}, {source}."
        )
        costs.append(measure_body(getattr(module, kind), shape, n_outputs, message))
    return BodyCost(
        max(cost.n_widest for cost in costs), sum(cost.n_repeated for cost in costs)
    )


@torch.no_grad()
def measure_body(body, shape, n_outputs, message):
    """Return the cost of a row in a body.

    Parameters
    ----------
    body : Module
    shape : tuple of int
        Shape of the input: one row, or one for each fold.
    n_outputs : int
        Expected width of the output.
    message : str
        Text of the error, with ``{given}`` for the shape of the output.

    Returns
    -------
    BodyCost

    Raises
    ------
    ValueError
        If the output has another shape.
    """
    n_rows = math.prod(shape[:-1])
    widths, repeated = [0], [0]

    def note(layer, inputs, output):
        if isinstance(output, torch.Tensor):
            widths.append(output.numel() // n_rows)
        if isinstance(layer, _CONVOLUTIONS):
            maps = inputs[0] if layer.transposed else output
            places = maps.numel() // (n_rows * maps.shape[1])
            repeated.append((places - 1) * layer.weight.numel())
            # torch may copy, for each place, all inputs that its output depends on
            window = layer.in_channels * math.prod(layer.kernel_size)
            widths.append(places * window)

    modes = [(module, module.training) for module in body.modules()]
    hooks = [module.register_forward_hook(note) for module, _ in modes]
    try:
        with torch.random.fork_rng(devices=[]):
            output = body.eval()(torch.zeros(shape, dtype=torch.float32))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    given = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output)
    if given != (*shape[:-1], n_outputs):
        raise ValueError(message.format(given=given))
    return BodyCost(max(widths), sum(repeated))


def count_draws(module, n_draws):
    """Return the number of values of z that the score of a row averages over."""
    states = module.latent.enumerate(module.n_components)
    return n_draws if states is None else len(states)


def count_widest(module):
    """Return the number of values that a row has in the widest tensor of a pass."""
    outputs = [p.shape[-1] for p in module.parameters() if p.dim() > 1]
    # pseudo-inputs are not part of a row
    prior = getattr(module.prior, "n_widest", None)
    if prior is None:
        prior = max((p.numel() for p in module.prior.parameters()), default=0)
    n_offset = module.linear_start.decoder_bias.shape[-1]
    return max(
        *outputs, prior, n_offset, module.n_features, module.body_cost.n_widest, 256
    )


def count_work(module, batch_size):
    """Return the approximate number of floating-point operations of a training step."""
    products = sum(p.numel() for p in module.parameters() if p.dim() > 1)
    return 6 * batch_size * (products + module.body_cost.n_repeated)
