"""Node: one operation of a program, on fixed memory."""

from dataclasses import dataclass, field

from ._tensors import is_tensor, list_tensors, map_tensors


@dataclass(slots=True)
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
    """

    name: object
    reads: list
    out: list
    settings: dict = field(default_factory=dict)
    writes: bool = False
    is_kept: bool = False

    @property
    def tensors(self):
        """All tensors that are read or written."""
        return [*self.inputs, *self.out]

    @property
    def inputs(self):
        """The tensors that are read."""
        return [value for value in self.reads if is_tensor(value)]

    def move(self, function):
        """Replace every tensor by what a function returns for it."""
        self.out = [function(tensor) for tensor in self.out]
        if "call" in self.settings:
            call = map_tensors(function, self.settings["call"])
            self.settings = {**self.settings, "call": call}
            self.reads = list_tensors(call)
        else:
            self.reads = [function(v) if is_tensor(v) else v for v in self.reads]
