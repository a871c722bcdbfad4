"""Loss and gradient of a whole module on a batch, composed of its members' passes.

Every member in play brings a pass (`_passes.py`, `latents`, `likelihoods`) and the
objective says what a row's terms weigh; `ModulePass` joins them in the order of
`VAEModule.forward`. Where one of them offers none, autograd does it all.
"""

import torch

from .._utils._missing import NEUTRAL
from ._module import SQUASH, OutputHead
from ._passes import (
    AffinePass,
    AutogradPass,
    ChainPass,
    have_hooks,
    make_body_pass,
    share_weights,
)
from ._program import Program, suits_numpy

TERMS = ("reconstruction", "kl")
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class SidePass:
    """A body beside its own input, both squashed: what a head of the module sees."""

    def __init__(self, program, body, n_inputs, n_hidden):
        self.program, self.body = program, body
        self.n_inputs, self.n_hidden = n_inputs, n_hidden

    def forward(self, u):
        """Write down what the head sees."""
        program = self.program
        self.tanh = program.multiply(u, 1 / SQUASH, program.empty(*u.shape))
        program.tanh(self.tanh, self.tanh)
        both = program.empty(*u.shape[:-1], self.n_inputs + self.n_hidden)
        beside, hidden = both.tensor_split([self.n_inputs], dim=-1)
        program.multiply(self.tanh, SQUASH, beside)
        self.body.forward(beside, hidden)
        return both

    def backward(self, grad):
        """Write down the gradient of the input, if anybody asked for it."""
        beside, hidden = grad.tensor_split([self.n_inputs], dim=-1)
        grad = self.body.backward(hidden)
        if grad is not None:
            self.program.add(grad, beside, grad)
            self.program.call(_tanh_backward, grad, self.tanh, grad_input=grad)
        return grad


class OutputPass:
    """An affine map of z added to raw outputs: an `OutputHead`."""

    def __init__(self, program, head, rows_last):
        self.program, self.rows_last = program, rows_last
        self.n_inputs = head.weight.shape[-2]
        self.path = AffinePass(program, head, rows_last=rows_last)

    def forward(self, h):
        """Write down the raw outputs."""
        z, outputs = h.tensor_split([self.n_inputs], dim=-1)
        raw = self.path.forward(z)
        return self.program.add(raw, outputs.mT if self.rows_last else outputs, raw)

    def backward(self, grad):
        """Write down the gradient of both inputs, side by side."""
        program, by_z = self.program, self.path.backward(grad)
        if self.rows_last:
            grad = grad.mT
        width = self.n_inputs + grad.shape[-1]
        by_both = program.empty(*grad.shape[:-1], width)
        beside, outputs = by_both.tensor_split([self.n_inputs], dim=-1)
        program.copy(by_z, beside)
        program.copy(grad, outputs)
        return by_both


def _make_side_pass(program, module, body, head, n_inputs, needs_input):
    """Return the pass of what `VAEModule._hide` does, and whether it is closed."""
    if module.network.is_linear:
        return ChainPass([]), True
    if isinstance(head, OutputHead):
        n_hidden = head.weight.shape[-1]
    else:
        n_hidden = head.weight.shape[-2] - module.is_corrected * n_inputs
    body = make_body_pass(program, body, n_hidden, needs_input)
    is_closed = not isinstance(body, AutogradPass)
    if module.is_corrected:
        body = SidePass(program, body, n_inputs, n_hidden)
    return body, is_closed


