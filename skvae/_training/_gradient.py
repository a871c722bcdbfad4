"""The loss of a batch and its gradient: computed by autograd once, then repeated."""

import torch

from .._replay import (
    NotRepeatableError,
    are_known,
    get_storage,
    has_hooks,
    list_contents,
    record,
)
from .._utils._draws import call_with_draws, list_generators
from .._utils._missing import missing_cells_known

TERMS = ("reconstruction", "kl")
# relative distance from autograd's results up to which a recording is believed, and
# what is negligible beside the largest of them
_TOLERANCE, _NEGLIGIBLE = 1e-3, 1e-6
# a change of rows and weights of the size of rounding, and how much more may come of it
_ROUNDING, _FACTOR = 1e-7, 30


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
    has_missing : bool or tuple of int
        Whether cells of the rows may be missing, or the columns of such cells.
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
    idle : list of Parameter
        Weights that no gradient reaches.
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
        is_worthwhile = has_missing or module.n_flags or module.is_refined
        if is_worthwhile and not module.latent.takes_scale_tril:
            self.seen = like.new_zeros(*shape[:-1], module.n_seen)
        self.share = like.new_zeros(shape[:-1])
        # once the objective has been called
        self.names = self.terms = self.length = self.targets = None
        # a number, until it changes: then a tensor that recordings read
        self.beta, self.known_share = None, None
        self.program = self.contents = None
        self.idle, self.calls_backward = [], False
        self.is_recorded = not has_hooks(module)
        self._look()
        # whether the recording and autograd have been compared in this epoch
        self.is_checked = self.is_trusted

    def begin_epoch(self, beta, may_change=True):
        """Take over what may change between epochs; beta is the weight of the KL.

        ``may_change`` is whether any code but that of known members may have run.
        """
        if self.is_recorded and has_hooks(self.module):
            self.is_recorded, self.program = False, None
        may_change = may_change or not self.is_trusted
        if self.is_recorded and may_change and self._look():
            self.program = None
        # code of one's own may depend on what no contents tell
        self.is_checked = self.is_trusted
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
        settings = suits_numpy(self.x.device), not self.is_trusted
        try:
            self.program = record(self.compute, inputs, lambda: self.targets, *settings)
        except NotRepeatableError:
            self.is_recorded = False
        self._look()

    def _look(self):
        """Note what a recording takes for constant; return whether that has changed."""
        changing = [self.weights.values, *self._list_annealed()]
        if self.program is not None:
            # such as the running means of batch normalisation
            changing += self.program.changed
        changing, before = {get_storage(t) for t in changing}, self.contents
        members = self.module, self.objective
        # objects are held on to, lest others have the same number
        self.contents, self.objects = list_contents(members, changing)
        if self.contents == before:
            return False
        self.is_trusted = are_known(self.objects)
        return True

    def _check(self):
        """Run by autograd, and compare what the recording does."""
        generators = [*list_generators(), *self.program.generators]
        if self.x.is_cuda:
            generators.append(torch.cuda.default_generators[self.x.device.index])
        states = [(g, g.get_state()) for g in generators]
        found = self._rehearse(self.program.run, states)
        self._run_autograd()
        expected = [t.clone() for t in (*self.targets, *self.program.changed)]
        self.is_checked = True
        # contents change where calls are counted, for example
        if (
            found is None
            or self._look()
            or not (
                self._agree(found, expected)
                or self._agree(
                    found, expected, self._rehearse(self._run_beside, states)
                )
            )
        ):
            self.is_recorded, self.program = False, None
        for target, value in zip(self.targets, expected, strict=False):
            target.copy_(value)

    def _rehearse(self, run, states):
        """Return what a run comes to, and undo it; None if it fails."""
        changed = self.program.changed
        before = [(tensor, tensor.clone()) for tensor in changed]
        now = [(g, g.get_state()) for g, _ in states]
        try:
            for generator, state in states:
                generator.set_state(state)
            run()
            return [t.clone() for t in (*self.targets, *changed)]
        except Exception:
            # an operation that autograd itself calls in another way
            return None
        finally:
            for tensor, value in before:
                tensor.copy_(value)
            for generator, state in now:
                generator.set_state(state)

    def _run_beside(self):
        """Run by autograd for rows and weights that are as near as rounding."""
        inputs = [self.weights.values, self.x]
        inputs += [self.seen] if self.seen is not None else []
        before = [tensor.clone() for tensor in inputs]
        for i, tensor in enumerate(inputs):
            flat = tensor.view(-1)
            step = _ROUNDING * (flat.abs().clamp_min(1.0) if i == 0 else flat.abs())
            step[::2] *= -1
            # counts and categories stay what they are
            moves = (flat != flat.round()) | (i == 0)
            flat.copy_(torch.where(moves, flat + step, flat))
        self._run_autograd()
        for tensor, value in zip(inputs, before, strict=True):
            tensor.copy_(value)

    def _agree(self, found, expected, beside=None):
        """Return whether results differ by rounding, each on its own scale.

        ``beside`` are results for inputs that differ by rounding.
        """
        beside = expected if beside is None else beside
        triples = list(zip(found, expected, beside, strict=True))
        n, end = len(self.names) + 1, len(self.targets)
        for part in (triples[:n], triples[n:end], triples[end:]):
            part = [[t.double() for t in triple] for triple in part]
            least = _NEGLIGIBLE * max((b.norm() for _, b, _ in part), default=0.0)
            for a, b, c in part:
                far = _TOLERANCE * b.norm() + _FACTOR * (c - b).norm() + least
                if not (a - b).norm() <= far:
                    return False
        return True

    def _run_autograd(self):
        values = self.compute()
        for target, value in zip(self.targets, values, strict=True):
            target.copy_(value) if value is not None else target.zero_()

    def compute(self):
        """Return loss, terms and gradients by autograd, a list of Tensor or None."""
        return call_with_draws(self._compute)

    def _compute(self):
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
            objective.learn(output, self.x, self.share)
            loss, terms = objective(output, self.x, self.share, self.beta)
        # what the gradient does not need is given back before it is computed
        del output
        if self.targets is None:
            self._make_targets(tuple(terms))
            self.calls_backward = not self.is_trusted and _has_checkpoint(loss)
        if self.calls_backward:
            gradients = self._call_backward(loss)
        else:
            gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        pairs = zip(self.parameters, gradients, strict=True)
        self.idle = [p for p, g in pairs if g is None and p.numel()]
        return [loss, *(terms[name] for name in self.names), *gradients]

    def _call_backward(self, loss):
        views = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        loss.backward()
        gradients = [p.grad for p in self.parameters]
        for p, view in zip(self.parameters, views, strict=True):
            p.grad = view
        return gradients

    def _make_targets(self, names):
        self.names = names
        self.terms = self.weights.grad.new_zeros(len(names) + 2)
        self.length = self.terms[-1]
        self.targets = [*self.terms[:-1].unbind(), *(p.grad for p in self.parameters)]


def _has_checkpoint(loss):
    """Return whether part of a loss has a gradient by `backward` alone."""
    seen, nodes = set(), [loss.grad_fn]
    for node in nodes:
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [following for following, _ in node.next_functions]
    return any(node.name() == "CheckpointFunctionBackward" for node in seen)
