"""Node: one operation of a program, on fixed memory."""

import torch

from ._tensors import get_storage, list_tensors, map_tensors


class Node:
    """An operation, what it reads and where its results go.

    Its name is a str, or torch's own operation: that is called with
    ``settings["call"]``, and writes into ``out`` if ``settings["writes_into"]``, or by
    itself, to its arguments, if ``writes``. It is done even if its result is never read
    if ``is_kept``. Of what it ``reads``, tensors and numbers, the tensors are
    ``inputs``; ``read`` and ``written`` are the memory of those and of ``out``.
    """

    def __init__(self, name, reads, out, settings=None, writes=False, is_kept=False):
        self.name, self.settings = name, settings or {}
        self.writes, self.is_kept = writes, is_kept
        self.set(reads, out)

    def set(self, reads, out):
        """Set what is read, and where results go."""
        self.reads, self.out = reads, out
        self.inputs = [value for value in reads if torch.is_tensor(value)]
        self.read = [get_storage(tensor) for tensor in self.inputs]
        self.written = [get_storage(tensor) for tensor in out]

    def move(self, function):
        """Replace every tensor by what a function returns for it."""
        if "call" in self.settings:
            call = map_tensors(function, self.settings["call"])
            self.settings = {**self.settings, "call": call}
            reads = list_tensors(call)
        else:
            reads = [function(v) if torch.is_tensor(v) else v for v in self.reads]
        self.set(reads, [function(tensor) for tensor in self.out])
