"""A computation in torch, recorded once and run again in the same memory.

`record` calls a function and notes every ATen operation behind it, those of autograd's
backward pass included. The `Program` that it returns does what has to be done again,
with numpy where that is faster. Nothing here knows what is computed.

The way of a recording: `_calls` (what was called) → `_builder` and the rules (what
has to be done again) → `_program` (in which order, and what can be joined) → `_memory`
(where results go) → `_lowering` and `_numpy` (which functions do it). `_contents` tells
whether what it takes for constant has changed, `_hooks` whether anyone observes the
computation.
"""

from ._contents import are_known, list_contents
from ._hooks import has_hooks, is_watched
from ._record import NotRepeatableError, record
from ._tensors import get_place, get_storage

__all__ = [
    "NotRepeatableError",
    "are_known",
    "get_place",
    "get_storage",
    "has_hooks",
    "is_watched",
    "list_contents",
    "record",
]
