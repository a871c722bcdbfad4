"""Seeds of torch's generators; global generators are left unchanged."""

from contextlib import contextmanager
from threading import RLock

import torch

from ._device import isolated
from ._draws import draw_privately
from ._random_state import SEED_LIMIT

# all threads share the generator of an accelerator, so they take turns
_LOCK = RLock()


def draw_seed(generator):
    """Return an integer seed from a numpy generator."""
    return int(generator.integers(SEED_LIMIT))


@contextmanager
def seeded(seed, device="cpu"):
    """Draw from a private generator of the CPU, and one of the device seeded alike.

    Those of an accelerator are torch's own, and restored afterwards.
    """
    device = torch.device(device)
    with isolated(device), draw_privately(seed), _seeded_device(seed, device):
        yield


@contextmanager
def _seeded_device(seed, device):
    if device.type == "mps":
        with _LOCK:
            before = torch.mps.get_rng_state()
            torch.mps.manual_seed(seed)
            try:
                yield
            finally:
                torch.mps.set_rng_state(before)
    elif device.type in ("cuda", "xpu"):
        backend = getattr(torch, device.type)
        index = backend.current_device() if device.index is None else device.index
        fork = torch.random.fork_rng(devices=[index], device_type=device.type)
        with _LOCK, fork:
            with backend.device(index):
                backend.manual_seed(seed)
            yield
    else:
        yield
