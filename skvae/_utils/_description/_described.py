"""Described: pickles, copies and skops files of an object hold its description."""

import hashlib
import json

import numpy as np

from ._describe import Describer
from ._rebuild import Rebuilder

# names of arrays that may stay in a file that joblib maps to memory: torch writes to
# others
_MAPPED = "columns_."
# of a state
_KEYS = {"description", "arrays", "others", "digest"}
# what may be shared with objects outside: a pickle has it once
_APART = (np.random.RandomState, np.random.Generator)


def _compute_digest(text, arrays):
    """Return a digest of a description, as text."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return found.hexdigest()


def dump_state(parts):
    """Return a description of attributes: text, arrays, and what neither can hold.

    The last are classes, functions and objects of other packages.
    """
    others = []

    def put_other(value, path):
        others.append(value)
        return {"other": len(others) - 1}

    describer = Describer(put_other, _APART)
    text = json.dumps(describer(parts))
    arrays = describer.arrays
    digest = _compute_digest(text, arrays)
    return {"description": text, "arrays": arrays, "others": others, "digest": digest}


def load_state(state, name):
    """Return the attributes that a state of `dump_state` holds.

    Refuse one that has changed, or that another version has dumped, in the name of the
    class.
    """
    if not isinstance(state, dict) or not set(state) >= _KEYS:
        raise ValueError(
            f"The file of this {name} is of another version of skvae; load it with the "
            "version that has saved it, or fit again."
        )
    text, arrays, others = (state[k] for k in ("description", "arrays", "others"))
    if set(state) == _KEYS and _compute_digest(text, arrays) == state["digest"]:
        rebuild = Rebuilder(_copy_mapped(arrays), lambda n: others[n["other"]])
        return rebuild(json.loads(text))
    raise ValueError(
        f"The file of this {name} is damaged: its numbers are not those that were "
        "saved; take another copy of it, or fit again."
    )


def _copy_mapped(arrays):
    stay = {n for n, a in arrays.items() if a.flags.writeable or n.startswith(_MAPPED)}
    return {n: a if n in stay else a.copy() for n, a in arrays.items()}


class Described:
    """Base of parts of an estimator that are pickled by their description."""

    def _get_described(self):
        """Return attributes by name, as they are described."""
        return vars(self)

    def _set_described(self, parts):
        """Set the attributes that `_get_described` has returned."""
        vars(self).update(parts)

    def __getstate__(self):
        """Return the description."""
        return dump_state(self._get_described())

    def __setstate__(self, state):
        """Restore the object; refuse a description that has changed."""
        self._set_described(load_state(state, type(self).__name__))
