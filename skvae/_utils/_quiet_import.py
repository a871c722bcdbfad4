"""torch and what it imports late, without a trace in what the whole process shares."""

import importlib
import os
import sys
import warnings
from functools import cache

# what is torch's own, by the beginning of a variable's name and by a filter's words
_PREFIXES, _WORDS = ("TORCH", "TRITON"), ("torch", "sympy")


@cache
def import_quietly(*names):
    """Import modules, and drop the warning filters and environment variables they add.

    Those that were there before, or are of other threads, stay.
    """
    if all(name in sys.modules for name in names):
        return
    variables, filters = set(os.environ), list(warnings.filters)
    for name in names:
        importlib.import_module(name)
    for name in set(os.environ) - variables:
        if name.startswith(_PREFIXES):
            os.environ.pop(name, None)
    for item in list(warnings.filters):
        if item not in filters and any(word in repr(item) for word in _WORDS):
            warnings.filters.remove(item)
