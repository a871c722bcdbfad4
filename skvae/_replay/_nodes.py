"""Node: one operation of a program, on fixed memory."""

from ._tensors import get_storage, is_tensor, list_tensors, map_tensors


class Node:
    """An operation, what it reads and where its results go.

    Attributes
    ----------
    name : str or OpOverload
        An operation that is known by name, or torch's own, called with
        ``settings["call"]``; it writes into ``out`` if ``settings["writes_into"]``.
    reads : list of Tensor or float
    out : list of Tensor
    settings : dict
    writes : bool
        Whether torch's operation writes to ``out`` itself, one of its arguments.
    is_kept : bool
        Whether it is done even if its result is never read.
    inputs : list of Tensor
        The tensors that are read.
    read, written : list
        The memory of ``inputs`` and ``out``.
    """

    def __init__(self, name, reads, out, settings=None, writes=False, is_kept=False):
        self.name, self.settings = name, settings or {}
        self.writes, self.is_kept = writes, is_kept
        self.set(reads, out)

    def set(self, reads, out):
        """Set what is read, and where results go."""
        self.reads, self.out = reads, out
        self.inputs = [value for value in reads if is_tensor(value)]
        self.read = [get_storage(tensor) for tensor in self.inputs]
        self.written = [get_storage(tensor) for tensor in out]

    def move(self, function):
        """Replace every tensor by what a function returns for it."""
        if "call" in self.settings:
            call = map_tensors(function, self.settings["call"])
            self.settings = {**self.settings, "call": call}
            reads = list_tensors(call)
        else:
            reads = [function(v) if is_tensor(v) else v for v in self.reads]
        self.set(reads, [function(tensor) for tensor in self.out])
