"""Initial values of likelihood and prior, from draws of where training starts."""

import torch

# columns from which on the network of all rows starts with the values of its fold
_MANY_COLUMNS = 513


@torch.no_grad()
def initialize_members(module, x, generator, reach=None):
    """Fit likelihood and prior of a module, in place, to draws from its linear start.

    ``x`` are training rows of every fold, a list of tensors (n, n_features), and
    ``reach`` the largest values of all of its training rows, (n_features,); None are
    those of x.
    """
    known = None
    for fold, rows in enumerate(x):
        index = ... if module.n_copies is None else fold
        # in float64, which not every device has
        start = module.linear_start.make_precise(index)
        rows = rows.cpu().double()
        noise = torch.as_tensor(
            generator.standard_normal((len(rows), module.n_components))
        )
        u, z = start.draw(rows, noise, module.latent)
        if module.likelihood.initialize is not None:
            _, offset = start.predict(z)
            log_range = start.cast(z.dtype).log_range[0]
            if known is None or module.n_features < _MANY_COLUMNS:
                given = rows, offset, log_range, start.get_widening()
                if reach is not None:
                    given = *given, reach[fold]
                known = module.likelihood.initialize(*given)
            raw, free = known
            start.keep(raw, free)
            bias = module.decoder_head.bias[index]
            bias.add_(raw.flatten().to(bias))
            module.free[index].add_(free.to(module.free))
        seed = int(generator.integers(2**31 - 1))
        inputs = u if module.needs_encoder else z
        values = module.latent.initialize_prior(module.prior, inputs, seed)
        for name, value in values.items():
            target = getattr(module.prior, name)[index]
            target.copy_(value.reshape(target.shape))
