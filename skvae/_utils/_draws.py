"""Draws of torch from a generator of our own, not from the one that all threads share.

Distributions, layers and initialisations of torch draw from its default generator, and
most take no other. Inside `PrivateDraws` their operations are handed one.
"""

import os
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import RLock, local

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_THREAD = local()
_LOCK = RLock()


def _forget_threads():
    # those other than the one that forked, which may have held the lock
    global _LOCK
    _LOCK = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class DrawnAgainError(Exception):
    """A part of a network is computed again in the backward pass, and draws again.

    `torch.utils.checkpoint` does so, and restores torch's default generator for it.
    """


class PrivateDraws(TorchDispatchMode):
    """Inside, tensors on the CPU are drawn from a generator of our own.

    Those on an accelerator, and those of a generator that is named, are drawn as
    always, and so are all in a forked process: torch seeds the workers of a DataLoader
    each in its own way, while copies of our generator would draw the same in all.

    Attributes
    ----------
    generator : torch.Generator
    is_shared : bool
        Whether torch's default generator has to be used, in the state of ours.
    """

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.is_shared, self.is_on = False, False
        # rows of a batch that are drawn for, and how many rows it has
        self.part = None
        self.process = os.getpid()

    @classmethod
    def _should_skip_dynamo(cls):
        # torch would import its compiler, and make every call twice as slow
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not _is_random(func):
            return func(*args, **kwargs)
        if self.part is not None:
            return _draw_for_all(self._draw, self.part, func, args, kwargs)
        return self._draw(func, args, kwargs)

    def _draw(self, func, args, kwargs):
        if self.is_shared or not _is_ours(args, kwargs):
            return func(*args, **kwargs)
        if os.getpid() != self.process:
            return func(*args, **kwargs)
        if torch._C._current_graph_task_id() != -1:
            raise DrawnAgainError
        draw = _find_draw(func)
        if draw is not None:
            return draw(*args, **kwargs, generator=self.generator)
        with self:
            found = func.decompose(*args, **kwargs)
        if found is NotImplemented:
            with self.lend():
                found = func(*args, **kwargs)
        return found

    @contextmanager
    def lend(self):
        """Let torch's default generator continue ours, and restore it afterwards."""
        default = torch.default_generator
        with _LOCK:
            before = default.get_state()
            default.set_state(self.generator.get_state())
            try:
                yield
            finally:
                self.generator.set_state(default.get_state())
                default.set_state(before)

    @contextmanager
    def turned(self, on):
        """Turn this mode, the innermost one of the thread, on or off for a while."""
        before, self.is_on = self.is_on, on
        try:
            if before == on:
                yield
            elif on:
                with self:
                    yield
            else:
                self.__exit__(None, None, None)
                try:
                    yield
                finally:
                    self.__enter__()
        finally:
            self.is_on = before


@contextmanager
def draw_privately(seed):
    """Draw from a new generator; inside others too, which are left as they are."""
    before, _THREAD.draws = getattr(_THREAD, "draws", None), PrivateDraws(seed)
    try:
        with _THREAD.draws.turned(on=True):
            yield
    finally:
        _THREAD.draws = before


def draws_off():
    """Let torch run at full speed where nothing is drawn but by `call_with_draws`.

    While the mode is on, every operation takes some microseconds longer.
    """
    draws = getattr(_THREAD, "draws", None)
    return nullcontext() if draws is None else draws.turned(on=False)


def call_with_draws(function, *args, **kwargs):
    """Call a function, also where the draws of this thread are turned off."""
    draws = getattr(_THREAD, "draws", None)
    if draws is None:
        return function(*args, **kwargs)
    if not draws.is_shared:
        state = draws.generator.get_state()
        try:
            with draws.turned(on=True):
                return function(*args, **kwargs)
        except DrawnAgainError:
            draws.generator.set_state(state)
            draws.is_shared = True
    with draws.turned(on=True), draws.lend():
        return function(*args, **kwargs)


@contextmanager
def drawing_part(rows, n_rows):
    """Draw for all rows of a batch where those of a slice are computed.

    They get what they would get among all rows, and generators go on as they would.
    """
    draws = getattr(_THREAD, "draws", None)
    if draws is None:
        yield
        return
    before, draws.part = draws.part, (rows, n_rows)
    try:
        yield
    finally:
        draws.part = before


