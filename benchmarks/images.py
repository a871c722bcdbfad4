"""Negative log-likelihoods of binary images beside those that papers report.

``python benchmarks/images.py`` trains the models named on the command line (all of
them by default; ``--epochs`` shortens the schedule) and prints test NLLs by importance
sampling, nats per image. Data come from the folder that `tables.find_folder` returns.
"""

import argparse
import time
import warnings
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import tables
import torch
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
LINEAR = {**WIDE, "activation": "silu", "init": "linear"}
LINEAR |= {"latent": latents.Gaussian(prior="mixture")}
DEEPER = {**LINEAR, "hidden_layer_sizes": (300, 300), "n_components": 40}
VAMP = {
    "hidden_layer_sizes": (300, 300),
    "n_components": 40,
    "latent": latents.Gaussian(prior="vamp", n_mixture=500),
}
# the package's own start and activation, and smaller batches, as in the paper
OWN = {"init": "linear", "activation": "silu", "batch_size": 20}
DEEP_OWN = {**DEEP, **OWN, "batch_size": 50}
# trained further from the weights of another model
AFTER = {"after": "VAE, own start", "lr": 5e-4}
DEEP_AFTER = {"after": "two layers, VAE, own start", "lr": 5e-4}
WIDE_AFTER = {
    "after": "linear start, mixture prior (400), batches of 20",
    "lr": 5e-4,
    "batch_size": 20,
}
# name: (data, published NLL and its source, epochs, parameters)
MODELS = {
    "VAE": ("dynamic", 86.76, 400, MLP),
    "IWAE 5": ("dynamic", 85.54, 150, {**MLP, "objective": ("iwae", 5)}),
    "IWAE 50": ("dynamic", 84.78, 20, {**MLP, "objective": ("iwae", 50)}),
    "two layers, VAE": ("dynamic", 85.33, 100, DEEP),
    "two layers, IWAE 5": ("dynamic", 83.89, 30, {**DEEP, "objective": ("iwae", 5)}),
    "VAE, own start": ("dynamic", 86.76, 200, {**MLP, **OWN}),
    "IWAE 5, after VAE": (
        "dynamic",
        85.54,
        50,
        {**MLP, **OWN, **AFTER, "objective": ("iwae", 5)},
    ),
    "IWAE 50, after VAE": (
        "dynamic",
        84.78,
        16,
        {**MLP, **OWN, **AFTER, "objective": ("iwae", 50)},
    ),
    "IWAE 50, own start": (
        "dynamic",
        84.78,
        25,
        {**MLP, **OWN, "objective": ("iwae", 50)},
    ),
    "two layers, VAE, own start": ("dynamic", 85.33, 80, DEEP_OWN),
    "two layers, IWAE 50, after VAE": (
        "dynamic",
        82.90,
        4,
        {**DEEP_OWN, **DEEP_AFTER, "objective": ("iwae", 50)},
    ),
    "VAE (400)": ("static", 89.78, 100, WIDE),
    "IWAE 50 (400)": ("static", 86.82, 20, {**WIDE, "objective": ("iwae", 50)}),
    "linear start, mixture prior (400)": ("static", None, 60, LINEAR),
    "linear start, mixture prior (300, 300)": ("static", None, 50, DEEPER),
    "linear start, mixture prior (400), batches of 20": (
        "static",
        89.78,
        150,
        {**LINEAR, "batch_size": 20},
    ),
    "linear start, mixture prior (300, 300), batches of 20": (
        "static",
        85.57,
        150,
        {**DEEPER, "batch_size": 20},
    ),
    "IWAE 50 (400), after VAE": (
        "static",
        86.82,
        4,
        {**LINEAR, **WIDE_AFTER, "objective": ("iwae", 50)},
    ),
    "IWAE 50 (400), linear start, mixture prior": (
        "static",
        86.82,
        8,
        {**LINEAR, "objective": ("iwae", 50)},
    ),
    "VampPrior 500": ("static", 85.57, 40, VAMP),
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

    def on_train_begin(self, net, **kwargs):
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
        # images that are drawn anew cannot be learned by heart
        early_stopping=valid is not None,
        n_iter_no_change=20,
        net_callbacks=callbacks,
        random_state=seed,
        **parameters,
    )
    begin = time.perf_counter()
    model.fit(X, X_val=None if valid is None else valid.astype(np.float32)[::4])
    return model, time.perf_counter() - begin


def get(name, epochs, folder):
    """Return a model and its seconds, from the folder if it is there."""
    path = folder and Path(folder) / f"{name}, {epochs} epochs.joblib"
    if path and path.exists():
        return joblib.load(path)
    kind, _, _, parameters = MODELS[name]
    parameters, after = dict(parameters), None
    if "after" in parameters:
        first = parameters.pop("after")
        after, _ = get(first, MODELS[first][2], folder)
    model, seconds = fit(kind, epochs, parameters, after)
    if path:
        joblib.dump((model, seconds), path)
    return model, seconds


def score(model, kind, n_images, n_draws):
    """Return ELBO and NLL of test images, and the standard error of the NLL.

    The ELBO is that of all test images; what importance sampling adds to it is the mean
    over `n_images` of them, spread evenly: that varies far less from image to image
    than the evidence does.
    """
    _, _, test = load(kind)
    bound = model.score_samples(test)
    chosen = np.arange(n_images) * len(test) // n_images
    gap = model.score_samples(test[chosen], method="evidence", n_draws=n_draws)
    gap -= bound[chosen]
    elbo = bound.mean()
    return elbo, -elbo - gap.mean(), gap.std() / n_images**0.5


def draw(models, path, n_images=20):
    """Save a picture with a line of mean images, drawn from each model."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(models), 1, figsize=(10, 1.1 * len(models)))
    for axis, (name, model) in zip(np.atleast_1d(axes), models.items(), strict=True):
        images = model.sample(n_images, random_state=0, mean=True)
        axis.imshow(np.hstack(images.reshape(-1, 28, 28)), cmap="gray_r")
        axis.set_title(name, fontsize=8, loc="left")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    """Train, score and print one row a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--epochs", type=int, help="instead of each model's own")
    parser.add_argument(
        "--images", type=int, default=1000, help="whose evidence is sampled"
    )
    parser.add_argument("--draws", type=int, default=5_000)
    parser.add_argument("--keep", help="folder for the fitted models, used again")
    parser.add_argument("--picture", help="file for a picture of draws")
    arguments = parser.parse_args()
    fitted = {}
    warnings.simplefilter("ignore")
    print("| model | MNIST | published | NLL | ELBO | epochs | minutes |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name in arguments.models or MODELS:
        kind, published, epochs, _ = MODELS[name]
        epochs = arguments.epochs or epochs
        model, seconds = get(name, epochs, arguments.keep)
        fitted[name] = model
        elbo, nll, error = score(model, kind, arguments.images, arguments.draws)
        print(
            f"| {name} | {kind} | {published or ''} | {nll:.2f} ± {error:.2f} "
            f"| {elbo:.2f} | {epochs} | {seconds / 60:.0f} |",
            flush=True,
        )
    if arguments.picture:
        draw(fitted, arguments.picture)


if __name__ == "__main__":
    main()