class ModulePass:
    """Loss of a `VAEModule` on a batch, and the gradient of all its weights.

    Parameters
    ----------
    module : VAEModule
        Every weight has a ``grad`` to be written to.
    objective : Objective
    shape : tuple of int
        Of the batches, (..., n, n_features).
    dtype : torch.dtype
    has_missing : bool, default=False
        Whether cells of the rows may be missing.

    Attributes
    ----------
    x : Tensor of that shape
        Rows, to be filled before every run; missing cells are NaN.
    seen : Tensor (..., n, n_seen) or None
        What `VAEModule.see` returns of them, likewise. None where no cell is missing,
        and the program finds it.
    noise : Tensor (..., n_draws, n, n_components)
        Standard draws, likewise.
    terms : Tensor (4,)
        Loss, reconstruction and KL after a run, means over rows, and `length`.
    length : Tensor ()
        Of the gradient, for whoever works it out.
    names : tuple of str
        Of the terms between loss and length.
    """

    names = TERMS

    def __init__(
        self, module, objective, shape, dtype=torch.float32, has_missing=False
    ):
        self.shape, self.objective, self.n_draws = shape, objective, objective.n_draws
        like = torch.empty(0, dtype=dtype, device=module.free.device)
        program = self.program = Program(like, suits_numpy(like.device))
        *leading, n, _ = shape
        self.x, self.seen = program.zeros(*shape), None
        if has_missing or module.n_flags:
            self.seen = program.zeros(*shape[:-1], module.n_seen)
        n_draws, n_components = objective.n_draws, module.n_components
        self.noise = program.zeros(*leading, n_draws, n, n_components)
        self.terms = program.zeros(4)
        self.loss, self.reconstruction, self.mean_kl, self.length = self.terms.unbind()
        self.settings, self.beta = (None, None), program.zeros()
        self.likelihood = module.likelihood.offer_pass(program)
        self.latent = module.latent.make_pass(program, module.prior, objective.uses_kl)
        self.is_complete = (
            self.likelihood is not None
            and self.latent is not None
            and objective.is_closed
            and (self.seen is None or self.likelihood.takes_missing)
        )
        if self.is_complete:
            self._write(module, module._get_start(dtype), leading, n)

    def _write(self, module, start, leading, n):
        """Write down the whole step."""
        program, rows_last = self.program, self.likelihood.rows_last
        head, n_inputs = module.encoder_head, module.n_inputs + module.n_flags
        encoder, encoder_is_closed = _make_side_pass(
            program, module, module.encoder, head, n_inputs, False
        )
        encoder_head = AffinePass(program, head, not module.network.is_linear)
        head = module.decoder_head
        decoder, decoder_is_closed = _make_side_pass(
            program, module, module.decoder, head, module.n_components, True
        )
        make_pass = OutputPass if isinstance(head, OutputHead) else AffinePass
        decoder_head = make_pass(program, head, rows_last=rows_last)
        self.is_closed = encoder_is_closed and decoder_is_closed
        x = self.x
        if self.seen is None:
            u, loc, scale = *self._write_start(start), start.posterior_scale
        else:
            sizes = [n_inputs, module.n_components, module.n_components]
            u, loc, scale = self.seen.split(sizes, dim=-1)
            x = self._write_missing(x)
        raw = encoder_head.forward(encoder.forward(u))
        self._cut(raw)
        z = self.latent.forward(raw, loc, scale, self.noise)
        raw = decoder_head.forward(decoder.forward(z))
        log_likelihood = self.likelihood.forward(
            self._repeat(x, rows_last),
            raw,
            module.free,
            self._predict(z, start, rows_last),
            start.log_range,
        ).view(*leading, self.n_draws, n)
        kl = self.latent.kl()
        by_log_likelihood, by_kl = self._write_loss(log_likelihood, kl)
        by_raw, by_predicted = self.likelihood.backward(by_log_likelihood.flatten(-2))
        by_z = decoder.backward(decoder_head.backward(by_raw))
        if start.decoder_weight is not None:
            if rows_last:
                by_predicted = by_predicted.mT
            through = program.empty(*by_z.shape)
            program.matmul(by_predicted, start.decoder_weight.mT, through)
            by_z = program.add(through, by_z, through)
        by_draws = (by_z, by_kl, self.factor)[: 2 if self.factor is None else 3]
        by_raw = self._cut(self.latent.backward(*by_draws))
        by_hidden = encoder_head.backward(by_raw)
        if by_hidden is not None:
            encoder.backward(by_hidden)

    def _write_start(self, start):
        """Write down the encoder's input, and the posterior mean of the start."""
        program, loc = self.program, None
        u = self.likelihood.represent(self.x)
        if start.encoder_centre is not None:
            u = program.subtract(u, start.encoder_centre, program.empty(*u.shape))
        if start.encoder_weight is not None:
            n_components = start.encoder_weight.shape[-1]
            loc = program.empty(*u.shape[:-1], n_components)
            program.matmul(u, start.encoder_weight, loc)
        if start.input_scale is not None:
            u = program.multiply(u, start.input_scale, program.empty(*u.shape))
        return u, loc

    def _write_missing(self, x):
        """Write down rows without NaN, and which cells and rows are observed."""
        program = self.program
        observed, filled = program.empty(*x.shape), program.empty(*x.shape)
        program.call(torch.eq, x, x, out=observed)
        bounds = {"posinf": torch.inf, "neginf": -torch.inf}
        program.call(torch.nan_to_num, x, NEUTRAL, **bounds, out=filled)
        self.likelihood.observed = self._repeat(observed, self.likelihood.rows_last)
        count = program.sum(observed, -1, program.empty(*x.shape[:-1]))
        self.is_known = program.clip(count, None, 1.0, count).unsqueeze(-1)
        return filled

    def _cut(self, raw):
        """Write down zero for rows of which nothing is known: they have the prior."""
        if self.seen is None:
            return raw
        return self.program.multiply(raw, self.is_known, raw)

    def _repeat(self, x, rows_last):
        """Write down x once for each draw, laid out as the likelihood has it."""
        program, n_draws = self.program, self.n_draws
        *leading, n, n_features = x.shape
        if n_draws > 1:
            repeated = program.empty(*leading, n_draws, n, n_features)
            program.copy(x.unsqueeze(-3).expand_as(repeated), repeated)
            x = repeated.flatten(-3, -2)
        if rows_last:
            x = program.copy(x.mT, program.empty(*leading, n_features, n_draws * n))
        return x

    def _predict(self, z, start, rows_last):
        """Write down the location that the linear start predicts."""
        program, bias, weight = self.program, start.decoder_bias, start.decoder_weight
        if rows_last:
            bias = bias.mT
        if weight is None:
            return bias if bias.any() else None
        *leading, n, _ = z.shape
        n_features = weight.shape[-1]
        if rows_last:
            predicted = program.empty(*leading, n_features, n)
            program.matmul(weight.mT, z.mT, predicted)
        else:
            predicted = program.empty(*leading, n, n_features)
            program.matmul(z, weight, predicted)
        return program.add(predicted, bias, predicted) if bias.any() else predicted

    def _write_loss(self, log_likelihood, kl):
        """Write down the terms, and return the derivatives of the loss."""
        program = self.program
        self.log_likelihood, self.kl = log_likelihood, kl
        # what the mean over rows and draws weighs them by, and the derivatives
        self.shares = program.zeros(*log_likelihood.shape), program.zeros(*kl.shape)
        self.share = program.zeros(*self.x.shape[:-1])
        self.by = program.zeros(*log_likelihood.shape), program.zeros(*kl.shape)
        is_weighed = self.objective.weighs_draws and self.latent.is_reparametrised
        self.factor = program.zeros(*kl.shape) if is_weighed else None
        program.dot(self.shares[0], log_likelihood, self.reconstruction)
        program.dot(self.shares[1], kl, self.mean_kl)
        if self.objective.is_linear:
            program.multiply(self.mean_kl, self.beta, self.loss)
            program.subtract(self.loss, self.reconstruction, self.loss)
        else:
            program.call(self._differentiate)
        return self.by

    def _differentiate(self):
        inputs = self.log_likelihood, self.kl, self.share, self.settings[1]
        self.loss.copy_(self.objective.value(*inputs))
        for target, found in zip(
            self.by, self.objective.differentiate(*inputs), strict=True
        ):
            target.copy_(found)
        if self.factor is not None:
            self.factor.copy_(self.objective.weigh_draws(*inputs[:2], inputs[3]))

    def weigh(self, share, beta):
        """Set the weights of the rows, (..., n) and summing to one, and of the KL."""
        known, known_beta = self.settings
        if share is known and beta == known_beta:
            return
        self.settings = share, beta
        self.share.copy_(share)
        self.beta.fill_(beta)
        for target in self.shares:
            target.copy_((share / target.shape[-2]).unsqueeze(-2).expand_as(target))
        if self.objective.is_linear:
            torch.neg(self.shares[0], out=self.by[0])
            torch.mul(self.shares[1], beta, out=self.by[1])

    def run(self):
        """Compute the terms, and write the gradient into every weight's ``grad``."""
        self.program.run()


