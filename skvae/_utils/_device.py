"""Devices, their memory and precision, and the number of threads."""

import os
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from ._checks import suggest
from ._held import Held

# floating-point operations per step from which several threads are used: with fewer,
# they gain little on an idle machine, and are ten times slower on a busy one
_THREADED_WORK = 0.4e9
# share of the free memory of an accelerator that data may use
_DATA_SHARE = 0.6
_ACCELERATORS = ("cuda", "xpu", "mps")


def _is_available(kind):
    if kind == "mps":
        return torch.backends.mps.is_available()
    backend = getattr(torch, kind, None)
    return backend is not None and backend.is_available()


def is_available(device):
    """Return whether a device, given as torch names it, is available."""
    resolved = torch.device(device)
    if resolved.type == "cpu":
        return True
    if not _is_available(resolved.type):
        return False
    return (resolved.index or 0) < getattr(torch, resolved.type).device_count()


def resolve_device(device):
    """Return the torch.device of a name such as 'auto', 'cpu', 'cuda:1' or 'mps'.

    Refuse names that are not known, and devices that are not available.
    """
    if device == "auto":
        found = [kind for kind in _ACCELERATORS if _is_available(kind)]
        return torch.device(found[0] if found else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", *_ACCELERATORS):
        raise ValueError(
            f"device={device!r} is not known"
            f"{suggest(device, ('auto', 'cpu', *_ACCELERATORS))}; use 'auto', 'cpu', "
            "'cuda', 'cuda:1', 'mps' or 'xpu'."
        )
    if not is_available(resolved):
        raise ValueError(
            f"device={device!r} is not available on this machine; use device='auto' or "
            "device='cpu'."
        )
    return resolved


def scoring_dtype(device):
    """Return float64, or float32 on a device that lacks it."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def as_tensor(array):
    """Return a tensor that shares the memory of an array, writable or not.

    The tensor must not be written to. Arrays with negative strides, which torch
    refuses, are copied.
    """
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    if not array.flags.writeable:
        # torch warns about read-only arrays: describe the same memory as writable
        memory = SimpleNamespace(__array_interface__=dict(array.__array_interface__))
        address, _ = memory.__array_interface__["data"]
        memory.__array_interface__["data"] = address, False
        memory.owner = array
        array = np.asarray(memory)
    return torch.from_numpy(array)


def fits_on(n_bytes, device):
    """Return whether data of this size fits on a device, with memory to spare."""
    device = torch.device(device)
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= _DATA_SHARE * free


@contextmanager
def matmul_precision(precision):
    """Set torch's precision of float32 products, and restore it afterwards."""
    before = torch.get_float32_matmul_precision()
    if before == precision:
        yield
        return
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


_hold_highest_precision = Held(lambda: matmul_precision("highest"))


def give_memory_back(device):
    """Return cached memory of torch to the accelerator."""
    kind = torch.device(device).type
    if kind in _ACCELERATORS:
        getattr(torch, kind).empty_cache()


@contextmanager
def isolated(device="cpu"):
    """Run with torch's default modes, whatever the user has set.

    Inside there is no inference mode, no autocasting, no product in less than single
    precision and no other default device, and gradients are enabled. In a forked
    process there is one thread. Also a decorator, ``@isolated()``.
    """
    kind = torch.device(device).type
    with ExitStack() as stack:
        # what is as it should be takes no time
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        stack.enter_context(_hold_highest_precision())
        if _is_forked():
            stack.enter_context(threads_for(0))
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
        # torch.get_default_device takes longer
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@cache
def _get_controller():
    # finding the libraries takes longer than a small fit
    return ThreadpoolController()


def _limit_blas():
    # on a busy machine small products wait longer for threads than they take
    return _get_controller().limit(limits=1, user_api="blas")


_hold_one_blas_thread = Held(_limit_blas)
# of the process that imported this module; a fork of it has another
_PROCESS = os.getpid()


def _is_forked():
    """Return whether a thread pool of torch's may have been lost in a fork.

    An operation in several threads would wait for it for ever.
    """
    return os.getpid() != _PROCESS


@contextmanager
def threads_for(work, uses_blas=True):
    """Use one thread for small work, and restore the user's setting afterwards.

    The work is the number of floating-point operations of one step. If torch uses one
    thread, numpy's libraries do, too, unless they are not used: to find and set them
    takes longer than a row. In a forked process there is always one.
    """
    before = torch.get_num_threads()
    if _is_forked():
        # scikit-learn has a pool of its own
        limit = _get_controller().limit(limits=1, user_api="openmp")
    elif work >= _THREADED_WORK and before > 1:
        yield
        return
    else:
        limit = nullcontext()
    if before != 1:
        torch.set_num_threads(1)
    try:
        with limit, _hold_one_blas_thread() if uses_blas else nullcontext():
            yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
