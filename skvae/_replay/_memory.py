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
_IN_PLACE = {"add", "sub", "mul", "div", "exp", "log", "tanh", "sqrt"}
_IN_PLACE |= {"reciprocal", "clamp"}
# every block begins at a multiple of so many bytes
_ALIGNMENT = 64


def place(nodes, owned):
    """Return the nodes on memory chosen for them; what is owned may be given up."""
    moves = {}
    nodes = _join_parts(nodes, owned)
    nodes = _join_copies(nodes, owned, moves)
    _share(nodes, owned, moves)

    def move(tensor):
        """Return a view of the memory that another has moved to."""
        target = moves.get(get_storage(tensor))
        if target is None:
            return tensor
        begin = target.storage_offset() + tensor.storage_offset()
        return target.as_strided(tensor.shape, tensor.stride(), begin)

    for node in nodes:
        node.move(move)
    return nodes


def _join_parts(nodes, owned):
    """Return the nodes with parts of a whole written where the whole is."""
    if not any(node.name == "cat" for node in nodes):
        return nodes
    kept = []
    for node in nodes:
        if node.name != "cat":
            kept.append(node)
            continue
        dim, begin = node.settings["dim"], 0
        for i in range(len(node.reads)):
            # a part may be there twice, and have moved
            part, storage = node.reads[i], node.read[i]
            target = node.out[0].narrow(dim, begin, part.shape[dim])
            begin += part.shape[dim]
            users = [n for n in nodes if storage in n.read or storage in n.written]
            if storage in owned and _can_move(users, storage, part, target):
                for user in users:
                    user.move(partial(_map_storage, part=part, target=target))
            else:
                kept.append(Node("copy", [part], [target]))
    return kept


def _can_move(users, storage, part, target):
    """Return whether what makes a part may write it elsewhere, in another layout."""
    makers = [node for node in users if storage in node.written]
    if len(makers) != 1 or len(makers[0].out) != 1 or makers[0].writes:
        return False
    if makers[0].name in ("matmul", "pad", "cat", "sum", "amax", "dot"):
        return False
    if sum(node.name == "cat" for node in users) > 1:
        return False
    found = [t for n in users for t in (*n.inputs, *n.out) if get_storage(t) == storage]
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
    makers = {storage: node for node in nodes for storage in node.written}
    kept = []
    for node in nodes:
        if node.name == "copy" and node.is_kept:
            (source,), (target,), (storage,) = node.reads, node.out, node.read
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
    last = {s: i for i, node in enumerate(nodes) for s in (*node.read, *node.written)}
    # zeros stay where they are
    fixed = {s for node in nodes if node.name == "pad" for s in node.written}
    free, blocks = [], {}
    for i, node in enumerate(nodes):
        ending = {s for s in node.read if s in blocks and last[s] == i}
        for tensor, storage in zip(node.out, node.written, strict=True):
            if storage not in owned or storage in moves or storage in fixed:
                continue
            n_bytes = tensor.untyped_storage().nbytes()
            block = _take_over(node, tensor, ending, blocks)
            if block is None:
                block = _find_block(free, n_bytes, tensor.device)
            blocks[storage] = block
            moves[storage] = block[:n_bytes].view(tensor.dtype)
            if last[storage] == i:
                ending.add(storage)
        free += [blocks[storage] for storage in ending if blocks[storage] is not None]


def _take_over(node, tensor, ending, blocks):
    """Return the block of something that is read for the last time, and overwritten."""
    # a result that is part of a whole begins elsewhere
    is_part = tensor.storage_offset() != 0
    if is_part or node.name not in _IN_PLACE or ending.isdisjoint(node.read):
        return None
    pairs = list(zip(node.inputs, node.read, strict=True))
    for operand, storage in pairs:
        if (
            storage in ending
            and operand.untyped_storage().nbytes() == tensor.untyped_storage().nbytes()
            # all that is read of it is read in the order in which it is overwritten
            and all(
                is_same_layout(other, tensor) and other.storage_offset() == 0
                for other, memory in pairs
                if memory == storage
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
