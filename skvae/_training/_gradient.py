"""The loss of a batch and its gradient: computed by autograd once, then repeated."""

import torch

from .._replay import NotRepeatableError, get_storage, record
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
    terms : Tensor (n_terms + 2,)
        Loss, terms of the objective and `length` after a run, means over rows.
    length : Tensor ()
        Of the gradient; `FlatWeights` fills it in.
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
        if (has_missing or module.n_flags) and not module.latent.takes_scale_tril:
            self.seen = like.new_zeros(*shape[:-1], module.n_seen)
        self.share = like.new_zeros(shape[:-1])
        # once the objective has been called
        self.names = self.terms = self.length = self.targets = None
        # a number, until it changes: then a tensor that recordings read
        self.beta, self.known_share = None, None
        self.program = self.state = None
        self.is_recorded = not has_hooks(module)
        self.is_checked = is_ours(module, objective)

    def begin_epoch(self, beta):
        """Take over what may change between epochs; beta is the weight of the KL."""
        if self.is_recorded and has_hooks(self.module):
            self.is_recorded, self.program = False, None
        state = self._get_state()
        if state != self.state:
            self.program, self.state = None, state
        if isinstance(self.beta, torch.Tensor):
            self.beta.fill_(beta)
        elif self.beta is None or not self.is_recorded:
            self.beta = beta
        elif beta != self.beta:
            # what has changed once will change again
            self.beta, self.program = self.x.new_full((), beta), None

    def weigh(self, share):
        """Take over the weights of the rows, (..., n), which sum to one."""
        if share is not self.known_share:
            self.share.copy_(share)
            self.known_share = share

    def run(self):
        """Compute the terms, and write the gradient into every weight's ``grad``."""
        if self.program is None:
            self._run_first()
        elif self.is_checked:
            self.program.run()
        else:
            self._check()

    def _list_annealed(self):
        """Return the buffers that change in the course of training."""
        is_annealed = self.module.latent.is_annealed
        return list(self.module.prior.buffers()) if is_annealed else []

    def _list_constants(self):
        """Return the buffers that a recording takes for constants."""
        changing = {get_storage(buffer) for buffer in self._list_annealed()}
        if self.program is not None:
            # such as the running means of batch normalisation
            changing |= self.program.changes
        return [b for b in self.module.buffers() if get_storage(b) not in changing]

    def _run_first(self):
        """Run by autograd, and record what it does."""
        if not self.is_recorded:
            self._run_autograd()
            return
        inputs = [self.x, self.weights.values, *self._list_annealed()]
        inputs += [self.seen] if self.seen is not None else []
        inputs += [self.share] if self.is_weighted else []
        inputs += [self.beta] if isinstance(self.beta, torch.Tensor) else []
        # nothing of ours, or of torch, draws by Python or numpy
        settings = suits_numpy(self.x.device), not self.is_checked
        try:
            self.program = record(self.compute, inputs, lambda: self.targets, *settings)
        except NotRepeatableError:
            self.is_recorded = False
        self.state = self._get_state()

    def _get_state(self):
        """Return what a recording takes for constant, and callbacks may change."""
        module = self.module
        # held on to, lest another buffer has the same number
        self.constants = self._list_constants()
        buffers = [(id(buffer), buffer._version) for buffer in self.constants]
        members = *module.likelihood.members, module.latent, self.objective
        owners = *members, *module.modules()
        settings = [
            (name, value)
            for owner in owners
            for name, value in vars(owner).items()
            if isinstance(value, (bool, int, float, str))
        ]
        return buffers, settings

    def _check(self):
        """Run by autograd as well, once: own members may keep a state in Python."""
        devices = [self.x.device] if self.x.device.type == "cuda" else []
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        with torch.random.fork_rng(devices=devices):
            self.program.run()
        for buffer, value in buffers:
            # running means have moved once
            if get_storage(buffer) in self.program.changes:
                buffer.copy_(value)
        found = [target.clone() for target in self.targets]
        self._run_autograd()
        self.is_checked = True
        pairs = zip(found, self.targets, strict=True)
        distance = sum((a - b).square().sum() for a, b in pairs)
        size = sum(target.square().sum() for target in self.targets)
        if not distance <= _TOLERANCE**2 * size:
            self.is_recorded, self.program = False, None

    def _run_autograd(self):
        values = self.compute()
        for target, value in zip(self.targets, values, strict=True):
            target.copy_(value) if value is not None else target.zero_()

    def compute(self):
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
            loss, terms = objective(output, self.x, self.share, self.beta)
        # what the gradient does not need is given back before it is computed
        del output
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        if self.targets is None:
            self._make_targets(tuple(terms))
        return [loss, *(terms[name] for name in self.names), *gradients]

    def _make_targets(self, names):
        self.names = names
        self.terms = self.weights.grad.new_zeros(len(names) + 2)
        self.length = self.terms[-1]
        self.targets = [*self.terms[:-1].unbind(), *(p.grad for p in self.parameters)]


def has_hooks(module):
    """Return whether anything is to be called when torch runs a module."""
    names = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks"
    names = *names, "_backward_pre_hooks"
    of_weights = "_backward_hooks", "_post_accumulate_grad_hooks"
    return any(getattr(m, name) for m in module.modules() for name in names) or any(
        getattr(p, name) for p in module.parameters() for name in of_weights
    )


def is_ours(module, objective):
    """Return whether all members are of this package or of torch."""
    members = *module.likelihood.members, module.latent, module.network, objective
    classes = [type(m) for m in (*members, *module.modules())]
    own = __name__.split(".")[0]
    return all(c.__module__.split(".")[0] in (own, "torch") for c in classes)
