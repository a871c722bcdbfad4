"""Where the results of a program are kept.

Each result has memory of its own when it is written down. Here it moves to where it is
wanted, so that it need not be copied there, and the rest shares a few blocks, which
stay in a processor's own memory.
"""

from functools import partial

import torch

from ._nodes import Node
from ._tensors import get_storage, is_same_layout, is_whole

# operations that may write over what they read
_IN_PLACE = {
    "add",
    "sub",
    "mul",
    "div",
    "exp",
    "log",
    "tanh",
    "sqrt",
    "reciprocal",
    "clamp",
}
# every block begins at a multiple of so many bytes
_ALIGNMENT = 64


def place(nodes, owned):
    """Return the nodes on memory chosen for them.

    Parameters
    ----------
    nodes : list of Node
    owned : set
        The memory that was made for results, and may be given up.
    """
    moves = {}
    nodes = _join_parts(nodes, owned)
    nodes = _join_copies(nodes, owned, moves)
    _share(nodes, owned, moves)
    _move(nodes, moves)
    return nodes


def _move(nodes, moves):
    """Let all that refers to some memory refer to a dense tensor instead."""

    def move(value):
        target = moves.get(get_storage(value))
        if target is None:
            return value
        begin = target.storage_offset() + value.storage_offset()
        return target.as_strided(value.shape, value.stride(), begin)

    for node in nodes:
        node.move(move)


def _join_parts(nodes, owned):
    """Return the nodes with parts of a whole written where the whole is."""
    users = {}
    for node in nodes:
        for storage in {get_storage(t) for t in node.tensors}:
            users.setdefault(storage, []).append(node)
    kept = []
    for node in nodes:
        if node.name != "cat":
            kept.append(node)
            continue
        dim, begin = node.settings["dim"], 0
        for i in range(len(node.reads)):
            # a part may be there twice, and have moved
            part = node.reads[i]
            target = node.out[0].narrow(dim, begin, part.shape[dim])
            begin += part.shape[dim]
            storage = get_storage(part)
            if storage in owned and _can_move(users[storage], part, target):
                for user in users[storage]:
                    user.move(partial(_map_storage, part=part, target=target))
            else:
                kept.append(Node("copy", [part], [target]))
    return kept


def _can_move(users, part, target):
    """Return whether what makes a part may write it elsewhere, in another layout."""
    storage = get_storage(part)
    makers = [n for n in users if any(get_storage(t) == storage for t in n.out)]
    if len(makers) != 1 or len(makers[0].out) != 1 or makers[0].writes:
        return False
    if makers[0].name in ("matmul", "pad", "cat", "sum", "amax", "dot"):
        return False
    if sum(n.name == "cat" for n in users) > 1:
        return False
    found = [t for n in users for t in n.tensors if get_storage(t) == storage]
    return all(_map(tensor, part, target) is not None for tensor in found)


def _map_storage(tensor, part, target):
    if get_storage(tensor) != get_storage(part):
        return tensor
    return _map(tensor, part, target)


def _map(tensor, part, target):
    """Return the view of target that a view of part stands for, or None.

    Views that have all the same dimensions, apart from those of size 1, in their order.
    """
    strides = iter(
        [
            (part.shape[d], part.stride(d), target.stride(d))
            for d in range(part.dim())
            if part.shape[d] != 1
        ]
    )
    found = []
    for d in range(tensor.dim()):
        if tensor.shape[d] == 1:
            found.append(1)
            continue
        size, stride, other = next(strides, (0, 0, 0))
        if (size, stride) != (tensor.shape[d], tensor.stride(d)):
            return None
        found.append(other)
    if next(strides, None) is not None or tensor.storage_offset():
        return None
    return target.as_strided(tensor.shape, found, target.storage_offset())


def _join_copies(nodes, owned, moves):
    """Return the nodes without copies of what can be written where it is wanted."""
    makers = {get_storage(t): node for node in nodes for t in node.out}
    kept = []
    for node in nodes:
        if node.name == "copy" and node.is_kept:
            (source,), (target,) = node.reads, node.out
            storage = get_storage(source)
            maker = makers.get(storage)
            if (
                storage in owned
                and storage not in moves
                and maker is not None
                and len(maker.out) == 1
                # its zeros stay where they are
                and maker.name != "pad"
                and source.dtype == target.dtype
                and is_whole(maker.out[0])
                and is_same_layout(source, target)
                and source.numel() == maker.out[0].numel()
                and target.is_contiguous()
            ):
                moves[storage] = target
                continue
        kept.append(node)
    return kept


def _share(nodes, owned, moves):
    """Let results share blocks of memory, one after the other."""
    last = {}
    for i, node in enumerate(nodes):
        for tensor in node.tensors:
            last[get_storage(tensor)] = i
    # zeros stay where they are
    fixed = {get_storage(t) for n in nodes if n.name == "pad" for t in n.out}
    free, blocks = [], {}
    for i, node in enumerate(nodes):
        ending = {get_storage(t) for t in node.inputs}
        ending = {s for s in ending if s in blocks and last[s] == i}
        for tensor in node.out:
            storage = get_storage(tensor)
            if storage not in owned or storage in moves or storage in fixed:
                continue
            n_bytes = tensor.untyped_storage().nbytes()
            block = _take_over(node, tensor, ending, blocks)
            if block is None:
                block = _find_block(free, n_bytes, tensor.device)
            blocks[storage] = block
            moves[storage] = block[:n_bytes].view(tensor.dtype)
            if last[storage] == i:
                ending = ending | {storage}
        free += [blocks[storage] for storage in ending if blocks[storage] is not None]


def _take_over(node, tensor, ending, blocks):
    """Return the block of something that is read for the last time, and overwritten."""
    if node.name not in _IN_PLACE:
        return None
    for operand in node.inputs:
        storage = get_storage(operand)
        others = [r for r in node.inputs if r is not operand]
        if (
            storage in ending
            and is_same_layout(operand, tensor)
            and operand.storage_offset() == 0
            and operand.numel() == tensor.numel()
            and tensor.untyped_storage().nbytes() == operand.untyped_storage().nbytes()
            and all(
                get_storage(o) != storage
                or (is_same_layout(o, operand) and o.storage_offset() == 0)
                for o in others
            )
        ):
            block, blocks[storage] = blocks[storage], None
            ending.discard(storage)
            return block
    return None


def _find_block(free, n_bytes, device):
    """Return a free block of enough bytes, the smallest there is, or a new one."""
    fitting = [b for b in free if len(b) >= n_bytes and b.device == device]
    # one that is much too large is kept for what needs it
    fitting = [b for b in fitting if len(b) <= 4 * max(n_bytes, 4096)]
    if fitting:
        block = min(reversed(fitting), key=len)
        free[:] = [b for b in free if b is not block]
        return block
    size = -(-max(n_bytes, 1) // _ALIGNMENT) * _ALIGNMENT
    return torch.empty(size, dtype=torch.uint8, device=device)
