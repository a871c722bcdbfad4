"""Programs: operations on fixed memory, arranged once and run many times."""

from ._lowering import lower
from ._memory import place
from ._tensors import get_storage, is_same_layout, is_tensor


class Program:
    """Operations to be done in their order.

    Parameters
    ----------
    nodes : list of Node
    owned : set
        The memory that was made for results.
    uses_numpy : bool
        Whether numpy may do what it does faster than torch.

    Attributes
    ----------
    changes : set
        The memory, there before the recording, that is written to.
    """

    def __init__(self, nodes, owned, uses_numpy):
        nodes = _join_sums(_drop_dead(nodes))
        self.nodes = place(nodes, owned)
        self.changes = {
            get_storage(t) for n in self.nodes if n.is_kept and n.writes for t in n.out
        }
        self.operations = [
            operation for node in self.nodes for operation in lower(node, uses_numpy)
        ]

    def run(self):
        """Do all operations."""
        for operation in self.operations:
            operation()


def _drop_dead(nodes):
    """Return the nodes without those that no result depends on."""
    needed, kept = set(), []
    for node in reversed(nodes):
        if node.is_kept or any(get_storage(tensor) in needed for tensor in node.out):
            needed |= {get_storage(tensor) for tensor in node.inputs}
            kept.append(node)
    return kept[::-1]


def _join_sums(nodes):
    """Return the nodes with total sums of sums, and of products, in one step."""
    uses, makers, dropped = {}, {}, set()
    for node in nodes:
        for tensor in node.inputs:
            storage = get_storage(tensor)
            uses[storage] = uses.get(storage, 0) + 1
        for tensor in node.out:
            makers.setdefault(get_storage(tensor), []).append(node)

    def find_maker(tensor):
        """Return the node whose whole result is read here alone."""
        storage = get_storage(tensor)
        found = makers.get(storage, [])
        if len(found) != 1 or uses[storage] != 1 or len(found[0].out) != 1:
            return None
        return found[0] if found[0].out[0].numel() == tensor.numel() else None

    for node in nodes:
        if node.name != "sum" or node.out[0].numel() != 1:
            continue
        maker = find_maker(node.reads[0])
        while maker is not None and maker.name == "sum":
            node.reads = maker.reads
            dropped.add(id(maker))
            maker = find_maker(node.reads[0])
        node.settings = {"dims": tuple(range(node.reads[0].dim()))}
        node.out = [node.out[0].reshape(())]
        if maker is not None and maker.name == "mul" and _is_pair(maker.reads):
            node.name, node.reads = "dot", maker.reads
            dropped.add(id(maker))
    return [node for node in nodes if id(node) not in dropped]


def _is_pair(values):
    """Return whether values are two tensors that fill their memory in one order."""
    return all(
        is_tensor(value)
        and value.numel() * value.itemsize == value.untyped_storage().nbytes()
        for value in values
    ) and is_same_layout(*values)
