"""Ranks: the processes of torch.distributed that fit one model together.

Every process calls `fit` with rows of its own. They are exchanged once, so that what is
learned before training, from levels to the linear model, is learned from all of them.
In training each process computes the gradient of its part of a batch, and the scores of
its part of the held-out rows; the sums are the same everywhere.

Before every exchange the processes tell one another how they are. One that has failed
joins in once more, and all others end with an error that says so; none waits for ever.
"""

import signal
import threading
import zlib
from contextlib import contextmanager

import torch
from torch import distributed

_THREAD = threading.local()
# groups of processes that exchange what is on the CPU, by the default group
_GROUPS = {}
_WAY_OUT = "Fit again in all processes"


class RankError(RuntimeError):
    """Another process of a fit has failed, is gone, or does something else."""


class RankInterrupt(Exception):
    """Ctrl-C among several processes; skorch would take it for the end of training."""


def get_ranks():
    """Return the processes that fit together in this thread, a `Ranks`, or None."""
    return getattr(_THREAD, "ranks", None)


def share_generator(generator):
    """Return the generator of the first process, where several fit together."""
    ranks = get_ranks()
    return generator if ranks is None else ranks.share(generator, "the seed")


def share_weights(module):
    """Give a module the weights of the first process: others may round differently."""
    ranks = get_ranks()
    if ranks is not None:
        ranks.share_tensors(module.state_dict().values())


@contextmanager
def fitting_together():
    """Fit one model in all processes where torch.distributed has several.

    Yields a `Ranks`, or None in a process of its own.
    """
    is_alone = not (distributed.is_available() and distributed.is_initialized())
    if is_alone or distributed.get_world_size() == 1:
        yield None
        return
    ranks = _THREAD.ranks = Ranks()
    try:
        with ranks.interrupts_held():
            try:
                yield ranks
            except RankError:
                raise
            except RankInterrupt:
                ranks.fail(KeyboardInterrupt("Ctrl-C"))
                raise KeyboardInterrupt from None
            except BaseException as error:
                ranks.fail(error)
                raise
            ranks.meet()
    finally:
        _THREAD.ranks = None


class Ranks:
    """All processes of torch.distributed.

    Attributes
    ----------
    rank, size : int
        Number of this process, and how many there are.
    """

    def __init__(self):
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.group = _get_cpu_group()
        self.is_interrupted = False

    @contextmanager
    def interrupts_held(self):
        """Let Ctrl-C wait for the next exchange: the others must learn of it."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGINT) != signal.default_int_handler:
            yield
            return

        def note(number, frame):
            self.is_interrupted = True

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    # what comes before every exchange ----------------------------------------------

    def meet(self, task="the end of the fit"):
        """Wait for all processes; end where one has failed or has another task."""
        if self.is_interrupted:
            self.is_interrupted = False
            raise RankInterrupt
        if self._tell(False, task):
            self._raise(None)

    def fail(self, error):
        """Tell all processes that this one ends with an error."""
        try:
            self._tell(True, "")
            self._raise(error)
        except RankError:
            # its own error says more
            return

    def _tell(self, has_failed, task):
        """Exchange how processes are; return whether one has failed."""
        number = zlib.crc32(task.encode())
        state = torch.tensor([float(has_failed), number, -number], dtype=torch.float64)
        self._call(distributed.all_reduce, state, distributed.ReduceOp.MAX, self.group)
        failed, most, least = state.tolist()
        if not failed and most != -least:
            tasks = self._exchange_objects(task)
            other = next(i for i, t in enumerate(tasks) if t != tasks[0])
            raise RankError(
                f"Processes of torch.distributed do different things: rank {other} is "
                f"at {tasks[other]}, rank 0 at {tasks[0]}. Give all of them equal "
                "parameters, and callbacks that decide alike."
            )
        return bool(failed)

    def _raise(self, error):
        """Exchange errors, and raise that of another process."""
        name = None if error is None else f"{type(error).__name__}: {error}"
        names = self._exchange_objects(name)
        failed = [(rank, name) for rank, name in enumerate(names) if name is not None]
        rank, name = next((f for f in failed if f[0] != self.rank), failed[0])
        raise RankError(
            f"Rank {rank} of torch.distributed has ended this fit, which no process "
            f"can go on with alone: {name.rstrip(': ')}. {_WAY_OUT}."
        )

    def _call(self, function, *args):
        try:
            return function(*args)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RankError(
                "Another process of torch.distributed is gone, or does not answer: "
                f"{reason}. {_WAY_OUT}."
            ) from error

    # exchanges ---------------------------------------------------------------------

    def add_up(self, tensor):
        """Replace a tensor by its sum over all processes."""
        self.meet(f"a sum of {tensor.numel()} values")
        group = self.group if tensor.is_cpu else None
        self._call(distributed.all_reduce, tensor, distributed.ReduceOp.SUM, group)

    def exchange(self, value, task):
        """Return an object of every process, a list in the order of their ranks.

        ``task`` is what it is for, in words.
        """
        self.meet(task)
        return self._exchange_objects(value)

    def share(self, value, task):
        """Return an object of the first process."""
        return self.exchange(value if self.rank == 0 else None, task)[0]

    def _exchange_objects(self, value):
        found = [None] * self.size
        self._call(distributed.all_gather_object, found, value, self.group)
        return found

    @torch.no_grad()
    def share_tensors(self, tensors):
        """Give tensors the values of the first process."""
        found = self.share([t.detach().cpu() for t in tensors], "the weights")
        for tensor, value in zip(tensors, found, strict=True):
            tensor.copy_(value)

    def share_states(self, generators):
        """Give generators of torch the states of the first process."""
        states = self.share([g.get_state() for g in generators], "a pass over the rows")
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)

    def join(self, values):
        """Return the concatenated tensors ``(n,)`` of all processes, and so for each.

        ``values`` is a tuple of them.
        """
        found = self.exchange([t.cpu() for t in values], "scores of held-out rows")
        pairs = zip(values, zip(*found, strict=True), strict=True)
        return tuple(torch.cat(parts).to(mine.device) for mine, parts in pairs)

    def cut(self, n):
        """Return the part of ``n`` rows that this process computes, a slice."""
        part = torch.arange(n).tensor_split(self.size)[self.rank]
        return slice(int(part[0]), int(part[-1]) + 1)


def _get_cpu_group():
    """Return the group for what is on the CPU; None is the default one."""
    default = distributed.group.WORLD
    if distributed.get_backend() in ("gloo", "mpi"):
        return None
    if default not in _GROUPS:
        _GROUPS.clear()
        _GROUPS[default] = distributed.new_group(backend="gloo")
    return _GROUPS[default]
