"""Where tensors live and how many threads work on them."""

from contextlib import ExitStack, contextmanager

import torch
from threadpoolctl import threadpool_limits

# floating-point operations of one step above which a second thread pays
_THREADED_WORK = 0.1e9
_ACCELERATORS = ("cuda", "xpu", "mps")


def _is_available(kind):
    if kind == "mps":
        return torch.backends.mps.is_available()
    backend = getattr(torch, kind, None)
    return backend is not None and backend.is_available()


def is_available(device):
    """Return whether a device, named as torch does, is there."""
    resolved = torch.device(device)
    if resolved.type == "cpu":
        return True
    if not _is_available(resolved.type):
        return False
    return (resolved.index or 0) < getattr(torch, resolved.type).device_count()


def resolve_device(device):
    """Return the torch.device that the name stands for, or say what is missing.

    Parameters
    ----------
    device : str
        'auto', 'cpu', 'cuda', 'cuda:1', 'xpu', 'mps'.

    Raises
    ------
    ValueError
        If the name is unknown or the device is not there.
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
            f"device={device!r} is not known; use 'auto', 'cpu', 'cuda', 'cuda:1', "
            "'mps' or 'xpu'."
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


@contextmanager
def isolated(device="cpu"):
    """Compute as if the user had changed none of torch's modes.

    Neither inference mode, nor switched-off gradients, autocasting or another default
    device reach what runs inside. Also a decorator, ``@isolated()``.
    """
    kind = torch.device(device).type
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


@contextmanager
def threads_for(work):
    """Use one intra-op thread for small work; restore the user's setting on leaving.

    Parameters
    ----------
    work : float
        Floating-point operations of one step.
    """
    before = torch.get_num_threads()
    if work >= _THREADED_WORK:
        yield
        return
    if before != 1:
        torch.set_num_threads(1)
    try:
        # waiting for a busy core costs small products more than the products
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
