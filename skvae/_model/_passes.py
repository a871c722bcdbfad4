"""Pieces of a training step that bring their own backward pass.

A pass writes its operations into a `Program`: ``forward`` takes tensors and returns the
tensor that the program will fill; ``backward`` takes the gradient of the loss with
respect to that, returns that of its input, and has the gradients of its weights written
into their ``grad``. Autograd records nothing, save inside `AutogradPass`.

Tensors are ``(n, features)``, or ``(n_copies, n, features)`` for stacked networks.
"""

from functools import partial

import torch
from torch import nn

from ..networks import Linear

_aten = torch.ops.aten
# an activation, and its gradient from (gradient, input, output)
_ACTIVATIONS = {
    nn.SiLU: (
        lambda m, x: partial(_aten.silu.out, x),
        lambda m, g, x, y: partial(_aten.silu_backward.grad_input, g, x),
    ),
    nn.ReLU: (
        lambda m, x: partial(torch.clamp_min, x, 0.0),
        lambda m, g, x, y: partial(_aten.threshold_backward.grad_input, g, y, 0.0),
    ),
    nn.Tanh: (
        lambda m, x: partial(torch.tanh, x),
        lambda m, g, x, y: partial(_aten.tanh_backward.grad_input, g, y),
    ),
    nn.Sigmoid: (
        lambda m, x: partial(torch.sigmoid, x),
        lambda m, g, x, y: partial(_aten.sigmoid_backward.grad_input, g, y),
    ),
    nn.GELU: (
        lambda m, x: partial(_aten.gelu.out, x, approximate=m.approximate),
        lambda m, g, x, y: partial(
            _aten.gelu_backward.grad_input, g, x, approximate=m.approximate
        ),
    ),
    nn.ELU: (
        lambda m, x: partial(_aten.elu.out, x, m.alpha),
        lambda m, g, x, y: partial(
            _aten.elu_backward.grad_input, g, m.alpha, 1, 1, False, x
        ),
    ),
    nn.LeakyReLU: (
        lambda m, x: partial(_aten.leaky_relu.out, x, m.negative_slope),
        lambda m, g, x, y: partial(
            _aten.leaky_relu_backward.grad_input, g, x, m.negative_slope, False
        ),
    ),
    nn.Softplus: (
        lambda m, x: partial(_aten.softplus.out, x, m.beta, m.threshold),
        lambda m, g, x, y: partial(
            _aten.softplus_backward.grad_input, g, x, m.beta, m.threshold
        ),
    ),
}


class AffinePass:
    """x @ weight + bias of a `Linear`, plain or stacked.

    Parameters
    ----------
    program : Program
    layer : Linear
    needs_input : bool
        Whether the gradient of the input is asked for.
    rows_last : bool
        Whether the output is (..., features, n), as some likelihoods want it.
    """

    def __init__(self, program, layer, needs_input=True, rows_last=False):
        self.program, self.needs_input = program, needs_input
        self.rows_last = rows_last
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.weight_grad, self.bias_grad = layer.weight.grad, layer.bias.grad

    def forward(self, x, out=None):
        program, self.x = self.program, x
        n_outputs = self.weight.shape[-1]
        if self.rows_last:
            y = program.empty(*x.shape[:-2], n_outputs, x.shape[-2])
            program.matmul(self.weight.mT, x.mT, y)
            return program.add(y, self.bias.mT, y)
        y = program.empty(*x.shape[:-1], n_outputs) if out is None else out
        program.matmul(x, self.weight, y)
        return program.add(y, self.bias, y)

    def backward(self, grad):
        program = self.program
        if self.rows_last:
            program.sum(grad, -1, self.bias_grad.squeeze(-2))
            grad = grad.mT
        else:
            program.sum(grad, -2, self.bias_grad.squeeze(-2))
        program.matmul(self.x.mT, grad, self.weight_grad)
        if not self.needs_input:
            return None
        return program.matmul(grad, self.weight.mT, program.empty(*self.x.shape))