class AutogradModulePass:
    """The same of any members at all, by autograd; it draws its noise itself.

    Parameters
    ----------
    module : VAEModule
    objective : Objective
    shape : tuple of int
    grad : Tensor
        Of all weights.
    autocast : torch.dtype, default=None
        Of products under autocasting.
    """

    is_closed, noise, seen = False, None, None

    def __init__(self, module, objective, shape, grad, autocast=None):
        self.module, self.objective, self.grad = module, objective, grad
        self.shape, self.autocast = shape, autocast
        self.x = grad.new_zeros(shape)

    def weigh(self, share, beta):
        """Set the weights of the rows, (..., n) and summing to one, and of the KL."""
        self.settings = share, beta

    def run(self):
        """Compute the terms, and write the gradient into every weight's ``grad``."""
        is_cast = self.autocast is not None
        cast = torch.autocast(self.x.device.type, self.autocast, enabled=is_cast)
        with torch.enable_grad(), cast:
            objective = self.objective
            output = self.module(
                self.x, n_draws=objective.n_draws, may_sum=objective.is_row_wise
            )
            loss, terms = self.objective(output, self.x, *self.settings)
        self.grad.zero_()
        loss.backward()
        self.names = tuple(terms)
        self.terms = self.grad.new_zeros(len(terms) + 2)
        self.terms[:-1] = torch.stack([v.float() for v in (loss, *terms.values())])
        self.length = self.terms[-1]


