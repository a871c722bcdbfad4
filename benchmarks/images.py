"""Negative log-likelihoods of binary images beside those that papers report.

``python benchmarks/images.py`` trains the models named on the command line (all of
them by default; ``--epochs`` shortens their schedules, but not those of the models from
which they go on) and prints test NLLs by importance sampling, nats per image. Data come
from the folder that `tables.find_folder` returns.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import tables
import torch
from _run import Axis, main, print_groups, timed
from skorch.callbacks import Callback, LRScheduler

from skvae import VAETransformer, latents
from skvae.callbacks import FreshBinarization

MLP = {"hidden_layer_sizes": (200, 200), "activation": "tanh", "n_components": 50}
WIDE = {"hidden_layer_sizes": (400,), "activation": "relu", "n_components": 20}
DEEP = {
    **MLP,
    "n_components": 150,
    "latent": latents.Hierarchical(
        (100, 50), hidden_layer_sizes=(100, 100), inference="bottom_up"
    ),
}
VAMP = {
    "hidden_layer_sizes": (300, 300),
    "n_components": 40,
    "latent": latents.Gaussian(prior="vamp", n_mixture=500),
}
# the package's own start and activation, and smaller batches, as in the paper
OWN = {"init": "linear", "activation": "silu", "batch_size": 20}
LINEAR = {**WIDE, **OWN, "latent": latents.Gaussian(prior="mixture")}
LINEAR_DEEPER = {**LINEAR, "hidden_layer_sizes": (300, 300), "n_components": 40}
DEEP_OWN = {**DEEP, **OWN, "batch_size": 50}
# a second schedule, from the weights of a first one: larger batches have less noise
FURTHER = {"batch_size": 100, "lr": 1e-3}
IWAE_5 = {"objective": ("iwae", 5)}
# many draws of a few rows are a large batch
IWAE_50 = {"objective": ("iwae", 50), "lr": 5e-4}


class Model(NamedTuple):
    """What is trained, for how long, and what a paper reached."""

    data: str
    published: float | None
    epochs: int
    parameters: dict
    # the model whose weights training goes on from
    after: str | None = None


MODELS = {
    # Burda et al. (2016): 784-200-200-50
    "VAE": Model("dynamic", 86.76, 400, MLP),
    "IWAE 5": Model("dynamic", 85.54, 150, {**MLP, **IWAE_5}),
    "VAE, own start": Model("dynamic", 86.76, 200, {**MLP, **OWN}),
    "VAE, further": Model(
        "dynamic", 86.76, 400, {**MLP, **OWN, **FURTHER}, "VAE, own start"
    ),
    "IWAE 5, further": Model(
        "dynamic", 85.54, 100, {**MLP, **OWN, **FURTHER, **IWAE_5}, "VAE, further"
    ),
    "IWAE 50, further": Model(
        "dynamic", 84.78, 16, {**MLP, **OWN, **IWAE_50}, "IWAE 5, further"
    ),
    "IWAE 50, further twice": Model(
        "dynamic", 84.78, 8, {**MLP, **OWN, **IWAE_50, "lr": 2e-4}, "IWAE 50, further"
    ),
    # and two layers of 100 and 50
    "two layers, VAE, own start": Model("dynamic", 85.33, 80, DEEP_OWN),
    "two layers, VAE, further": Model(
        "dynamic", 85.33, 100, {**DEEP_OWN, **FURTHER}, "two layers, VAE, own start"
    ),
    "two layers, IWAE 5, further": Model(
        "dynamic",
        83.89,
        30,
        {**DEEP_OWN, **FURTHER, **IWAE_5},
        "two layers, VAE, further",
    ),
    "two layers, IWAE 50, further": Model(
        "dynamic", 82.90, 10, {**DEEP_OWN, **IWAE_50}, "two layers, IWAE 5, further"
    ),
    "two layers, IWAE 50, further twice": Model(
        "dynamic",
        82.90,
        3,
        {**DEEP_OWN, **IWAE_50, "lr": 3e-4},
        "two layers, IWAE 50, further",
    ),
    # Chadebec et al. (2022): 400 units
    "VAE (400)": Model("static", 89.78, 100, WIDE),
    "linear start, mixture prior (400)": Model("static", 89.78, 150, LINEAR),
    "IWAE 5 (400), further": Model(
        "static",
        None,
        100,
        {**LINEAR, **FURTHER, **IWAE_5},
        "linear start, mixture prior (400)",
    ),
    "IWAE 50 (400), further": Model(
        "static", 86.82, 8, {**LINEAR, **IWAE_50}, "IWAE 5 (400), further"
    ),
    # Tomczak & Welling (2018)
    "VampPrior 500": Model("static", 85.57, 50, VAMP),
    "linear start, mixture prior (300, 300)": Model(
        "static", 85.57, 150, LINEAR_DEEPER
    ),
}


# what readers of a picture know without the table
TITLES = {
    "VAE, further": "one layer of latents, trained with one draw",
    "two layers, IWAE 50, further": "two layers of latents, trained with 50 draws",
    "linear start, mixture prior (300, 300)": "the package's start and prior",
}


@cache
def load(kind):
    """Return grey or binary training images, and binary test images."""
    folder = tables.find_folder() / "images"
    if kind == "static":
        with np.load(folder / "mnist_static_binary.npz") as data:
            parts = [data[f"X_{part}"] for part in ("train", "valid", "test")]
        train, valid, test = (np.unpackbits(p, axis=1, count=784) for p in parts)
        return train.astype(np.float32), valid, test.astype(np.float32)
    with np.load(folder / "mnist.npz") as data:
        train, test = data["X_train"], data["X_test"]
    train = train.reshape(len(train), -1).astype(np.float32) / 255
    grey = test.reshape(len(test), -1) / 255
    test = np.random.default_rng(0).random(grey.shape) < grey
    return train, None, test.astype(np.float32)


def make_objective(given):
    """Return an objective from its name and number of draws."""
    from skvae.objectives import OBJECTIVES

    name, n_draws = given
    return OBJECTIVES[name](n_draws=n_draws)


class CopyWeights(Callback):
    """Begin training at the weights of a module."""

    def __init__(self, module):
        self.module = module

    def on_epoch_begin(self, net, **kwargs):
        # by now a prior that starts at draws of the linear model has done so
        if len(net.history) == 1:
            net.module_.load_state_dict(self.module.state_dict())


def fit(kind, epochs, parameters, after=None, seed=0):
    """Return a model fitted to the training images, and the seconds it took."""
    train, valid, _ = load(kind)
    parameters = dict(parameters)
    if "objective" in parameters:
        parameters["objective"] = make_objective(parameters["objective"])
    rate = LRScheduler(
        torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs, eta_min=2e-5
    )
    callbacks = [("rate", rate)]
    if after is not None:
        callbacks.append(("weights", CopyWeights(after.net_.module_)))
    X = train
    if kind == "dynamic":
        X = (np.random.default_rng(seed).random(train.shape) < train).astype(np.float32)
        callbacks.append(("pixels", FreshBinarization(train)))
    model = VAETransformer(
        likelihood="bernoulli",
        latent=parameters.pop("latent", latents.Gaussian(prior="standard")),
        init=parameters.pop("init", "random"),
        max_epochs=epochs,
        batch_size=parameters.pop("batch_size", 100),
        lr=parameters.pop("lr", 1e-3),
        optimizer="adam",
        weight_decay=0.0,
        # a model does not overfit images that are drawn anew
        early_stopping=valid is not None,
        n_iter_no_change=20,
        net_callbacks=callbacks,
        random_state=seed,
        **parameters,
    )
    X_val = None if valid is None else valid.astype(np.float32)[::4]
    return timed(model.fit, X, X_val=X_val)


@cache
def get(name, epochs, folder):
    """Return a model and its seconds, from the folder if it is there."""
    path = folder and Path(folder) / f"{name}, {epochs} epochs.joblib"
    if path and path.exists():
        return joblib.load(path)
    given, after = MODELS[name], None
    if given.after is not None:
        after, _ = get(given.after, MODELS[given.after].epochs, folder)
    model, seconds = fit(given.data, epochs, given.parameters, after)
    if path:
        joblib.dump((model, seconds), path)
    return model, seconds


def score(model, kind, n_images, n_draws):
    """Return ELBO and NLL of test images, and the standard error of the NLL.

    The importance-weighted bound of few draws is that of all test images; what more
    draws add to it is the mean over `n_images` of them, spread evenly: that varies far
    less from image to image than the evidence does.
    """
    _, _, test = load(kind)
    bound = model.score_samples(test, method="evidence", n_draws=50)
    chosen = np.arange(n_images) * len(test) // n_images
    gap = model.score_samples(test[chosen], method="evidence", n_draws=n_draws)
    gap -= bound[chosen]
    nll = -bound.mean() - gap.mean()
    return model.score(test), nll, gap.std() / n_images**0.5


def draw(models, path, n_images=20):
    """Save a picture with a line of mean images, drawn from each model."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(models), 1, figsize=(10, 1.1 * len(models)))
    title = f"{n_images} new digits drawn from each of {len(models)} models of MNIST"
    figure.suptitle(title, fontsize=10, x=0.015, y=0.99, ha="left")
    for axis, (name, model) in zip(np.atleast_1d(axes), models.items(), strict=True):
        images = model.sample(n_images, random_state=0, mean=True)
        axis.imshow(np.hstack(images.reshape(-1, 28, 28)), cmap="gray_r")
        words = f"{name}: {TITLES[name]}" if name in TITLES else name
        axis.set_title(words, fontsize=8, loc="left")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def measure(options, model):
    """Return ELBO and NLL of one model."""
    data, published, epochs, _, _ = MODELS[model]
    epochs = options.epochs or epochs
    vae, seconds = get(model, epochs, options.keep)
    elbo, nll, error = score(vae, data, options.images, options.draws)
    record = {"MNIST": data, "published": published or ""}
    record |= {"NLL": f"{nll:.2f} ± {error:.2f}", "ELBO": elbo}
    return record | {"epochs": epochs, "minutes": seconds / 60}


def report(records, options):
    """Print one line a model, and draw them if asked."""
    cells = {"published": "", "NLL": "", "ELBO": ".2f", "epochs": ".0f"}
    print_groups(records, ["model", "MNIST"], cells | {"minutes": ".0f"})
    if options.picture:
        epochs = {record["model"]: record["epochs"] for record in records}
        fitted = {name: get(name, n, options.keep)[0] for name, n in epochs.items()}
        draw(fitted, options.picture)


AXES = [Axis("model", "models", MODELS, MODELS)]
OPTIONS = {
    "--epochs": {"type": int, "help": "instead of its own, of each model named"},
    "--images": {"type": int, "default": 1000, "help": "whose evidence is sampled"},
    "--draws": {"type": int, "default": 5_000},
    "--keep": {"help": "folder for the fitted models, used again"},
    "--picture": {"help": "file for a picture of draws"},
}


if __name__ == "__main__":
    main(__doc__, AXES, measure, report, options=OPTIONS, n_threads=None)