class ActivationPass:
    """An activation of torch, by the gradient torch has for it."""

    def __init__(self, program, module):
        self.program, self.module = program, module
        self.value, self.gradient = _ACTIVATIONS[type(module)]

    def forward(self, x, out=None):
        self.x = x
        self.y = self.program.empty(*x.shape) if out is None else out
        self.program.call(self.value(self.module, x), out=self.y)
        return self.y

    def backward(self, grad):
        by_x = self.program.empty(*self.x.shape)
        gradient = self.gradient(self.module, grad, self.x, self.y)
        self.program.call(gradient, grad_input=by_x)
        return by_x


class DropoutPass:
    """Leaves out a share of the units, and scales up the others."""

    def __init__(self, program, module):
        self.program, self.share = program, 1 - module.p

    def forward(self, x, out=None):
        self.kept = self.program.empty(*x.shape)
        self.program.call(self.kept.bernoulli_, self.share)
        self.program.multiply(self.kept, 1 / self.share, self.kept)
        y = self.program.empty(*x.shape) if out is None else out
        return self.program.multiply(x, self.kept, y)

    def backward(self, grad):
        by_x = self.program.empty(*grad.shape)
        return self.program.multiply(grad, self.kept, by_x)


class ChainPass:
    """One pass after the other; none is the identity."""

    def __init__(self, passes):
        self.passes = passes

    def forward(self, x, out=None):
        for piece in self.passes[:-1]:
            x = piece.forward(x)
        return self.passes[-1].forward(x, out) if self.passes else x

    def backward(self, grad):
        for piece in reversed(self.passes):
            grad = piece.backward(grad)
        return grad


class AutogradPass:
    """Any body at all: autograd finds its gradient, and nothing around it."""

    def __init__(self, program, module, n_outputs, needs_input=True):
        self.program, self.module, self.n_outputs = program, module, n_outputs
        self.needs_input = needs_input
        self.grads = [p.grad for p in module.parameters()]

    def forward(self, x, out=None):
        self.x = x.detach()
        shape = *x.shape[:-1], self.n_outputs
        self.y = self.program.empty(*shape) if out is None else out
        self.program.call(self._compute)
        return self.y

    def _compute(self):
        with torch.enable_grad():
            self.leaf = self.x.contiguous().detach().requires_grad_(self.needs_input)
            self.output = self.module(self.leaf)
        self.y.copy_(self.output)

    def backward(self, grad):
        by_x = self.program.empty(*self.x.shape) if self.needs_input else None
        self.program.call(self._differentiate, grad, by_x)
        return by_x

    def _differentiate(self, grad, by_x):
        if self.grads:
            # torch adds to what is there
            torch._foreach_zero_(self.grads)
        if self.output.requires_grad:
            torch.autograd.backward(self.output, grad)
        if by_x is not None:
            by_x.copy_(self.leaf.grad)


def have_hooks(modules):
    """Return whether anything is to be called when torch runs some modules."""
    names = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
    )
    return any(getattr(m, name) for m in modules for name in names)


def share_weights(modules):
    """Return whether a weight is in two of some modules, or one of them comes twice."""
    found = [id(p) for module in modules for p in module.parameters()]
    return len(set(found)) < len(found)


def make_body_pass(program, body, n_outputs, needs_input=True):
    """Return the pass of an encoder's or a decoder's body.

    Parameters
    ----------
    program : Program
    body : Module
    n_outputs : int
    needs_input : bool, default=True
        Whether the gradient of the input is asked for.
    """
    layers = list(body) if type(body) is nn.Sequential else [body]
    passes = []
    for layer in layers:
        if type(layer) is Linear:
            needs = needs_input or bool(passes)
            passes.append(AffinePass(program, layer, needs))
        elif type(layer) in _ACTIVATIONS:
            passes.append(ActivationPass(program, layer))
        elif type(layer) is nn.Dropout:
            passes.append(DropoutPass(program, layer))
        else:
            return AutogradPass(program, body, n_outputs, needs_input)
    # a pass writes gradients where others would add theirs
    if not passes or share_weights(layers) or have_hooks(body.modules()):
        return AutogradPass(program, body, n_outputs, needs_input)
    return ChainPass(passes)
