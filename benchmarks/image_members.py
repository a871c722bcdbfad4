"""Members of the family side by side on four sets of images.

``python benchmarks/image_members.py`` prints, for each set, the held-out NLL by
importance sampling in nats per image (binary pixels) or bits per dimension (grey and
coloured ones). All share one budget of epochs, ``--epochs``; data come from the folder
that `tables.find_folder` returns.
"""

from functools import cache

import numpy as np
import tables
from _run import Axis, main, timed

from skvae import VAETransformer
from skvae.latents import Gaussian, Hierarchical
from skvae.likelihoods import DiscretizedLogistic
from skvae.likelihoods import Gaussian as Noise
from skvae.metrics import bits_per_dimension

PLAIN = Gaussian(prior="standard")
BINARY = {
    "mlp": {"latent": PLAIN},
    "mlp, mixture prior": {"latent": Gaussian(prior="mixture")},
    "mlp, VampPrior 200": {"latent": Gaussian(prior="vamp", n_mixture=200)},
    "mlp, full covariance": {"latent": Gaussian("standard", covariance="full")},
    "mlp, two layers": {"latent": Hierarchical()},
    "mlp, IWAE 5": {"latent": PLAIN, "objective": "iwae"},
    "mlp, random start": {"latent": PLAIN, "init": "random"},
    "conv": {"latent": PLAIN, "network": "conv"},
}
GREY = {
    "discretized logistic": {"likelihood": DiscretizedLogistic()},
    "discretized logistic, conv": {
        "likelihood": DiscretizedLogistic(),
        "network": "conv",
    },
    "normal": {"likelihood": "gaussian"},
    "normal, low rank": {"likelihood": Noise(noise="low_rank")},
    "mixture of normals": {"likelihood": "gaussian_mixture"},
}


def load_caltech():
    """Return silhouettes, (n, 784) in {0, 1}."""
    with np.load(tables.find_folder() / "images/caltech101_silhouettes28.npz") as data:
        X = data["X"].reshape(len(data["X"]), -1)
        return X[data["train"]], X[data["test"]], (1, 28, 28)


def load_omniglot():
    """Return characters of known drawers and of others, binarised at half."""
    with np.load(tables.find_folder() / "images/omniglot28.npz") as data:
        parts = [data[f"X_{part}"] for part in ("train", "test")]
    return *((p.reshape(len(p), -1) > 127).astype(np.uint8) for p in parts), (1, 28, 28)


def load_frey():
    """Return grey faces, every fifth of them to test."""
    with np.load(tables.find_folder() / "images/frey_faces.npz") as data:
        X = data["X"].reshape(len(data["X"]), -1)
    is_test = np.arange(len(X)) % 5 == 0
    return X[~is_test], X[is_test], (1, 28, 20)


def load_cifar():
    """Return coloured photographs, channels first."""
    with np.load(tables.find_folder() / "images/cifar10_subset.npz") as data:
        parts = [data[f"X_{part}"].transpose(0, 3, 1, 2) for part in ("train", "test")]
    return *(p.reshape(len(p), -1) for p in parts), (3, 32, 32)


SETS = {
    "caltech silhouettes": (load_caltech, BINARY, "bernoulli"),
    "omniglot": (load_omniglot, BINARY, "bernoulli"),
    "frey faces": (load_frey, GREY, None),
    "cifar-10 subset": (load_cifar, GREY, None),
}


@cache
def load(name):
    """Return training and test images and their shape."""
    return SETS[name][0]()


def measure(options, images, member):
    """Return the held-out NLL of one member on one set."""
    _, members, likelihood = SETS[images]
    if member not in members:
        return None
    train, test, shape = load(images)
    n_test = options.test if not options.quick else 20
    test = test[:: max(1, len(test) // n_test)][:n_test]
    train = train[:500] if options.quick else train
    parameters = dict(members[member])
    if likelihood is not None:
        parameters["likelihood"] = likelihood
    parameters = {"network": "mlp", **parameters}
    is_grey = train.max() > 1
    if is_grey and not isinstance(parameters["likelihood"], DiscretizedLogistic):
        # with noise in [0, 1) the density bounds the probability of the pixel from
        # below (Theis, van den Oord & Bethge 2016, eq. 3)
        generator = np.random.default_rng(0)
        train, test = (x + generator.random(x.shape) for x in (train, test))
    if parameters["network"] == "conv":
        parameters["image_shape"] = shape
    vae = VAETransformer(
        options.components, max_epochs=options.epochs, random_state=0, **parameters
    )
    _, seconds = timed(vae.fit, train)
    evidence = vae.score_samples(test, method="evidence", n_draws=200).mean()
    record = {"NLL": -evidence, "unit": "nats", "seconds": seconds}
    if likelihood is None:
        bits = bits_per_dimension(evidence, train.shape[1])
        record |= {"NLL": bits, "unit": "bits/dim"}
    return record


AXES = [
    Axis("images", "sets", SETS, SETS),
    Axis("member", "--members", BINARY | GREY, BINARY | GREY, keeps_all=True),
]
OPTIONS = {
    "--epochs": {"type": int, "default": 20},
    "--components": {"type": int, "default": 20},
    "--test": {"type": int, "default": 500, "help": "images to test on"},
}
TABLE = ["images", "member"], {"NLL": ".2f", "unit": "", "seconds": ".0f"}


if __name__ == "__main__":
    main(__doc__, AXES, measure, TABLE, options=OPTIONS, n_threads=None)
