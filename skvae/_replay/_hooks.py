"""Whether hooks or modes observe a computation: a recording would not call them."""

import torch

# those of all modules are under the same names in the module of `Module`
_OF_ALL = vars(torch.nn.modules.module)
_FORWARD = "_forward_hooks", "_forward_pre_hooks"
_NAMES = *_FORWARD, "_backward_hooks", "_backward_pre_hooks"
_OF_WEIGHTS = "_backward_hooks", "_post_accumulate_grad_hooks"


def has_hooks(module):
    """Return whether anything is to be called when torch trains a module."""
    if any(_OF_ALL[f"_global{name}"] for name in _NAMES):
        return True
    return any(getattr(m, name) for m in module.modules() for name in _NAMES) or any(
        getattr(p, name) for p in module.parameters() for name in _OF_WEIGHTS
    )


def is_watched():
    """Return whether forward passes of all modules, or operations, are seen."""
    return bool(
        any(_OF_ALL[f"_global{name}"] for name in _FORWARD)
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
    )
