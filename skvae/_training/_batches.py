"""Rows of a table, delivered to the net a batch at a time."""

import math

import numpy as np
import torch
from torch.utils.data import Dataset

from .._utils._device import fits_on
from .._utils._draws import call_with_draws, list_generators
from .._utils._missing import find_missing, list_incomplete
from ._ranks import get_ranks

# rows mapped at a time, and bytes of the result at most
_CHUNK_ROWS = 1024
_MAX_MAPPED_BYTES = 2**30
# rows of a block, and blocks of a window, that are shuffled together where rows are
# read lazily
_BLOCK_ROWS = 1024
_WINDOW_BLOCKS = 64


class Table:
    """Rows in memory that batches are copied from.

    Parameters
    ----------
    x : Tensor (n, width) or (n_copies, n, width)
    """

    # whether the rows of a batch should lie near one another
    prefers_blocks = False

    def __init__(self, x):
        self.x = x
        self.n_features, self.device = x.shape[-1], x.device
        # one network's rows below the other's
        self.table = x.flatten(0, -2)
        self.array = self.table.numpy() if self.table.is_cpu else None

    def gather(self, rows, out):
        """Copy rows by number, ``(n,)`` or ``(n_copies, n)``, into a tensor."""
        if self.x.dim() == 3:
            n_copies, n, _ = self.x.shape
            first = torch.arange(0, n_copies * n, n, device=self.x.device)
            rows, out = (rows + first.unsqueeze(1)).flatten(), out.flatten(0, 1)
        if self.array is None:
            torch.index_select(self.table, 0, rows, out=out)
        elif out.is_cpu:
            # as fast as memory allows: numpy checks nothing
            self.array.take(rows.numpy(), 0, out.numpy(), "clip")
        else:
            # from pinned memory, while the accelerator computes
            chosen = self.table.index_select(0, rows).pin_memory()
            out.copy_(chosen, non_blocking=True)

    @property
    def has_missing(self):
        """Whether any cell is missing."""
        return find_missing(self.x) is not None

    @property
    def incomplete(self):
        """Numbers of the columns with missing cells, a tuple."""
        missing = find_missing(self.x)
        return () if missing is None else tuple(list_incomplete(missing))

    def own(self):
        """Return a copy of the rows."""
        return Table(self.x.clone())

    def take(self, rows, fold):
        """Return rows in the units of a fold, ``(n, n_features)``."""
        return self.list_folds()[fold][rows]

    def list_folds(self):
        """Return the rows in the units of every fold, each ``(n, n_features)``."""
        return [self.x] if self.x.dim() == 2 else list(self.x.unbind())

    @torch.no_grad()
    def map(self, function, width, device):
        """Return a table of a function's values for all rows, a chunk at a time.

        Parameters
        ----------
        function : callable
            Takes rows (..., n, n_features) on the device; returns (..., n, width).
        width : int
        device : torch.device

        Returns
        -------
        Table or None
            On the device of the rows; None if larger than 1 GiB, or if it does not fit.
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
    """Rows that are read and converted when a batch needs them.

    Parameters
    ----------
    read : callable
        Takes row numbers, an array, or a slice; returns an array (n, n_features).
    shape : tuple of int
    has_missing : bool
        Whether any cell is missing.
    prefers_blocks : bool, default=True
        Whether the rows of a batch should lie near one another, as in a file.
    n_copies : int, default=None
        Number of networks, which see the rows in the same units; None is a single one.
    incomplete : tuple of int, default=None
        The columns with missing cells; None where they were not looked for.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        read,
        shape,
        has_missing,
        prefers_blocks=True,
        n_copies=None,
        incomplete=None,
    ):
        self.read, self.shape, self.has_missing = read, shape, has_missing
        self.prefers_blocks, self.n_copies = prefers_blocks, n_copies
        self.n_features = shape[1]
        if incomplete is None:
            incomplete = range(shape[1]) if has_missing else ()
        self.incomplete = tuple(incomplete)
        # of the first networks: rows, and the values that some of their columns get
        self.hidden = []

    def hide(self, is_hidden, is_constant, first):
        """Give rows of the next network the first value in columns that are constant.

        The masks are ``(n,)`` and ``(n_features,)``, and so is the value. Missing
        cells stay so.
        """
        self.hidden.append((is_hidden, is_constant, first))

    def _read_fold(self, rows, fold):
        """Return rows by number as a network sees them, an array."""
        values = np.asarray(self.read(rows), dtype=np.float32)
        if fold is not None and fold < len(self.hidden):
            is_hidden, is_constant, first = self.hidden[fold]
            some = is_hidden[rows]
            if some.any() and is_constant.any():
                part = values[some]
                is_replaced = is_constant & ~np.isnan(part)
                values[some] = np.where(is_replaced, first, part)
        return values

    def gather(self, rows, out):
        """Copy rows by number, ``(n,)`` or ``(n_copies, n)``, into a tensor."""
        if self.n_copies is None:
            rows, out = rows[None], out[None]
        for fold, (chosen, part) in enumerate(zip(rows, out, strict=True)):
            part.copy_(torch.from_numpy(self._read_fold(chosen.numpy(), fold)))

    def take(self, rows, fold):
        """Return rows of a fold, ``(n, n_features)``; None hides nothing."""
        return torch.from_numpy(self._read_fold(rows.numpy(), fold))

    def own(self):
        """Return all rows in memory."""
        x = np.empty((self.n_copies or 1, *self.shape), dtype=np.float32)
        for begin in range(0, self.shape[0], _CHUNK_ROWS):
            part = np.arange(self.shape[0])[begin : begin + _CHUNK_ROWS]
            for fold, values in enumerate(x):
                values[part] = self._read_fold(part, fold)
        return Table(torch.from_numpy(x if self.n_copies else x[0]))

    def map(self, function, width, device):
        """Return None: no function is computed for all rows at once."""
        return None