def list_generators():
    """Return the generators of the CPU that torch draws from in this thread."""
    draws = getattr(_THREAD, "draws", None)
    if draws is None:
        return [torch.default_generator]
    shared = [torch.default_generator] if draws.is_shared else []
    return [draws.generator, *shared]


# operations --------------------------------------------------------------------------


@cache
def _is_random(func):
    return torch.Tag.nondeterministic_seeded in func.tags


def _is_ours(args, kwargs):
    """Return whether no generator is named, and what is drawn is on the CPU."""
    device = kwargs.get("device")
    if device is None:
        tensors = (value for value in args if isinstance(value, torch.Tensor))
        device = next((tensor.device for tensor in tensors), "cpu")
    is_named = any(isinstance(v, torch.Generator) for v in (*args, *kwargs.values()))
    return not is_named and torch.device(device).type == "cpu"


@cache
def _find_draw(func):
    """Return an operation, or what does the same, with an argument ``generator``."""
    own = [argument.name for argument in func._schema.arguments]
    if "generator" in own:
        return _without_none(func)
    for name in func.overloadpacket.overloads():
        overload = getattr(func.overloadpacket, name)
        names = [argument.name for argument in overload._schema.arguments]
        if "generator" in names and [n for n in names if n != "generator"] == own:
            return overload
    return _OTHERS.get(func._schema.name.split("::")[1])


def _draw_for_all(draw, part, func, args, kwargs):
    """Draw for all rows of a batch, and return what the rows of a part get.

    Rows are along the last dimension but one, or the last. Where the arguments have no
    such dimension, every part draws alike.
    """
    rows, n_rows = part
    n = rows.stop - rows.start
    first = args[0] if args else None
    is_tensor = isinstance(first, torch.Tensor)
    shape = tuple(first.shape) if is_tensor else first
    if not is_tensor and not isinstance(shape, (list, tuple, torch.Size)):
        return draw(func, args, kwargs)
    dim = next((d for d in (-2, -1) if len(shape) >= -d and shape[d] == n), None)
    if dim is None:
        return draw(func, args, kwargs)

    def widen(value):
        if value is shape:
            sizes = list(shape)
            sizes[dim] = n_rows
            return sizes
        is_of_rows = isinstance(value, torch.Tensor) and value.dim() >= -dim
        if not is_of_rows or value.shape[dim] != n:
            return value
        sizes = [rows.start, n_rows - rows.stop]
        before, after = (
            value.new_ones(
                [k if d == value.dim() + dim else m for d, m in enumerate(value.shape)]
            )
            for k in sizes
        )
        return torch.cat([before, value, after], dim)

    found = draw(func, tuple(map(widen, args)), kwargs)
    if not isinstance(found, torch.Tensor) or found.dim() < -dim:
        return draw(func, args, kwargs)
    found = found.narrow(dim, rows.start, n)
    # operations that fill a tensor return it
    is_filled = func._schema.is_mutable
    return first.copy_(found) if is_filled else found.clone()


def _without_none(func):
    def draw(*args, generator, **kwargs):
        return func(*args, **{**kwargs, "generator": generator})

    return draw


def _draw_dropout(x, p, train, *, generator):
    if train is False:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = torch.empty_like(x).bernoulli_(1 - p, generator=generator)
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * kept * scale, kept.bool()


def _draw_normal_like(x, *, generator, **kwargs):
    return torch.empty_like(x, **kwargs).normal_(generator=generator)


def _draw_uniform_like(x, *, generator, **kwargs):
    return torch.empty_like(x, **kwargs).uniform_(generator=generator)


def _draw_integers_like(x, *bounds, generator, **kwargs):
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    return torch.empty_like(x, **kwargs).random_(low, high, generator=generator)


# those that torch offers no overload for, in this version or in others
_OTHERS = {
    "native_dropout": _draw_dropout,
    "randn_like": _draw_normal_like,
    "rand_like": _draw_uniform_like,
    "randint_like": _draw_integers_like,
}
