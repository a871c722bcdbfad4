"""Workloads of ``speed.py``: data, network and training, the same for all contenders.

``mnist`` needs ``images/mnist.npz`` (an array X_train of pixels 0 to 255), and
``level`` the tables that it names, in the folder that ``tables.py`` describes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from tables import find_folder, list_tables


@dataclass(frozen=True)
class Workload:
    """What is fitted or applied, how, and to what.

    ``kind`` names the function of ``measure.py`` that times it; ``parts`` are the
    tables of a workload that has several; ``contenders`` are those that take part, all
    of the kind where it is empty.
    """

    kind: str
    hidden: tuple
    n_components: int
    n_samples: int = 0
    n_features: int = 0
    batch_size: int = 128
    epochs: int = 1
    n_threads: int = 1
    likelihood: str = "gaussian"
    learns_noise: bool = False
    lr: float = 1e-3
    parts: tuple = ("",)
    contenders: tuple = ()

    @property
    def n_steps(self):
        """Steps of training in all."""
        return self.epochs * math.ceil(self.n_samples / self.batch_size)

    def shrink(self):
        """Return a tiny version, to try the code out."""
        return replace(
            self,
            n_samples=min(self.n_samples, max(1500, self.n_samples // 50)),
            epochs=min(self.epochs, 4 if self.kind == "level" else 2),
            parts=self.parts[:1],
        )


_MEDIUM = {"hidden": (128, 64), "n_components": 8, "n_features": 50, "batch_size": 256}
WORKLOADS = {
    "small": Workload("fit", (64,), 2, 5_000, 20, epochs=50),
    "medium": Workload("fit", n_samples=100_000, epochs=3, **_MEDIUM),
    "mnist": Workload(
        "fit", (400,), 20, 60_000, 784, n_threads=2, likelihood="bernoulli"
    ),
    "members": Workload("members", (64,), 2, 5_000, 20, epochs=20),
    # the cost of a row, whatever their number
    **{
        f"rows_{n}": Workload(
            "fit", n_samples=n, epochs=5, contenders=("skvae",), **_MEDIUM
        )
        for n in (10_000, 100_000, 1_000_000)
    },
    "transform": Workload("transform", n_samples=1_000_000, n_threads=2, **_MEDIUM),
    "score": Workload("score", n_samples=200_000, n_threads=2, **_MEDIUM),
    # three folds, so that each fit has 2,000 rows
    "grid": Workload("grid", (64,), 2, 3_000, 20, epochs=20),
    "level": Workload(
        "level",
        (128, 128),
        5,
        epochs=300,
        learns_noise=True,
        parts=("breast_cancer", "u_wine_white", "pendigits", "annthyroid", "satellite"),
    ),
}


def find_parts(name, work):
    """Return the parts of a workload whose data are here, and those that are not."""
    if name == "mnist":
        here = work.parts if _find_mnist().exists() else ()
    else:
        here = [part for part in work.parts if part in ("", *list_tables())]
    return here, [part for part in work.parts if part not in here]


def load_rows(work):
    """Return the rows of a workload without parts, float32."""
    if work.likelihood == "bernoulli":
        with np.load(_find_mnist(), allow_pickle=False) as file:
            pixels = file["X_train"][: work.n_samples]
        return (pixels.reshape(len(pixels), -1) / 255 > 0.5).astype(np.float32)
    return make_curved(work.n_samples, work.n_features)


def make_curved(n_samples, n_features):
    """Return standardised columns, sines and lines of four hidden values plus noise."""
    generator = np.random.default_rng(0)

    def draw(*shape):
        return generator.standard_normal(shape, dtype=np.float32)

    z, half = draw(n_samples, 4), n_features // 2
    X = 0.3 * draw(n_samples, n_features)
    X[:, :half] += np.sin(z @ draw(4, half))
    X[:, half:] += z @ draw(4, n_features - half)
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    return X


def _find_mnist():
    return find_folder() / "images" / "mnist.npz"
