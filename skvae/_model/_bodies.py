"""What a body does to a row: the width it gives, its widest tensor, its work.

A body may be any torch module, so it is asked by sending one row of zeros through.
"""

import math

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


@torch.no_grad()
def measure_body(body, shape, n_outputs, message):
    """Return the values of a row's widest tensor, and the products of shared weights.

    The widest tensor of convolutions is what they may unfold their input to.

    Parameters
    ----------
    body : Module
    shape : tuple of int
        Of what to send through, one row in all or one a copy.
    n_outputs : int
        Width that is expected.
    message : str
        What an error says, with ``{given}`` for the shape that was found.

    Returns
    -------
    widest : int
    repeated : int
        Products of weights that are used at many places, but for the first of each.

    Raises
    ------
    ValueError
        If the width is another one.
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
            # torch may write down, for each place, all that its output depends on
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
    return max(widths), sum(repeated)
