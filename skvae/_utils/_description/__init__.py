"""One description of what objects hold, for files, pickles and skops.

A description is text (JSON) and arrays of numpy: no pickle of torch or pandas is in it.
Each kind of value has its way in and its way back side by side: `_plain`, `_arrays`,
`_tensors`, `_tables`.
"""

from ._called import find_hidden, find_hooks, find_misplaced
from ._describe import Describer
from ._described import Described, dump_state, load_state
from ._names import get_full_name
from ._rebuild import Rebuilder

__all__ = [
    "Described",
    "Describer",
    "Rebuilder",
    "dump_state",
    "find_hidden",
    "find_hooks",
    "find_misplaced",
    "get_full_name",
    "load_state",
]
