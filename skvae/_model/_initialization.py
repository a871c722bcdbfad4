"""Initial values of likelihood and prior, from draws of the linear start."""

import torch

from ._linear_start import LinearStart


@torch.no_grad()
def initialize_members(module, x, generator):
    """Fit likelihood and prior of a module, in place, to draws from its linear start.

    ``x`` are the training rows of every fold, a list of tensors (n, n_features).
    """
    for fold, rows in enumerate(x):
        index = ... if module.n_copies is None else fold
        # in float64, which not every device has
        tensors = module.linear_start.get_tensors(index)
        start = LinearStart(tensors, module.linear_start.link).cpu().double()
        rows = rows.cpu().double()
        noise = torch.as_tensor(
            generator.standard_normal((len(rows), module.n_components))
        )
        u, z = _draw(start, module.latent, rows, noise)
        if module.likelihood.initialize is not None:
            offset = z @ start.decoder_weight + start.decoder_bias
            offset = offset.unflatten(-1, start.offset_shape)
            raw, free = module.likelihood.initialize(rows, offset, start.log_range[0])
            bias = module.decoder_head.bias[index]
            bias.add_(raw.flatten().to(bias))
            module.free[index].add_(free.to(module.free))
        seed = int(generator.integers(2**31 - 1))
        inputs = u if module.needs_encoder else z
        values = module.latent.initialize_prior(module.prior, inputs, seed)
        for name, value in values.items():
            target = getattr(module.prior, name)[index]
            target.copy_(value.reshape(target.shape))


def _draw(start, latent, rows, noise):
    """Return the encoder's input of rows, and draws of z from their posterior."""
    u, loc, scale, _ = start.infer(rows, keeps_root=True)
    if scale.dim() > loc.dim():
        # missing values: components depend on one another
        noise = (scale @ noise.unsqueeze(-1)).squeeze(-1)
        scale = torch.ones_like(noise)
    return u, latent.draw_initial(loc, scale, noise)
