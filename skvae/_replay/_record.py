"""From a function to the program that computes its results again."""

import gc
import random
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from ._builder import ProgramBuilder
from ._calls import CallRecorder, ExitRecorder
from ._program import Program


class NotRepeatableError(Exception):
    """A computation may call other operations the next time."""


def _get_states():
    """Return the states of the generators that no recorded operation reads."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002  (it is only looked at)
    return random.getstate(), keys.tobytes(), rest


@contextmanager
def _collection_paused():
    """Let Python not look for cycles.

    A recording makes none, but so many objects that a search through all those of the
    process would come due, which takes longer than ten recordings.
    """
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


@_collection_paused()
def record(function, inputs, targets, uses_numpy, watches=True):
    """Call a function, and return a program that computes its results again.

    What depends on no input, and is not drawn, is taken for a constant. Memory that the
    function writes to and that was there before, such as running means, is written to
    by the program as well.

    Parameters
    ----------
    function : callable
        Returns a sequence of tensors, or None in the place of what has no result.
    inputs : sequence of Tensor
        The memory behind these tensors may change between runs.
    targets : callable
        Called after the function: returns where results go, a sequence with a tensor
        for each; those without a result are filled with zeros.
    uses_numpy : bool
        Whether numpy may do what it does faster than torch, on the memory of tensors.
    watches : bool, default=True
        Whether draws by Python or numpy, which may be another thread's, and values that
        become lists or arrays are noticed.

    Returns
    -------
    Program
        The targets hold the results of the call already.

    Raises
    ------
    NotRepeatableError
        If a value of a tensor, or a generator of Python or numpy, decides what is
        computed, or if its tensors take more than 256 MiB. The targets hold the results
        of the call then too.
    """
    states, recorder = watches and _get_states(), CallRecorder()
    exits = ExitRecorder()
    with recorder, exits if watches else nullcontext():
        results = function()
    targets = targets()
    with torch.no_grad():
        pairs = zip(results, targets, strict=True)
        results = [torch.zeros_like(t) if r is None else r for r, t in pairs]
        for result, target in zip(results, targets, strict=True):
            target.copy_(result)
        if watches and _get_states() != states:
            raise NotRepeatableError("a generator of Python or numpy is drawn from")
        if recorder.is_full:
            raise NotRepeatableError("too much memory is needed")
        try:
            calls = recorder.list_calls()
            sent = exits.tensors, results, targets
            return _make_program(calls, inputs, *sent, uses_numpy)
        except Exception as error:
            # an operation, or a tensor, in a form that the rules do not foresee
            raise NotRepeatableError(str(error)) from error


def _make_program(calls, inputs, exits, results, targets, uses_numpy):
    """Return the program of all calls."""
    for call in calls:
        if call.schema.changes_layout:
            raise NotRepeatableError(f"{call.func} changes the shape of a tensor")
    builder = ProgramBuilder(calls, inputs)
    for call in calls:
        if not call.has_fixed_shape:
            raise NotRepeatableError(f"a value decides the shape of {call.func}")
        if call.changes_type:
            raise NotRepeatableError(f"{call.func} reads memory as of another type")
        if not call.schema.reads_values:
            builder.add(call)
        elif not all(builder.get(tensor).is_constant for tensor in call.tensors):
            raise NotRepeatableError(f"a value is read by {call.func}")
    if not all(builder.get(tensor).is_constant for tensor in exits):
        raise NotRepeatableError("values leave torch")
    for result, target in zip(results, targets, strict=True):
        builder.finish(result, target)
    return Program(builder.nodes, builder.owned, uses_numpy)