class Rows(Dataset):
    """The data set of the net: rows, weights and the split of every fold.

    Parameters
    ----------
    table : Tensor (n, n_features) or (n_copies, n, n_features), or LazyTable
        In the units of the module.
    weight : Tensor (n,)
    train, valid : list of Tensor of int
        Row numbers of every fold.
    """

    def __init__(self, table, weight, train, valid):
        self.table = Table(table) if isinstance(table, torch.Tensor) else table
        self.weight = weight
        self.train, self.valid = train, valid
        self.is_uniform = bool((weight == weight[0]).all())
        self.incomplete = self.table.incomplete
        self.has_missing = len(self.incomplete) > 0

    @property
    def n_features(self):
        """Columns of the table."""
        return self.table.n_features

    @property
    def device(self):
        """Device of the rows."""
        return self.table.device

    def own(self):
        """Copy the rows, which may share memory with the user's X."""
        self.table = self.table.own()

    def list_folds(self):
        """Return, for every fold, its rows and the numbers of its training rows.

        A `LazyTable` has no such rows; call `own` first.
        """
        return list(zip(self.table.list_folds(), self.train, strict=True))

    def __len__(self):
        return min(len(rows) for rows in self.train)

    def __getitem__(self, index):
        return self.__getitems__([index])[0]

    def __getitems__(self, indices):
        rows = self.train[-1][torch.as_tensor(indices)]
        return list(zip(*self.take(rows), strict=True))

    def take(self, rows):
        """Return rows by number, ``(n,)`` or ``(n_copies, n)``, and their weights."""
        x = torch.empty(
            *rows.shape, self.n_features, dtype=torch.float32, device=self.device
        )
        self.gather(rows, x)
        return x, self.weight[rows]

    def gather(self, rows, out):
        """Copy rows by number, ``(n,)`` or ``(n_copies, n)``, into a tensor."""
        self.table.gather(rows, out)


class TrainBatches:
    """Shuffled batches of a table, all of one size.

    Parameters
    ----------
    rows : Rows
    batch_size : int
    min_steps : int, default=1
        Least number of batches; the rows are passed over again until it is reached.
    """

    def __init__(self, rows, batch_size, min_steps=1):
        self.rows, self.batch_size, self.min_steps = rows, batch_size, min_steps

    def _draw_orders(self):
        """Return the places of the rows of every fold in a new order."""
        if not self.rows.table.prefers_blocks:
            return [torch.randperm(len(r), device=r.device) for r in self.rows.train]
        return [self._draw_windows(len(rows)) for rows in self.rows.train]

    def _draw_windows(self, n):
        """Return places in an order that reads a few parts of a file at a time."""
        # shuffle the blocks, then the rows of a window of blocks
        blocks = torch.arange(n).split(_BLOCK_ROWS)
        blocks = [blocks[i] for i in torch.randperm(len(blocks)).tolist()]
        windows = torch.cat(blocks).split(_BLOCK_ROWS * _WINDOW_BLOCKS)
        return torch.cat([w[torch.randperm(len(w))] for w in windows])

    def _one_pass(self):
        """Yield the numbers of the rows of batches that are all of one size.

        A few rows come twice where the number of rows is not a multiple of it.
        """
        ranks = get_ranks()
        if ranks is not None:
            # draws for parts of rows may have left them in different states
            ranks.share_states(list_generators())
        n = len(self.rows)
        n_batches = max(1, math.ceil(n / self.batch_size))
        size = math.ceil(n / n_batches)
        # all folds at once: to let torch draw from our generator costs more than a draw
        places = call_with_draws(self._draw_orders)
        orders = [
            _resize(rows[order], size * n_batches)
            for rows, order in zip(self.rows.train, places, strict=True)
        ]
        if len(orders) == 1:
            yield from orders[0].split(size)
        else:
            yield from torch.stack(orders).split(size, dim=1)

    def choose(self):
        """Yield the row numbers of every batch."""
        steps = 0
        while steps < self.min_steps:
            for batch in self._one_pass():
                yield batch
                steps += 1

    def __iter__(self):
        for batch in self.choose():
            yield self.rows.take(batch)


def _resize(rows, n):
    """Return n of some rows: the first ones, or all and the first ones again."""
    n_more = n - len(rows)
    return rows[:n] if n_more <= 0 else torch.cat([rows, rows[:n_more]])


class ValidBatches:
    """The held-out rows of every fold, in order; a fold without any has weight 0.

    With ``ranks`` they are those of one of several processes.
    """

    def __init__(self, rows, batch_size):
        self.rows, self.batch_size, self.ranks = rows, batch_size, None

    def split(self, ranks):
        """Leave to every process its part, if there is a row for each one."""
        if len(self.rows.valid[0]) >= ranks.size:
            self.ranks = ranks

    def __iter__(self):
        valid = self.rows.valid
        if self.ranks is not None:
            valid = [rows[self.ranks.cut(len(rows))] for rows in valid]
        n_copies = len(self.rows.train)
        for begin in range(0, len(valid[0]), self.batch_size):
            parts = [rows[begin : begin + self.batch_size] for rows in valid]
            if n_copies == 1:
                yield self.rows.take(parts[0])
                continue
            n_valid = len(parts)
            parts += [parts[0]] * (n_copies - n_valid)
            x, weight = self.rows.take(torch.stack(parts))
            weight[n_valid:] = 0
            yield x, weight
