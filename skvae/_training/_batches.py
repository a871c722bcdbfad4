"""Rows of a table on their way to the net, a batch at a time."""

import math

import numpy as np
import torch
from torch.utils.data import Dataset

from .._utils._device import fits_on
from .._utils._missing import find_missing

# rows mapped at a time, and memory spent on what comes of them
_CHUNK_ROWS = 1024
_MAX_MAPPED_BYTES = 2**30
# rows that lie side by side, and how many such blocks, are shuffled together where
# rows are read from where they are
_BLOCK_ROWS = 1024
_WINDOW_BLOCKS = 64


class Table:
    """Rows that batches are copied from.

    Parameters
    ----------
    x : Tensor (n, width) or (n_copies, n, width)
    """

    # whether batches should be of rows that lie near one another
    prefers_blocks = False

    def __init__(self, x):
        self.x = x
        self.n_features, self.device = x.shape[-1], x.device
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

    def is_complete(self):
        """Return whether no cell is missing."""
        return find_missing(self.x) is None

    def own(self):
        """Return the rows in memory of their own."""
        return Table(self.x.clone())

    def take(self, rows, copy):
        """Return the given rows of a copy, ``(n, n_features)``."""
        return self.list_copies()[copy][rows]

    def list_copies(self):
        """Return the rows of every copy, each ``(n, n_features)``."""
        return [self.x] if self.x.dim() == 2 else list(self.x.unbind())

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


class LazyTable:
    """Rows that are read where they are, and converted, as batches ask for them.

    Parameters
    ----------
    read : callable
        Of row numbers, an array, or a slice; returns an array (n, n_features).
    shape : tuple of int
    is_complete : bool
        Whether no cell is missing.
    """

    prefers_blocks = True
    device = torch.device("cpu")

    def __init__(self, read, shape, is_complete):
        self.read, self.shape = read, shape
        self.n_features = shape[1]
        self._is_complete = is_complete

    def is_complete(self):
        """Return whether no cell is missing."""
        return self._is_complete

    def gather(self, rows, out):
        """Copy the given rows, ``(n,)``, into a tensor."""
        values = self.read(rows.numpy())
        out.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))

    def take(self, rows, copy):
        """Return the given rows, ``(n, n_features)``; there is one copy."""
        out = torch.empty(len(rows), self.n_features, dtype=torch.float32)
        self.gather(rows, out)
        return out

    def own(self):
        """Return the rows in memory of their own, all of them."""
        x = np.empty(self.shape, dtype=np.float32)
        for begin in range(0, len(x), _CHUNK_ROWS):
            part = slice(begin, begin + _CHUNK_ROWS)
            x[part] = self.read(part)
        return Table(torch.from_numpy(x))

    def map(self, function, width, device):
        """Return None: nothing is computed for all rows at once."""
        return None


class Rows(Dataset):
    """A table for the net: rows, weights and the splits of every copy.

    Parameters
    ----------
    table : Tensor (n, n_features) or (n_copies, n, n_features), or LazyTable
        In the units of the module.
    weight : Tensor (n,)
    train, valid : list of Tensor of int
        Row numbers of every copy.
    """

    def __init__(self, table, weight, train, valid):
        self.table = Table(table) if isinstance(table, torch.Tensor) else table
        self.weight = weight
        self.train, self.valid = train, valid
        self.is_uniform = bool((weight == weight[0]).all())
        self.is_complete = self.table.is_complete()

    @property
    def n_features(self):
        """Columns of the table."""
        return self.table.n_features

    @property
    def device(self):
        """Where the rows are."""
        return self.table.device

    def own(self):
        """Copy the rows: until then they may lie in the memory of the user's X."""
        self.table = self.table.own()

    def list_copies(self):
        """Return, for every copy, its rows and the numbers of those to train on.

        Not for rows that are read where they are: `own` them first.
        """
        return list(zip(self.table.list_copies(), self.train, strict=True))

    def __len__(self):
        return min(len(rows) for rows in self.train)

    def __getitem__(self, index):
        return self.__getitems__([index])[0]

    def __getitems__(self, indices):
        rows = self.train[-1][torch.as_tensor(indices)]
        return list(zip(*self.take(rows), strict=True))

    def take(self, rows):
        """Return the given rows, ``(n,)`` or ``(n_copies, n)``, and their weights."""
        x = torch.empty(
            *rows.shape, self.n_features, dtype=torch.float32, device=self.device
        )
        self.gather(rows, x)
        return x, self.weight[rows]

    def gather(self, rows, out):
        """Copy the given rows, ``(n,)`` or ``(n_copies, n)``, into a tensor."""
        self.table.gather(rows, out)


class TrainBatches:
    """Shuffled batches of a table, all of one size.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    min_steps : int, default=1
        Pass over the rows again until there have been so many batches.
    """

    def __init__(self, rows, batch_size, min_steps=1):
        self.rows, self.batch_size, self.min_steps = rows, batch_size, min_steps

    def _shuffle(self, rows):
        """Return row numbers in a new order."""
        if not self.rows.table.prefers_blocks:
            return rows[torch.randperm(len(rows), device=rows.device)]
        # blocks in a new order, and the rows of a window of blocks mixed: what is read
        # in the course of a few steps then lies in a few places of a file
        blocks = rows.split(_BLOCK_ROWS)
        blocks = [blocks[i] for i in torch.randperm(len(blocks)).tolist()]
        windows = torch.cat(blocks).split(_BLOCK_ROWS * _WINDOW_BLOCKS)
        return torch.cat([w[torch.randperm(len(w))] for w in windows])

    def _one_pass(self):
        """Yield the numbers of the rows of batches that are all of one size.

        A few rows come twice where the number of rows is not a multiple of it.
        """
        n = len(self.rows)
        n_batches = max(1, math.ceil(n / self.batch_size))
        size = math.ceil(n / n_batches)
        orders = []
        for rows in self.rows.train:
            order = self._shuffle(rows)
            n_more = max(size * n_batches - len(order), 0)
            orders.append(torch.cat([order, order[:n_more]]))
        for i in range(n_batches):
            batch = [order[i * size : (i + 1) * size] for order in orders]
            yield batch[0] if len(batch) == 1 else torch.stack(batch)

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
