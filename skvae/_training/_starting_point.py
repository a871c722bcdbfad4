"""Where training begins: rows in the units of the module, splits, and a start."""

from dataclasses import dataclass

import numpy as np
import torch

from .._utils._device import as_tensor, fits_on
from ._batches import LazyTable, Rows
from ._splits import Splits

# rows from which likelihood and prior are initialized: with many columns as many as
# have these values, at least a number
_MAX_INIT_ROWS, _MAX_INIT_VALUES, _ENOUGH_INIT_ROWS = 4000, 500_000, 1000
# rows cast at a time
_CHUNK_ROWS = 1024
# bytes of a table in single precision from which on rows stay where they are
_MAX_TABLE_BYTES = 2**29


@dataclass
class StartingPoint:
    """Where training begins.

    Attributes
    ----------
    x : EncodedRows
        All rows, in the units of the columns.
    weight : ndarray or None
    splits : Splits
    starts : list of Start
        Units of every network, and its linear model where there is one.
    rows : Rows
        The rows in the units of the module.
    origin : dict of Tensor or MapStart
        What the module takes as `linear_start`; None for that of a warm start.
    """

    x: object
    weight: np.ndarray | None
    splits: Splits
    starts: list
    rows: Rows
    origin: object = None

    def sample_rows(self, generator, held_out=False):
        """Return a sample of the training rows of every network, by their weights.

        Or of the held-out rows of every network that has some.
        """
        rows, samples = self.rows, []
        most = max(_MAX_INIT_VALUES // max(rows.n_features, 1), _ENOUGH_INIT_ROWS)
        for fold, train_rows in enumerate(rows.valid if held_out else rows.train):
            weight = rows.weight[train_rows].cpu().double().numpy()
            n_drawn = min(len(train_rows), _MAX_INIT_ROWS, most)
            if (weight == weight[0]).all():
                chosen = generator.permutation(len(train_rows))[:n_drawn]
            else:
                share = weight / weight.sum()
                chosen = generator.choice(len(train_rows), n_drawn, p=share)
            index = train_rows[torch.as_tensor(chosen, device=train_rows.device)]
            samples.append(rows.table.take(index, fold))
        return samples

    def find_reach(self):
        """Return the largest value of the training rows of every network.

        They are tensors (n_features,), 0 for columns without any.
        """
        found, rows = [], self.rows
        for fold, train_rows in enumerate(rows.train):
            parts = (rows.table.take(p, fold) for p in train_rows.split(_CHUNK_ROWS))
            reach = [torch.nan_to_num(x).abs().amax(dim=0).cpu() for x in parts]
            found.append(torch.stack(reach).amax(dim=0))
        return found


def _to_tensor(x, start, device):
    """Return rows in the units of a start, float32, without a copy if they are so.

    Nothing larger than a chunk of them is in double precision on the way.
    """
    if x.dtype == np.float32 and not start.shift.any() and (start.unit == 1).all():
        return as_tensor(x[:]).to(device)
    scaled = np.empty(x.shape, dtype=np.float32)
    for begin in range(0, len(x), _CHUNK_ROWS):
        rows = slice(begin, begin + _CHUNK_ROWS)
        scaled[rows] = (x[rows] - start.shift) / start.unit
    return torch.from_numpy(scaled).to(device)


def _make_table(x, starts, device):
    """Return the rows in the units of every network, or a `LazyTable` of them."""
    n_bytes = 4 * x.size * len(starts)
    is_small = n_bytes <= _MAX_TABLE_BYTES or len(starts) > 1
    if x.is_sparse:
        # of several networks, too, in units of the table
        settings = {
            "prefers_blocks": not is_small,
            "n_copies": len(starts) if len(starts) > 1 else None,
        }
        return LazyTable(x.__getitem__, x.shape, x.has_missing(), **settings)
    if is_small or (device.type != "cpu" and fits_on(n_bytes, device)):
        tensors = [_to_tensor(x, start, device) for start in starts]
        return tensors[0] if len(tensors) == 1 else torch.stack(tensors)
    (start,) = starts

    def read(rows):
        return (x[rows] - start.shift) / start.unit

    return LazyTable(read, x.shape, x.has_missing())


def _hide_unseen(table, train, valid):
    """Give held-out rows the value of a column that is constant where a fold trains.

    Such a fold can learn nothing about other values, and one row that has them would
    outweigh all others in the held-out score. The network of all rows learns them.
    """
    if isinstance(table, LazyTable):
        for rows, held_out in zip(train, valid, strict=False):
            _hide_unseen_lazily(table, rows, held_out)
        return
    for x, rows, held_out in zip(table, train, valid, strict=False):
        first, scored = x[rows[0]], x[held_out]
        is_constant = (x[rows] == first).all(dim=0)
        if is_constant.any():
            x[held_out] = torch.where(is_constant & ~scored.isnan(), first, scored)


def _hide_unseen_lazily(table, rows, held_out):
    """Do the same for a table whose rows are read when they are needed."""
    first, is_constant = table.take(rows[:1], fold=None)[0], True
    for part in rows.split(_CHUNK_ROWS):
        x = table.take(part, fold=None)
        is_constant = is_constant & (x == first).all(dim=0)
    is_hidden = np.zeros(table.shape[0], dtype=bool)
    is_hidden[held_out.numpy()] = True
    table.hide(is_hidden, is_constant.numpy(), first.numpy())


def make_rows(x, weight, starts, splits, device):
    """Return rows, weights and splits, on the device if they fit."""
    if x.is_sparse or not fits_on(4 * x.size * len(starts), device):
        device = torch.device("cpu")
    weight = np.ones(len(x)) if weight is None else weight
    as_rows = [
        [torch.as_tensor(rows, device=device) for rows in part]
        for part in (splits.train, splits.valid)
    ]
    table = _make_table(x, starts, device)
    if splits.n_copies:
        _hide_unseen(table, *as_rows)
    return Rows(
        table,
        torch.as_tensor(weight / weight.mean(), dtype=torch.float32, device=device),
        *as_rows,
    )
