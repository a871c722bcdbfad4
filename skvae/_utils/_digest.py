"""A digest of what a fitted estimator has learned: pickles have no checksum."""

import hashlib
import sys

import numpy as np

_PACKAGE = __name__.split(".")[0]
# kinds of dtypes: flags, integers, floats, complex numbers, times
_NUMBERS = "biufcmM"


def compute_digest(state):
    """Return the digest of all numbers in fitted attributes, as text.

    Those are arrays and tensors, and numbers, in the order in which they are reached.
    Text, and objects of other packages but the weights of torch modules, do not count;
    nor does what the net keeps for further training.

    Parameters
    ----------
    state : dict
        Attributes of the estimator by name.
    """
    found, known = hashlib.blake2b(digest_size=16), {}
    names = [name for name in state if name.endswith("_") or name.startswith("_")]
    stack = [state[name] for name in sorted(names, reverse=True) if name != "net_"]
    net = state.get("net_")
    stack += [getattr(net, name, None) for name in ("module_", "module_others_")]
    while stack:
        value = stack.pop()
        if isinstance(value, float | int | np.generic):
            found.update(repr(value).encode())
        elif isinstance(value, np.ndarray):
            if value.dtype.kind in _NUMBERS:
                found.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        elif id(value) not in known:
            # kept, so that no other object gets its id
            known[id(value)] = value
            stack += _list_parts(value)
    return found.hexdigest()


def _list_parts(value):
    """Return the parts of a container, module or object that the digest covers."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.nn.Module):
        return list(value.state_dict().values())
    if torch is not None and isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            return []
        return [value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()]
    if type(value).__module__.split(".")[0] == _PACKAGE:
        # without what is dropped in a pickle
        pickled = getattr(value, "__getstate__", lambda: vars(value))()
        return list(pickled.values()) if isinstance(pickled, dict) else []
    return []
