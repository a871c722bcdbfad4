"""Programs: operations on fixed memory, arranged once and run many times."""

from collections import Counter, defaultdict

import torch

from ._lowering import lower
from ._memory import place
from ._tensors import is_same_layout


class Program:
    """Operations to be done in their order, by numpy where it may and is faster.

    ``owned`` is the memory that was made for results. ``changed`` are the tensors,
    there before the recording, that are written to, ``generators`` those of torch that
    were handed over to be drawn from.
    """

    def __init__(self, nodes, owned, uses_numpy):
        self.nodes = place(_join_sums(_drop_dead(nodes)), owned)
        self.changed, self.generators = [], []
        for node in self.nodes:
            self.changed += node.settings.get("changed", ())
            args, kwargs = node.settings.get("call", ((), {}))
            values = *args, *kwargs.values()
            self.generators += [v for v in values if isinstance(v, torch.Generator)]
        self.functions = [f for node in self.nodes for f in lower(node, uses_numpy)]

    def run(self):
        """Do all operations."""
        for function in self.functions:
            function()


def _drop_dead(nodes):
    """Return the nodes without those that no result depends on."""
    needed, kept = set(), []
    for node in reversed(nodes):
        if node.is_kept or not needed.isdisjoint(node.written):
            needed.update(node.read)
            kept.append(node)
    return kept[::-1]


def _join_sums(nodes):
    """Return the nodes with total sums of sums, and of products, in one step."""
    uses, makers, dropped = Counter(), defaultdict(list), set()
    for node in nodes:
        uses.update(node.read)
        for storage in node.written:
            makers[storage].append(node)

    def find_maker(node):
        """Return the node whose whole result a node reads, and no other does."""
        (storage,), (tensor,) = node.read, node.inputs
        found = makers.get(storage, [])
        if len(found) != 1 or uses[storage] != 1 or len(found[0].out) != 1:
            return None
        return found[0] if found[0].out[0].numel() == tensor.numel() else None

    for node in nodes:
        if node.name != "sum" or node.out[0].numel() != 1:
            continue
        out, maker = [node.out[0].reshape(())], find_maker(node)
        while maker is not None and maker.name == "sum":
            node.set(maker.reads, out)
            dropped.add(maker)
            maker = find_maker(node)
        node.settings = {"dims": tuple(range(node.reads[0].dim()))}
        node.set(node.reads, out)
        if maker is not None and maker.name == "mul" and _is_pair(maker.reads):
            node.name, node.settings = "dot", {}
            node.set(maker.reads, out)
            dropped.add(maker)
    return [node for node in nodes if node not in dropped]


def _is_pair(values):
    """Return whether values are two tensors that fill their memory in one order."""
    return all(
        torch.is_tensor(value)
        and value.numel() * value.itemsize == value.untyped_storage().nbytes()
        for value in values
    ) and is_same_layout(*values)