def _is_plain(module, objective):
    """Return whether nothing but the members' own gradients is asked for."""
    members = (
        (module.latent, "make_pass"),
        (objective, "is_closed"),
    )
    bodies = [module.encoder, module.decoder]
    inside = {m for body in bodies for m in body.modules()}
    hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return (
        # what a subclass inherits may not be the gradient of what it computes
        all(name in vars(type(member)) for member, name in members)
        and not share_weights(bodies)
        and not have_hooks(set(module.modules()) - inside)
        and not any(getattr(p, name) for p in module.parameters() for name in hooks)
    )


def make_module_pass(module, objective, shape, grad, autocast=None, is_complete=True):
    """Return the pass of a module on batches of a shape.

    Parameters
    ----------
    module : VAEModule
        Every weight has a ``grad`` to be written to.
    objective : Objective
    shape : tuple of int
    grad : Tensor
        Of all weights: what those are views of.
    autocast : torch.dtype, default=None
        Leave all to autograd, under autocasting.
    is_complete : bool, default=True
        Whether no cell of the rows is missing.
    """
    if autocast is None and _is_plain(module, objective):
        dtype, has_missing = module.free.dtype, not is_complete
        closed = ModulePass(module, objective, shape, dtype, has_missing)
        if closed.is_complete:
            return closed
    return AutogradModulePass(module, objective, shape, grad, autocast)
