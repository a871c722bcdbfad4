"""Adam and AdamW of torch that do not import its compiler.

torch marks these methods as not to be compiled, by a decorator that imports
``torch._dynamo`` at the first call: 2.5 of the 5 seconds that the first fit of a
process spends on imports. The methods themselves are torch's.
"""

from inspect import unwrap

import torch
from typing_extensions import override

_add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
_zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class _NotCompiled:
    @override
    def add_param_group(self, param_group):
        _add_param_group(self, param_group)

    @override
    def zero_grad(self, set_to_none=True):
        _zero_grad(self, set_to_none)


class Adam(_NotCompiled, torch.optim.Adam):
    """torch's Adam."""


class AdamW(_NotCompiled, torch.optim.AdamW):
    """torch's AdamW."""


# those whose weight decay is not part of the gradient, and all whose steps are known
DECOUPLED = AdamW, torch.optim.AdamW
ADAM = *DECOUPLED, Adam, torch.optim.Adam
