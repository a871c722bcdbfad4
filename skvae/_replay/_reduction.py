"""From the operations of one call to the fewer that have to be done again.

Calls are read in their order. What they return is kept as an `Expression`, ``scale *
values + shift``, so that most factors, signs and constants cost nothing; views and
copies are not repeated at all, and equal operations are done once.
"""

import math

from ._calls import find_memory
from ._expression import Expression
from ._lowering import can_write_into
from ._nodes import Node
from ._rules import RULES
from ._tensors import (
    get_place,
    get_storage,
    is_tensor,
    list_tensors,
    make_like,
    make_result,
    map_tensors,
)

# masks of `clamp` and of its gradient
_COMPARISONS = ("ge", "le", "logical_and", "logical_and_")


class Reduction:
    """The operations to be repeated, gathered call by call.

    Parameters
    ----------
    calls : list of Call
        All of them; `add` then takes them in one by one.
    inputs : sequence of Tensor

    Attributes
    ----------
    nodes : list of Node
    owned : set
        The memory that was made for results.
    bounds : dict
        Of masks that tell which values are within bounds: the values, and the bounds.
    """

    def __init__(self, calls, inputs):
        self.nodes, self.owned, self.bounds = [], set(), {}
        self.created, self.mutable = find_memory(calls)
        self.inputs = {get_storage(tensor) for tensor in inputs}
        # by place, by memory, and by operation
        self.known, self.wholes, self.done = {}, {}, {}
        # memory is told apart by where it is: none is given up before the end
        self.alive = []

    # what is known of tensors -------------------------------------------------------

    def get(self, tensor):
        """Return the expression of a tensor of the recording."""
        place = get_place(tensor)
        if place not in self.known:
            self.known[place] = self._find(tensor)
        return self.known[place]

    def _find(self, tensor):
        """Return the expression of a tensor that no call returned as it is."""
        storage = get_storage(tensor)
        if storage in self.mutable or storage in self.inputs:
            return Expression(tensor.detach())
        if storage not in self.wholes:
            # there before the recording
            return self.make_constant(tensor)
        whole, expression = self.wholes[storage]
        if expression.is_constant:
            return self.make_constant(tensor)
        values = self.make_values(expression)
        if values.stride() != whole.stride():
            # as torch has it: a view is found by its place in memory
            values = self.emit("copy", [values], make_like(whole))
            self.put(whole, Expression(values))
        begin = tensor.storage_offset() - whole.storage_offset()
        begin += values.storage_offset()
        return Expression(values.as_strided(tensor.shape, tensor.stride(), begin))

    def put(self, tensor, expression):
        """Note what a tensor of the recording is."""
        self.known[get_place(tensor)] = expression
        self.wholes[get_storage(tensor)] = tensor, expression

    def is_constant(self, tensor):
        """Return whether a tensor is the same in every run."""
        return self.get(tensor).is_constant

    def make_constant(self, tensor):
        """Return the expression of a tensor that never changes."""
        self.alive.append(tensor)
        number = None
        if tensor.is_floating_point() and tensor.numel():
            first = tensor[(0,) * tensor.dim()]
            if tensor.numel() == 1 or (tensor == first).all():
                number = first.item()
        return Expression(tensor.detach(), is_constant=True, number=number)

    # nodes --------------------------------------------------------------------------

    def emit(self, name, operands, out, **settings):
        """Return the result of an operation on whole tensors, done once.

        Parameters
        ----------
        name : str
        operands : list of Tensor
        out : Tensor
            Memory for the result, if it has to be computed.
        **settings : dict
            Of the operation.
        """
        key = *_make_key(name, operands, out.shape, settings), out.stride()
        if key not in self.done:
            self.nodes.append(Node(name, list(operands), [self._own(out)], settings))
            self.done[key] = out
        return self.done[key]

    def emit_by_element(self, name, operands, shape, **settings):
        """Return the result of an operation element by element, done once.

        Parameters
        ----------
        name : str
        operands : list of Tensor or float
        shape : tuple of int
            Of the result.
        **settings : dict
            Of the operation.
        """
        key = _make_key(name, operands, shape, settings)
        if key in self.done:
            return self.done[key]
        operands = [o.expand(shape) if is_tensor(o) else o for o in operands]
        strides = [o.stride() for o in operands if is_tensor(o)]
        small = list(shape)
        for dim, size in enumerate(shape):
            # the same along a dimension: computed once
            if size > 1 and not any(stride[dim] for stride in strides):
                small[dim] = 1
                operands = [
                    o.narrow(dim, 0, 1) if is_tensor(o) else o for o in operands
                ]
        out = make_result(small, [o for o in operands if is_tensor(o)])
        self.nodes.append(Node(name, operands, [self._own(out)], settings))
        self.done[key] = found = out.expand(shape)
        return found

    def _own(self, tensor):
        """Note that memory was made for a result."""
        self.owned.add(get_storage(tensor))
        self.alive.append(tensor)
        return tensor

    def make_values(self, expression):
        """Return a tensor of the values of an expression."""
        values = expression.values
        if expression.scale != 1:
            operands = [values, expression.scale]
            values = self.emit_by_element("mul", operands, values.shape)
        if expression.shift:
            operands = [values, expression.shift]
            values = self.emit_by_element("add", operands, values.shape)
        return values

    def make_dense(self, tensor, expression):
        """Return an expression whose values are laid out as torch's were."""
        out = make_like(tensor)
        if expression.is_constant:
            return expression.view(out.copy_(expression.values))
        return expression.view(self.emit("copy", [expression.values], out))

    # calls --------------------------------------------------------------------------

    def add(self, call):
        """Take in a call."""
        read, returned, operation = set(call.read), set(call.returned), call.operation
        if operation.name in _COMPARISONS or (call.written and self.bounds):
            self._note_bounds(call)
        if call.written or returned & self.mutable:
            self._add_writing(call, returned)
        elif returned & read:
            self._add_view(call)
        elif operation.is_factory or not (
            operation.is_random or not all(self.is_constant(t) for t in call.tensors)
        ):
            for tensor in call.outs:
                self.put(tensor, self.make_constant(tensor))
        else:
            found, rule = None, RULES.get(operation.name)
            # masks of bounds are looked through
            changing = read & self.mutable
            if changing:
                changing -= {place[0] for place in self.bounds}
            if rule is not None and not changing:
                found = rule(self, call.args, call.kwargs, call.out)
            if found is not None:
                self.put(call.out, found)
            else:
                self._add_as_it_is(call)

    def _note_bounds(self, call):
        """Note masks that tell which values are within bounds, as `clamp` needs."""
        name, a, b = call.operation.name, None, None
        if name.startswith("logical_and"):
            a, b = (self.bounds.get(get_place(t)) for t in call.args[:2])
        changed = {get_storage(tensor) for tensor in call.written}
        # any view of it
        self.bounds = {
            place: bounds
            for place, bounds in self.bounds.items()
            if place[0] not in changed
        }
        if name in ("ge", "le") and not is_tensor(call.args[1]):
            bound = float(call.args[1])
            bounds = (bound, math.inf) if name == "ge" else (-math.inf, bound)
            if get_storage(call.args[0]) not in self.mutable:
                self.bounds[get_place(call.out)] = call.args[0], *bounds
        elif a is not None and b is not None and get_place(a[0]) == get_place(b[0]):
            bounds = max(a[1], b[1]), min(a[2], b[2])
            self.bounds[get_place(call.out)] = a[0], *bounds

    def _add_writing(self, call, returned):
        """Take in a call that writes to its arguments, or to what others write to."""
        kept = {get_storage(tensor) for tensor in call.written}
        storages = returned | kept
        if not storages & self.mutable:
            if len(call.written) == 1 and call.args[0] is call.written[0]:
                self._add_filling(call)
                return
            self.mutable |= kept
        # stays in the memory of the recording
        outs = [tensor.detach() for tensor in call.outs]
        for tensor in outs:
            self.wholes.setdefault(get_storage(tensor), (tensor, Expression(tensor)))
        if call.operation.is_allocation:
            return
        found = self._fetch((call.args, call.kwargs), kept)
        # batch normalisation writes, and returns something else
        new = [None if get_storage(tensor) in kept else tensor for tensor in outs]
        settings = {"call": found, "new": new}
        if not kept:
            settings["writes_into"] = can_write_into(call)
        out = [tensor.detach() for tensor in call.written]
        out += [tensor for tensor in new if tensor is not None]
        node = Node(call.func, list_tensors(found), out, settings)
        node.writes = bool(kept)
        node.is_kept = call.operation.is_random or not storages <= self.created
        self.nodes.append(node)

    def _add_filling(self, call):
        """Take in a call that fills memory which was empty."""
        (target,), rest = call.written, call.args[1:]
        if call.operation.name in ("zero_", "fill_") and not list_tensors(rest):
            self.put(target, self.make_constant(target))
        elif call.operation.name == "copy_" and self._can_share(rest[0], target):
            expression = self.get(rest[0])
            self.put(target, expression.view(expression.values.expand(target.shape)))
        else:
            fresh = self._own(make_like(target))
            rest, kwargs = self._fetch((rest, call.kwargs))
            found = (fresh, *rest), kwargs
            reads = list_tensors((rest, kwargs))
            node = Node(call.func, reads, [fresh], {"call": found}, True)
            node.is_kept = call.operation.is_random
            self.nodes.append(node)
            self.put(target, Expression(fresh))

    def _can_share(self, source, target):
        """Return whether a copy can be what it is a copy of, which never changes."""
        is_fixed = get_storage(source) not in self.mutable
        return is_fixed and source.dtype == target.dtype

    def _add_view(self, call):
        """Take in a view: of the values, with the same scale and shift."""
        source, func, args = call.args[0], call.func, call.args
        if get_storage(source) in self.mutable or "as_strided" in call.operation.name:
            # found by its place in memory, when it is asked for
            return
        expression = self.get(source)
        try:
            views = list_tensors(func(expression.values, *args[1:], **call.kwargs))
        except RuntimeError:
            # values are laid out in another way than torch's were
            expression = self.make_dense(source, expression)
            views = list_tensors(func(expression.values, *args[1:], **call.kwargs))
        for tensor, values in zip(call.outs, views, strict=True):
            self.known[get_place(tensor)] = expression.view(values)

    def _add_as_it_is(self, call):
        """Take in a call about which nothing better is known."""
        found = self._fetch((call.args, call.kwargs))
        out = [self._own(make_like(tensor)) for tensor in call.outs]
        settings = {"call": found, "writes_into": can_write_into(call)}
        node = Node(call.func, list_tensors(found), out, settings)
        # the generator has to come to the same state
        node.is_kept = call.operation.is_random
        self.nodes.append(node)
        for tensor, values in zip(call.outs, out, strict=True):
            self.put(tensor, Expression(values))

    def _fetch(self, tree, kept=()):
        """Return arguments with the values of the program in the place of tensors."""

        def fetch(tensor):
            if get_storage(tensor) in kept:
                return tensor.detach()
            return self.make_values(self.get(tensor))

        return map_tensors(fetch, tree)

    def finish(self, result, target):
        """Send a result to where it is wanted."""
        expression = self.get(result)
        values = expression.values.expand(result.shape)
        settings = {"scale": expression.scale, "shift": expression.shift}
        is_plain = not expression.is_constant and settings == {"scale": 1, "shift": 0}
        name, settings = ("copy", {}) if is_plain else ("affine", settings)
        self.nodes.append(Node(name, [values], [target], settings, is_kept=True))


def _make_key(name, operands, shape, settings):
    names = [get_place(o) if is_tensor(o) else o for o in operands]
    return name, *names, tuple(shape), *sorted(settings.items())
