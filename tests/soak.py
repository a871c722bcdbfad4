"""Memory over hours of fits, scores and streams.

``python tests/soak.py --seconds 7200`` fits small models in one process, scores and
draws with them, and carries on two streams. Its resident memory is noted after every
round, and the median of the last tenth is compared with that of the second: it should
not have grown by more than a hundredth.
"""

import argparse
import gc
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from skvae import VAEOutlierDetector, VAETransformer
from skvae.datasets import make_factors

# what the first rounds load and cache is not growth
_TENTHS = 10


def read_memory():
    """Return the resident memory of this process, in bytes; Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def run_round(streams, table, gaps, seed):
    """Fit, score, draw and stream once."""
    params = {"hidden_layer_sizes": (16,), "max_epochs": 3, "random_state": seed}
    for cls in (VAETransformer, VAEOutlierDetector):
        model = cls(2, **params).fit(gaps if seed % 2 else table)
        model.score_samples(table, "evidence")
        model.transform(table[: 1 + seed % len(table)])
        model.impute(gaps, n_draws=8)
        model.sample(50, random_state=seed)
    for stream in streams:
        stream.partial_fit(table)
        stream.score_samples(table[:1])


def main():
    """Run rounds until the time is over, and print the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    end = time.time() + parser.parse_args().seconds
    table, _ = make_factors(200, 6, random_state=0)
    gaps = np.where(np.random.default_rng(0).random(table.shape) < 0.1, np.nan, table)
    streams = [VAETransformer(2, random_state=0), VAEOutlierDetector(2, random_state=0)]
    memory = []
    while time.time() < end or len(memory) < _TENTHS:
        run_round(streams, table, gaps, len(memory))
        gc.collect()
        memory.append(read_memory())
    tenth = len(memory) // _TENTHS
    early = np.median(memory[tenth : 2 * tenth]) / 2**20
    late = np.median(memory[-tenth:]) / 2**20
    growth = late / early - 1
    print(f"{len(memory)} rounds: {early:.1f} MiB early, {late:.1f} MiB late")
    print(f"growth {growth:+.2%}")
    return int(growth > 0.01)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # of few epochs and rows: memory is what is looked at
    warnings.simplefilter("ignore")
    sys.exit(main())
