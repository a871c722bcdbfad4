"""Rows reach the net in batches: all of them, with their weights, in any order."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from skvae._training import _batches
from skvae._training._batches import LazyTable, Rows, TrainBatches, ValidBatches


def make_rows(n=23, n_copies=None, is_uniform=True):
    """Return rows that tell their number (and copy) and whose weights do too."""
    x = torch.arange(n, dtype=torch.float32).unsqueeze(1).repeat(1, 3)
    weight = torch.ones(n) if is_uniform else torch.arange(n) + 1.0
    if n_copies is None:
        return Rows(x, weight, [torch.arange(n)], [])
    x = torch.stack([x + 1000 * copy for copy in range(n_copies)])
    valid = [torch.arange(4 * i, 4 * i + 4) for i in range(n_copies - 1)]
    everything = set(range(n))
    train = [torch.tensor(sorted(everything - set(v.tolist()))) for v in valid]
    return Rows(x, weight, [*train, torch.arange(n)], valid)


@pytest.mark.parametrize("is_uniform", [True, False])
def test_taken_rows_are_those_of_plain_indexing(is_uniform):
    rows = make_rows(is_uniform=is_uniform)
    index = torch.tensor([5, 0, 22, 5])
    x, weight = rows.take(index)
    assert torch.equal(x, rows.table.x[index])
    assert torch.equal(weight, rows.weight[index])


@pytest.mark.parametrize("is_uniform", [True, False])
def test_taken_rows_of_folds_are_those_of_plain_indexing(is_uniform):
    rows = make_rows(n_copies=3, is_uniform=is_uniform)
    x = torch.randn(rows.table.x.shape, generator=torch.Generator().manual_seed(0))
    rows = Rows(x, rows.weight, rows.train, rows.valid)
    index = torch.tensor([[5, 0, 22, 5], [1, 2, 3, 4], [9, 8, 7, 6]])
    x, weight = rows.take(index)
    expected = torch.stack([rows.table.x[c][index[c]] for c in range(3)])
    assert torch.equal(x, expected)
    assert torch.equal(weight, rows.weight[index])


def test_weights_are_uniform_if_all_are_equal():
    assert make_rows().is_uniform
    assert not make_rows(is_uniform=False).is_uniform
    equal = Rows(torch.zeros(4, 2), torch.full((4,), 0.3), [torch.arange(4)], [])
    assert equal.is_uniform
    unlike = Rows(
        torch.zeros(3, 2), torch.tensor([1, 1, 1 + 1e-6]), [torch.arange(3)], []
    )
    assert not unlike.is_uniform


@pytest.mark.parametrize("batch_size", [1, 5, 8, 22, 23, 100])
def test_a_pass_has_every_row_and_a_few_twice(batch_size):
    rows = make_rows(is_uniform=False)
    batches = list(TrainBatches(rows, batch_size))
    (size,) = {len(x) for x, _ in batches}
    assert size <= batch_size
    x = torch.cat([x for x, _ in batches])
    weight = torch.cat([weight for _, weight in batches])
    # fewer rows come twice than there are batches, and each twice at most
    assert 0 <= len(x) - 23 < len(batches)
    assert set(x[:, 0].tolist()) == set(range(23))
    assert torch.unique(x[:, 0], return_counts=True)[1].max() <= 2
    assert torch.equal(weight, x[:, 0] + 1)


@pytest.mark.parametrize("batch_size", [1, 5, 8, 100])
def test_a_pass_of_folds_has_rows_of_each_and_a_few_twice(batch_size):
    rows = make_rows(n_copies=3)
    batches = list(TrainBatches(rows, batch_size))
    x = torch.cat([x for x, _ in batches], dim=1)[..., 0]
    assert len({x.shape for x, _ in batches}) == 1
    # as many as the smallest fold has, and what fills the last batch
    assert 0 <= x.shape[1] - len(rows) < len(batches)
    for copy in range(3):
        numbers = (x[copy] - 1000 * copy).tolist()
        assert len(set(numbers)) >= len(rows)
        assert set(numbers) <= set(rows.train[copy].tolist())


def test_passes_are_repeated_until_there_are_enough_steps():
    rows = make_rows()
    assert len(list(TrainBatches(rows, 8))) == 3
    assert len(list(TrainBatches(rows, 8, min_steps=3))) == 3
    batches = list(TrainBatches(rows, 8, min_steps=7))
    assert len(batches) == 9
    first, second = (
        torch.cat([x[:, 0] for x, _ in batches[i : i + 3]]) for i in (0, 3)
    )
    assert set(first.tolist()) == set(second.tolist()) == set(range(23))
    assert first.tolist() != second.tolist()


def test_batches_are_drawn_from_the_seed():
    rows = make_rows()
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            drawn.append([x[:, 0].tolist() for x, _ in TrainBatches(rows, 8)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_held_out_rows_come_in_order_and_folds_without_any_have_no_weight():
    rows = make_rows(n_copies=3, is_uniform=False)
    (x, weight), (last, _) = ValidBatches(rows, 3)
    assert x.shape == (3, 3, 3)
    assert last.shape == (3, 1, 3)
    assert x[:2, :, 0].tolist() == [[0, 1, 2], [1004, 1005, 1006]]
    assert weight.tolist() == [[1, 2, 3], [5, 6, 7], [0, 0, 0]]
    uniform = make_rows(n_copies=3)
    for _, weight in ValidBatches(uniform, 3):
        assert (weight[2] == 0).all()
    # what was taken shares no memory with the weights of the table
    assert (uniform.weight == 1).all()


def test_loaders_of_torch_deliver_the_same_rows():
    rows = make_rows(is_uniform=False)
    x, weight = next(iter(DataLoader(rows, batch_size=6)))
    assert torch.equal(x, rows.table.x[:6])
    assert torch.equal(weight, rows.weight[:6])
    row, its_weight = rows[4]
    assert torch.equal(row, rows.table.x[4])
    assert its_weight == 5


def make_lazy_rows(n=3000, weight=None):
    """Return rows that are read where they are; each tells its number."""
    values = np.arange(n)[:, None] * [1.0, -1.0]
    table = LazyTable(values.__getitem__, values.shape, has_missing=False)
    weight = torch.ones(n) if weight is None else weight
    return Rows(table, weight, [torch.arange(0, n, 2)], [torch.arange(1, n, 2)])


def test_rows_that_are_read_where_they_are_are_those_of_plain_indexing():
    rows = make_lazy_rows(weight=torch.arange(3000) + 1.0)
    index = torch.tensor([5, 0, 22, 5])
    x, weight = rows.take(index)
    assert x.dtype == torch.float32
    assert x.tolist() == [[5, -5], [0, 0], [22, -22], [5, -5]]
    assert weight.tolist() == [6, 1, 23, 6]
    assert torch.equal(rows.table.take(index, 0), x)
    rows.own()
    assert torch.equal(rows.take(index)[0], x)
    assert torch.equal(rows.list_folds()[0][0][index], x)


def test_rows_that_are_read_where_they_are_are_shuffled_by_neighbourhoods(monkeypatch):
    monkeypatch.setattr(_batches, "_BLOCK_ROWS", 10)
    monkeypatch.setattr(_batches, "_WINDOW_BLOCKS", 4)
    rows = make_lazy_rows()
    batches = list(TrainBatches(rows, 40).choose())
    order = torch.cat(batches)
    assert set(order.tolist()) == set(range(0, 3000, 2))
    assert {len(batch) for batch in batches} == {40}
    # the last batch is filled up with the first rows
    assert torch.equal(order[1500:], order[: len(order) - 1500])
    order = order[:1500]
    for window in order.split(40)[:-1]:
        # blocks of the ten rows that lie in twenty numbers, all of them there
        blocks = set((window // 20).tolist())
        assert len(blocks) <= 5
    firsts = torch.stack([b.float().mean() for b in batches])
    # neither in the order of the file nor within windows
    assert abs(np.corrcoef(firsts, np.arange(len(firsts)))[0, 1]) < 0.5
    assert (order[:40].diff() < 0).any()
    again = torch.cat(list(TrainBatches(rows, 40).choose()))
    assert again.tolist() != order.tolist()
