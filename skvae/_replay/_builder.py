"""From the operations of one call to the fewer that have to be done again.

Calls are read in their order. What they return is kept as an `Expression`, ``scale *
values + shift``, so that most factors, signs and constants cost nothing; views and
copies are not repeated at all, and equal operations are done once.
"""

import math

import torch

from . import _elementwise, _whole
from ._calls import find_memory
from ._expression import Expression
from ._lowering import can_write_into
from ._nodes import Node
from ._tensors import (
    get_place,
    get_storage,
    list_tensors,
    make_like,
    make_result,
    map_tensors,
)

# what is known of ATen's operations, by their names
RULES = {**_elementwise.RULES, **_whole.RULES}
# masks of `clamp` and of its gradient
_COMPARISONS = ("ge", "le", "logical_and", "logical_and_")
_CLAMPS = ("clamp", "clamp_max", "clamp_min")


class ProgramBuilder:
    """The operations to be repeated, gathered call by call.

    It is told of all calls; `add` then takes them in one by one. The result is `nodes`
    and `owned`, the memory that was made for results.
    """

    def __init__(self, calls, inputs):
        self.nodes, self.owned = [], set()
        # of masks that tell which values are within bounds, by place: the values, the
        # bounds, and the memory of the mask
        self.bounds = {}
        # places of what is clamped, and has a gradient
        self.clamped = {
            get_place(c.args[0])
            for c in calls
            if c.schema.name in _CLAMPS and c.args[0].requires_grad
        }
        self.created, self.mutable = find_memory(calls)
        self.inputs = {get_storage(tensor) for tensor in inputs}
        # expressions by place and by memory, and results by operation
        self.known, self.wholes, self.done = {}, {}, {}
        # memory is told apart by where it is: none is given up before the end
        self.alive = [calls]
        self.places = {}

    # what is known of tensors -------------------------------------------------------

    def get(self, tensor):
        """Return the expression of a tensor of the recording."""
        place = self.places.get(id(tensor))
        if place is None:
            place = self.places[id(tensor)] = get_place(tensor)
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

    def make_constant(self, tensor):
        """Return the expression of a tensor that never changes."""
        self.alive.append(tensor)
        number, tensor = None, tensor.detach()
        if tensor.is_floating_point() and tensor.numel():
            first = tensor[(0,) * tensor.dim()]
            if tensor.numel() == 1 or (tensor == first).all():
                number = first.item()
        return Expression(tensor, is_constant=True, number=number)

    # nodes --------------------------------------------------------------------------

    def emit(self, name, operands, out, **settings):
        """Return the result of an operation on whole tensors, done once.

        ``out`` is memory for the result, if it has to be computed.
        """
        key = *_make_key(name, operands, out.shape, settings), out.stride()
        if key not in self.done:
            self.nodes.append(Node(name, operands, [self._own(out)], settings))
            self.done[key] = out
        return self.done[key]

    def emit_by_element(self, name, operands, shape, **settings):
        """Return the result of an operation element by element, done once.

        Operands are tensors and numbers; the result has the shape given.
        """
        key = _make_key(name, operands, shape, settings)
        if key in self.done:
            return self.done[key]
        tensors = [o for o in operands if torch.is_tensor(o)]
        tensors = [o if o.shape == shape else o.expand(shape) for o in tensors]
        if not any(tensor.is_contiguous() for tensor in tensors):
            for dim, size in enumerate(shape):
                # the same along a dimension: computed once
                if size > 1 and not any(tensor.stride(dim) for tensor in tensors):
                    tensors = [tensor.narrow(dim, 0, 1) for tensor in tensors]
        out = self._own(make_result(tensors[0].shape, tensors))
        rest = iter(tensors)
        operands = [next(rest) if torch.is_tensor(o) else o for o in operands]
        self.nodes.append(Node(name, operands, [out], settings))
        self.done[key] = found = out if out.shape == shape else out.expand(shape)
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
        schema = call.schema
        if schema.name in _COMPARISONS or (call.written and self.bounds):
            self._note_bounds(call)
        is_view = schema.is_view and call.returned <= call.read
        if not is_view and (call.written or not call.returned.isdisjoint(self.mutable)):
            self._add_writing(call)
        elif not call.returned.isdisjoint(call.read):
            self._add_view(call)
        elif schema.is_factory or not (
            schema.is_random or not all(self.get(t).is_constant for t in call.tensors)
        ):
            for tensor in call.outs:
                self.put(tensor, self.make_constant(tensor))
        else:
            found = self._apply_rule(call)
            if found is not None:
                self.put(call.out, found)
            else:
                self._add_as_it_is(call)

    def _apply_rule(self, call):
        """Return the expression of what a call returns, None if no rule knows it."""
        name, out, tensors = call.schema.name, call.out, call.tensors
        # masks of bounds are looked through
        changing = call.read & self.mutable
        if name == "where":
            tensors = tensors[1:]
            changing -= {memory for *_, memory in self.bounds.values()}
        if name not in RULES or changing or not out.is_floating_point():
            return None
        if any(tensor.dtype != out.dtype for tensor in tensors):
            return None
        shape = out.shape if name in _elementwise.RULES else None

        def express(tensor):
            found = self.get(tensor)
            return found.expand(shape) if shape is not None else found

        args, kwargs = map_tensors(express, (call.args, call.kwargs))
        return RULES[name](self, call, *args, **kwargs)

    def _note_bounds(self, call):
        """Note masks that tell which values are within bounds, as `clamp` needs."""
        name, found = call.schema.name, None
        if name.startswith("logical_and"):
            a, b = (self.bounds.get(get_place(t)) for t in call.args[:2])
            if a and b and get_place(a[0]) == get_place(b[0]):
                found = a[0], max(a[1], b[1]), min(a[2], b[2])
        elif name in ("ge", "le") and not torch.is_tensor(call.args[1]):
            bound = float(call.args[1])
            if get_storage(call.args[0]) not in self.mutable:
                bounds = (bound, math.inf) if name == "ge" else (-math.inf, bound)
                found = call.args[0], *bounds
        changed = {get_storage(tensor) for tensor in call.written}
        # any view of it
        self.bounds = {p: b for p, b in self.bounds.items() if b[3] not in changed}
        if found is not None:
            self.bounds[get_place(call.out)] = *found, get_storage(call.out)

    def _add_writing(self, call):
        """Take in a call that writes to its arguments, or to what others write to."""
        kept = {get_storage(tensor) for tensor in call.written}
        storages = call.returned | kept
        if storages.isdisjoint(self.mutable):
            if len(call.written) == 1 and call.args[0] is call.written[0]:
                self._add_filling(call)
                return
            self.mutable |= kept
        # stays in the memory of the recording
        outs = [tensor.detach() for tensor in call.outs]
        for tensor in outs:
            self.wholes.setdefault(get_storage(tensor), (tensor, Expression(tensor)))
        if call.schema.is_allocation:
            return
        found = self._fetch((call.args, call.kwargs), kept)
        # batch normalisation writes, and returns something else
        new = [None if get_storage(tensor) in kept else tensor for tensor in outs]
        changed = [t.detach() for t in call.written]
        changed = [t for t in changed if get_storage(t) not in self.created]
        settings = {"call": found, "new": new, "changed": changed}
        if not kept:
            settings["writes_into"] = can_write_into(call)
        out = [tensor.detach() for tensor in call.written]
        out += [tensor for tensor in new if tensor is not None]
        is_kept = call.schema.is_random or not storages <= self.created
        node = Node(call.func, list_tensors(found), out, settings, bool(kept), is_kept)
        self.nodes.append(node)

    def _add_filling(self, call):
        """Take in a call that fills memory which was empty."""
        (target,), rest = call.written, call.args[1:]
        self._forget(target)
        if call.schema.name in ("zero_", "fill_") and not list_tensors(rest):
            self.put(target, self.make_constant(target))
        elif call.schema.name == "copy_" and self._can_share(rest[0], target):
            self.put(target, self.get(rest[0]).expand(target.shape))
        else:
            fresh = self._own(make_like(target))
            rest, kwargs = self._fetch((rest, call.kwargs))
            settings, reads = {"call": ((fresh, *rest), kwargs)}, list_tensors(rest)
            reads += list_tensors(kwargs)
            is_kept = call.schema.is_random
            self.nodes.append(Node(call.func, reads, [fresh], settings, True, is_kept))
            self.put(target, Expression(fresh))

    def _forget(self, tensor):
        """Forget the views that were taken of memory before it is filled."""
        memory = tensor.untyped_storage()
        begin, end = memory.data_ptr(), memory.data_ptr() + memory.nbytes()
        self.known = {p: e for p, e in self.known.items() if not begin <= p[0] < end}

    def _can_share(self, source, target):
        """Return whether a copy can be what it is a copy of, which never changes."""
        is_fixed = get_storage(source) not in self.mutable
        return is_fixed and source.dtype == target.dtype

    def _add_view(self, call):
        """Take in a view: of the values, with the same scale and shift."""
        source, func, args = call.args[0], call.func, call.args
        if get_storage(source) in self.mutable or "as_strided" in call.schema.name:
            # found by its place in memory, when it is asked for
            return
        places = [get_place(tensor) for tensor in call.outs]
        if all(place in self.known for place in places):
            return
        expression = self.get(source)
        try:
            views = list_tensors(func(expression.values, *args[1:], **call.kwargs))
        except RuntimeError:
            # values are laid out in another way than torch's were
            expression = self.make_dense(source, expression)
            views = list_tensors(func(expression.values, *args[1:], **call.kwargs))
        for place, values in zip(places, views, strict=True):
            self.known[place] = expression.view(values)

    def _add_as_it_is(self, call):
        """Take in a call about which nothing better is known."""
        found = self._fetch((call.args, call.kwargs))
        out = [self._own(make_like(tensor)) for tensor in call.outs]
        settings = {"call": found, "writes_into": can_write_into(call)}
        # the generator has to come to the same state
        is_kept = call.schema.is_random
        node = Node(call.func, list_tensors(found), out, settings, is_kept=is_kept)
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
    names = [get_place(o) if torch.is_tensor(o) else o for o in operands]
    return name, *names, tuple(shape), *settings.items()
