"""How a chunk of rows goes through a fitted module: its size, its precision.

Everything is row-wise: the result of a row depends on that row alone. Products of many
rows are in float64, so that results agree to many digits however rows are batched;
decoders of draws multiply row by row, and are in float32.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import numpy as np
import torch

from .._utils._device import isolated, scoring_dtype
from .._utils._progress import DELAY, open_bar
from ._cost import count_widest
from ._precision import DRAWS_TOGETHER, convert, decode_single

# values of the widest tensor of a chunk
_CHUNK_VALUES = 1_000_000
_MAX_CHUNK_ROWS = 4096
# bytes of the largest block whose size glibc learns from
_LARGEST_BLOCK = 31 * 2**20


@isolated()
def make_precise(module):
    """Return a copy of a module that computes in float64 where the device can."""
    precise = convert(module, scoring_dtype(module.free.device)).eval()
    with torch.no_grad():
        precise.freeze_prior()
    return precise


@isolated()
def make_mixed(module, precise):
    """Return a copy for averages over draws, which are decoded in single precision."""
    return decode_single(module, precise).eval()


@cache
def keep_freed_memory():
    """Let glibc keep the memory of a chunk for the next one.

    It returns what is freed to the system if that is more than twice the largest block
    that was freed before, and every page that is taken anew costs as much as computing
    its values. Other allocators do not notice.
    """
    torch.empty(_LARGEST_BLOCK, dtype=torch.uint8)


class Progress:
    """A bar of the rows that have gone through a module in one call of a user's.

    The total grows where a call takes more passes than were expected of it.
    """

    def __init__(self, bar):
        self.bar, self.n_begun = bar, 0

    def begin(self, n_rows):
        """Take note of a pass of so many rows."""
        self.n_begun += n_rows
        self.bar.total = max(self.bar.total, self.n_begun)

    def advance(self, n_rows):
        """Move the bar by so many rows."""
        self.bar.update(n_rows)


_PROGRESS = ContextVar("progress", default=None)


@contextmanager
def show_progress(name, n_rows):
    """Show a bar, on stderr, if the calls inside take long.

    `name` is that of the method, and `n_rows` how many rows go through the module.
    """
    with open_bar(name, n_rows, "row", DELAY) as bar:
        token = _PROGRESS.set(Progress(bar))
        try:
            yield
        finally:
            _PROGRESS.reset(token)
        # of rows that were left out none is waited for
        bar.total = bar.n


@contextmanager
def hide_progress():
    """Show no bar inside: rows pass through the module a second time, and fast."""
    token = _PROGRESS.set(None)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def get_progress():
    """Return the `Progress` of the call that is shown, or None."""
    return _PROGRESS.get()


def get_chunk_size(module, n_draws=1):
    """Return a number of rows small enough for the processor's own memory."""
    width = n_draws * count_widest(module)
    return int(min(max(_CHUNK_VALUES // width, 1), _MAX_CHUNK_ROWS))


def split_draws(module, x, noise):
    """Return the shared draws in blocks, so that memory is bounded."""
    if module.latent.enumerate(module.n_components) is not None:
        # all values of z are taken at once, whatever the noise
        return [noise[:1].to(x)]
    size = _CHUNK_VALUES // (count_widest(module) * len(x))
    # every draw keeps its place in a product
    size = max(size // DRAWS_TOGETHER, 1) * DRAWS_TOGETHER
    return noise.to(x).split(size)


def split_latent_draws(module, x, noise):
    """Return the shared draws in blocks where no draw is decoded."""
    if module.latent.enumerate(module.n_components) is not None:
        return [noise[:1].to(x)]
    width = max(module.n_components, getattr(module.prior, "n_widest", 256))
    return noise.to(x).split(max(1, _CHUNK_VALUES // (width * len(x))))


def run_blocks(module, x, noise):
    """Yield outputs of a module for rows, one block of the shared draws at a time."""
    for block in split_draws(module, x, noise):
        yield module(x, noise=block)


def to_tensor(array, module):
    """Return rows as a tensor: float32 if the module needs no more, else float64."""
    device = module.free.device
    # torch warns of arrays that are not writable, and refuses reversed ones
    array = np.require(array, requirements=["C", "W"])
    is_single = array.dtype == np.float32 and not module.needs_double
    dtype = torch.float32 if is_single else scoring_dtype(device)
    return torch.as_tensor(array, dtype=dtype).to(device)


def to_float32(tensor):
    """Return a tensor as an array in single precision."""
    return tensor.to("cpu", torch.float32).numpy()


def to_float64(tensor):
    """Return a tensor as an array in double precision."""
    return tensor.cpu().double().numpy()
