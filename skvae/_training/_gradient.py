"""The loss of a batch and its gradient: computed by autograd once, then repeated."""

import torch

from .._replay import NotRepeatableError, record
from .._utils._missing import missing_cells_known

TERMS = ("reconstruction", "kl")
# relative distance from autograd's gradient up to which a recording is believed
_TOLERANCE = 1e-3


def suits_numpy(device):
    """Return whether numpy is the faster library for a device, as threads are set."""
    return torch.device(device).type == "cpu" and torch.get_num_threads() == 1


class BatchGradient:
    """Loss of a module on batches of one shape, and the gradient of its weights.

    The first batch goes through autograd, and what it does is recorded; all others
    repeat that in the same memory. Where a value decides what is computed, or somebody
    watches (hooks), autograd goes on.

    Parameters
    ----------
    module : VAEModule
    objective : Objective
    shape : tuple of int
        Of the batches, (..., n, n_features).
    weights : FlatWeights
        Of the module.
    has_missing : bool
        Whether cells of the rows may be missing.
    is_weighted : bool, default=False
        Whether the weights of rows change from batch to batch.
    autocast : torch.dtype, default=None
        Of products under autocasting.

    Attributes
    ----------
    x : Tensor of that shape
        Rows, to be filled before every run; missing cells are NaN.
    seen : Tensor (..., n, n_seen) or None
        What `VAEModule.see` returns for them, likewise. None where no cell is missing,
        and the module finds it.
    share : Tensor (..., n)
        Weights of the rows, which sum to one, likewise.
    beta : float
        Weight of the KL, likewise.
    terms : Tensor (n_terms + 2,)
        Loss, terms of the objective and `length` after a run, means over rows.
    length : Tensor ()
        Of the gradient, for whoever works it out.
    names : tuple of str
        Of the terms between loss and length.
    """

    def __init__(
        self,
        module,
        objective,
        shape,
        weights,
        has_missing,
        is_weighted=False,
        autocast=None,
    ):
        self.module, self.objective, self.autocast = module, objective, autocast
        self.shape, self.has_missing = shape, has_missing
        self.is_weighted, self.weights = is_weighted, weights
        self.parameters = list(module.parameters())
        like = weights.grad
        self.x, self.seen = like.new_zeros(shape), None
        if (has_missing or module.n_flags) and not module.latent.takes_root:
            self.seen = like.new_zeros(*shape[:-1], module.n_seen)
        self.share = like.new_zeros(shape[:-1])
        self.beta, self.beta_values = None, like.new_zeros(())
        self.names = *TERMS, *objective.extra_terms
        self.terms = like.new_zeros(len(self.names) + 2)
        self.length = self.terms[-1]
        self.targets = [*self.terms[:-1].unbind(), *(p.grad for p in self.parameters)]
        self.program = self.state = None
        self.is_recorded = not _has_hooks(module)
        self.is_checked = _is_ours(module, objective)

    def run(self):
        """Compute the terms, and write the gradient into every weight's ``grad``."""
        if not self.is_recorded:
            self._run_autograd()
            return
        state = self._get_state()
        if self.program is None or state != self.state:
            # beta that has changed once will change again: it becomes an input
            changes = self.state is not None and state[0] != self.state[0]
            self._record(state, changes)
        elif not self.is_checked:
            self._check()
        else:
            self.program.run()

    def _get_state(self):
        """Return what a recording takes for constant, and may change all the same."""
        beta = None if self.state is not None and self.state[0] is None else self.beta
        if beta is None:
            self.beta_values.fill_(self.beta)
        buffers = [
            (id(buffer), buffer._version)
            for buffer in self.module.buffers()
            if all(buffer is not other for other in self._list_annealed())
        ]
        return beta, buffers

    def _list_annealed(self):
        """Return the buffers that change in the course of training."""
        if not self.module.latent.is_annealed:
            return []
        return list(self.module.prior.buffers())

    def _record(self, state, beta_changes):
        inputs = [self.x, self.weights.values, *self._list_annealed()]
        if self.seen is not None:
            inputs.append(self.seen)
        if self.is_weighted:
            inputs.append(self.share)
        beta = self.beta
        if beta_changes or state[0] is None:
            beta, state = self.beta_values.fill_(self.beta), (None, state[1])
            inputs.append(beta)
        try:
            self.program = record(
                lambda: self.compute(beta),
                inputs,
                self.targets,
                suits_numpy(self.x.device),
            )
        except NotRepeatableError:
            self.is_recorded, self.program = False, None
        self.state = state

    def _check(self):
        """Run by autograd as well, once: own members may keep a state in Python."""
        devices = [self.x.device] if self.x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            self.program.run()
        found = [target.clone() for target in self.targets]
        self._run_autograd()
        self.is_checked = True
        pairs = zip(found, self.targets, strict=True)
        distance = sum((a - b).square().sum() for a, b in pairs)
        size = sum(target.square().sum() for target in self.targets)
        self.is_recorded = bool(distance <= _TOLERANCE**2 * size)

    def _run_autograd(self):
        for target, value in zip(self.targets, self.compute(self.beta), strict=True):
            target.copy_(value) if value is not None else target.zero_()

    def compute(self, beta):
        """Return loss, terms and gradients by autograd, a list of Tensor or None."""
        is_cast = self.autocast is not None
        cast = torch.autocast(self.x.device.type, self.autocast, enabled=is_cast)
        objective = self.objective
        with torch.enable_grad(), cast, missing_cells_known(self.has_missing):
            output = self.module(
                self.x,
                n_draws=objective.n_draws,
                may_sum=objective.is_row_wise,
                seen=self.seen,
            )
            loss, terms = objective(output, self.x, self.share, beta)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return [loss, *(terms[name] for name in self.names), *gradients]


def _has_hooks(module):
    """Return whether anything is to be called when torch runs a module."""
    names = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks"
    names = *names, "_backward_pre_hooks"
    of_weights = "_backward_hooks", "_post_accumulate_grad_hooks"
    return any(getattr(m, name) for m in module.modules() for name in names) or any(
        getattr(p, name) for p in module.parameters() for name in of_weights
    )


def _is_ours(module, objective):
    """Return whether all members are of this package or of torch."""
    members = module.likelihood, module.latent, module.network, objective
    classes = [type(m) for m in (*members, *module.modules())]
    own = __name__.split(".")[0]
    return all(c.__module__.split(".")[0] in (own, "torch") for c in classes)
