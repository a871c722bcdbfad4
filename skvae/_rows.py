"""Rows of a table on their way to the net, a batch at a time."""

import math

import torch
from torch.utils.data import Dataset

from ._device import fits_on
from ._missing import find_missing

# rows mapped at a time, and memory spent on what comes of them
_CHUNK_ROWS = 1024
_MAX_MAPPED_BYTES = 2**30


class Table:
    """Rows that batches are copied from.

    Parameters
    ----------
    x : Tensor (n, width) or (n_copies, n, width)
    """

    def __init__(self, x):
        self.x = x
        # copies one below the other
        self.table = x.flatten(0, -2)
        self.array = self.table.numpy() if self.table.is_cpu else None

    def gather(self, rows, out):
        """Copy the given rows, ``(n,)`` or ``(n_copies, n)``, into a tensor."""
        if self.x.dim() == 3:
            n_copies, n, _ = self.x.shape
            first = torch.arange(0, n_copies * n, n, device=self.x.device)
            rows, out = (rows + first.unsqueeze(1)).flatten(), out.flatten(0, 1)
        if self.array is None:
            torch.index_select(self.table, 0, rows, out=out)
        elif out.is_cpu:
            # as quick as memory allows: numpy checks nothing
            self.array.take(rows.numpy(), 0, out.numpy(), "clip")
        else:
            # from pinned memory, while the accelerator is at work
            chosen = self.table.index_select(0, rows).pin_memory()
            out.copy_(chosen, non_blocking=True)


class Rows(Dataset):
    """A table for the net: rows, weights and the splits of every copy.

    Parameters
    ----------
    x : Tensor (n, n_features) or (n_copies, n, n_features)
        In the units of the module.
    weight : Tensor (n,)
    train, valid : list of Tensor of int
        Row numbers of every copy.
    """

    def __init__(self, x, weight, train, valid):
        self.x, self.weight = x, weight
        self.train, self.valid = train, valid
        self.is_uniform = bool((weight == weight[0]).all())
        self.is_complete = find_missing(x) is None
        self.table = Table(x)

    def own(self):
        """Copy the rows: until then they may lie in the memory of the user's X."""
        self.x = self.x.clone()
        self.table = Table(self.x)

    def list_copies(self):
        """Return, for every copy, its table and the numbers of its training rows."""
        tables = [self.x] if self.x.dim() == 2 else self.x.unbind()
        return list(zip(tables, self.train, strict=True))

    def __len__(self):
        return min(len(rows) for rows in self.train)

    def __getitem__(self, index):
        return self.__getitems__([index])[0]

    def __getitems__(self, indices):
        rows = self.train[-1][torch.as_tensor(indices)]
        return list(zip(self.x[rows], self.weight[rows], strict=True))

    def take(self, rows):
        """Return the given rows, ``(n,)`` or ``(n_copies, n)``, and their weights."""
        x = self.x.new_empty(*rows.shape, self.x.shape[-1])
        self.gather(rows, x)
        return x, self.weight[rows]

    def gather(self, rows, out):
        """Copy the given rows, ``(n,)`` or ``(n_copies, n)``, into a tensor."""
        self.table.gather(rows, out)

    @torch.no_grad()
    def map(self, function, width, device):
        """Return a table of what a function makes of the rows, a chunk at a time.

        Parameters
        ----------
        function : callable
            Of rows (..., n, n_features) on the device; returns (..., n, width).
        width : int
        device : torch.device

        Returns
        -------
        Table or None
            Where the rows are; None if it would be larger than 1 GiB, or does not fit.
        """
        *leading, n, _ = self.x.shape
        shape = *leading, n, width
        n_bytes = self.x.element_size() * math.prod(shape)
        if n_bytes > _MAX_MAPPED_BYTES or not fits_on(n_bytes, self.x.device):
            return None
        found = self.x.new_empty(shape)
        for begin in range(0, n, _CHUNK_ROWS):
            part = slice(begin, begin + _CHUNK_ROWS)
            found[..., part, :] = function(self.x[..., part, :].to(device))
        return Table(found)


class TrainBatches:
    """Shuffled batches of a table, all of a size or one row apart.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    min_steps : int, default=1
        Pass over the rows again until there have been so many batches.
    """

    def __init__(self, rows, batch_size, min_steps=1):
        self.rows, self.batch_size, self.min_steps = rows, batch_size, min_steps

    def _one_pass(self):
        device = self.rows.x.device
        orders = [
            rows[torch.randperm(len(rows), device=device)] for rows in self.rows.train
        ]
        n = len(self.rows)
        n_batches = max(1, math.ceil(n / self.batch_size))
        if len(orders) == 1:
            yield from orders[0].tensor_split(n_batches)
            return
        size = n // n_batches
        for i in range(n_batches):
            yield torch.stack([o[i * size : (i + 1) * size] for o in orders])

    def choose(self):
        """Yield the numbers of the rows of one batch after the other."""
        steps = 0
        while steps < self.min_steps:
            for batch in self._one_pass():
                yield batch
                steps += 1

    def __iter__(self):
        for batch in self.choose():
            yield self.rows.take(batch)


class ValidBatches:
    """The held-out rows of every copy, in order; a copy without any has weight 0."""

    def __init__(self, rows, batch_size):
        self.rows, self.batch_size = rows, batch_size

    def __iter__(self):
        valid = self.rows.valid
        n_copies = len(self.rows.train)
        for begin in range(0, len(valid[0]), self.batch_size):
            parts = [rows[begin : begin + self.batch_size] for rows in valid]
            if n_copies == 1:
                yield self.rows.take(parts[0])
                continue
            judged = len(parts)
            parts += [parts[0]] * (n_copies - judged)
            x, weight = self.rows.take(torch.stack(parts))
            weight[judged:] = 0
            yield x, weight
