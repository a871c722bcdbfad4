"""Combinations of parameters that are far fewer than all, for long products."""

import itertools
import math
import random


def cover(*factors, strength=3, n_tries=20):
    """Return combinations in which any ``strength`` factors take all their values.

    Every group of values, one of each of so many factors, is in one combination at
    least: an error is found that shows wherever these values meet.

    Parameters
    ----------
    *factors : iterable
        Values of each, hashable.
    strength : int, default=3
    n_tries : int, default=20
        Combinations to choose the next from: the one with most groups that are new.

    Returns
    -------
    list of tuple
        The same in every run, in the order of the product.
    """
    factors = [list(values) for values in factors]
    sizes = [range(len(values)) for values in factors]
    chosen = list(itertools.combinations(range(len(factors)), strength))
    generator = random.Random(0)

    def list_groups(row):
        return {(places, *(row[i] for i in places)) for places in chosen}

    def draw(places, values):
        row = [generator.choice(size) for size in sizes]
        for place, value in zip(places, values, strict=True):
            row[place] = value
        return tuple(row)

    # the largest products first: other groups come along with them
    chosen.sort(key=lambda places: -math.prod(len(sizes[i]) for i in places))
    seen, rows = set(), []
    for places in chosen:
        for values in itertools.product(*(sizes[i] for i in places)):
            if (places, *values) in seen:
                continue
            tries = (draw(places, values) for _ in range(n_tries))
            row = max(tries, key=lambda row: len(list_groups(row) - seen))
            seen |= list_groups(row)
            rows.append(row)
    return [
        tuple(values[i] for values, i in zip(factors, row, strict=True))
        for row in sorted(rows)
    ]
