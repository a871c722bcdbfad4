"""Random generators from random_state; global generators are left unchanged."""

from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch

from ._device import isolated

_SEED_LIMIT = 2**31 - 1
# all threads share torch's default generator, so fits in threads take turns
_LOCK = RLock()


def make_generator(random_state):
    """Return a private numpy generator; None uses fresh entropy.

    A RandomState is advanced; numpy's global state is not used.
    """
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(_SEED_LIMIT)
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            f"random_state={random_state!r} must be None, a non-negative integer or a "
            "numpy RandomState."
        ) from None


def draw_seed(generator):
    """Return an integer seed from a numpy generator."""
    return int(generator.integers(_SEED_LIMIT))


@contextmanager
def seeded(seed, device="cpu"):
    """Seed torch's generators of the CPU and a device, and restore them afterwards."""
    device = torch.device(device)
    indices = []
    if device.type in ("cuda", "xpu"):
        backend = getattr(torch, device.type)
        index = backend.current_device() if device.index is None else device.index
        indices = [index]
    kind = device.type if indices else "cuda"
    fork = torch.random.fork_rng(devices=indices, device_type=kind)
    with _LOCK, isolated(device), fork:
        torch.default_generator.manual_seed(seed)
        if indices:
            with backend.device(indices[0]):
                backend.manual_seed(seed)
        if device.type != "mps":
            yield
            return
        before = torch.mps.get_rng_state()
        torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            torch.mps.set_rng_state(before)
