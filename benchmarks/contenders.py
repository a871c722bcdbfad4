"""Contenders of ``speed.py``, by kind of workload.

- ``FIT``: ``fit(X, work, seed)`` trains, and returns the function ``elbo(X)`` of the
  trained model, or None where it has none. ``textbook``, ``skorch`` and ``pythae`` also
  take ``after_epoch``, which is called with that function after every epoch.
- ``MEMBERS``: the same for models of skvae, each with another member than the plain
  one; ``DATA`` has functions that make the rows of those that are not for numbers.
- ``TRANSFORM`` and ``SCORE``: ``prepare(X, work)`` returns what is timed, a function of
  all rows. X has a few rows, enough for a network whose answers are not used.
- ``GRID``: ``search(X, work, seed)`` fits and scores every setting on every fold.
- ``LEVEL``: ``fit(X, work, seed, after_epoch)``; skvae calls it before the first epoch
  too, where it has its linear start.

All train the same network on the same loss with Adam; `skvae default` is the package's
own recipe at equal widths.
"""

import logging
import tempfile
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNet
from skorch.callbacks import Callback
from textbook import VAE, compute_elbo, make_body
from torch.distributions import Bernoulli, Normal
from torch.utils.data import DataLoader, TensorDataset

from skvae import VAETransformer
from skvae.latents import Categorical, Hierarchical
from skvae.latents import Gaussian as GaussianLatent
from skvae.likelihoods import Gaussian
from skvae.networks import Network

# rows of a chunk where a floor is applied rather than trained
_CHUNK = 4096
_SETTINGS = {"lr": [5e-4, 1e-3, 2e-3, 4e-3], "n_components": [2, 3]}


# skvae ------------------------------------------------------------------------------


def make_default(work, seed, **changes):
    """Return the package's default recipe at the workload's widths and epochs."""
    parameters = {
        "hidden_layer_sizes": work.hidden,
        "batch_size": work.batch_size,
        "max_epochs": work.epochs,
        "early_stopping": False,
        "device": "cpu",
        "random_state": seed,
    }
    return VAETransformer(work.n_components, **(parameters | changes))


def make_plain(work, seed, **changes):
    """Return the textbook's model: one normal, unit variance or Bernoulli, Adam."""
    is_binary = work.likelihood == "bernoulli"
    parameters = {
        "activation": "relu",
        "likelihood": "bernoulli" if is_binary else Gaussian(noise=1.0),
        "latent": GaussianLatent(prior="standard"),
        "init": "random",
        "standardize": False,
        "optimizer": "adam",
        "lr": work.lr,
        "weight_decay": 0.0,
        "n_draws": 1,
    }
    return make_default(work, seed, **(parameters | changes))


class OwnNetwork(Network):
    """A user's network of torch modules, whose gradient comes from autograd."""

    def __init__(self, hidden=(64,)):
        self.hidden = hidden

    def make_encoder(self, n_inputs, n_copies=None):
        """Return the encoder's body and the number of its outputs."""
        return make_body(n_inputs, self.hidden), self.hidden[-1]

    def make_decoder(self, n_inputs, n_copies=None):
        """Return the decoder's body and the number of its outputs."""
        return make_body(n_inputs, self.hidden[::-1]), self.hidden[0]


def fit_plain(X, work, seed, **changes):
    """Fit skvae's plain model."""
    vae = make_plain(work, seed, **changes).fit(X)

    def encode(x):
        mu, std = map(torch.from_numpy, vae.posterior(x.numpy()))
        return mu, 2 * std.log()

    def decode(z):
        mean = torch.as_tensor(vae.inverse_transform(z.numpy())).float()
        if work.likelihood == "bernoulli":
            return Bernoulli(probs=mean)
        return Normal(mean, 1.0)

    return partial(compute_elbo, encode, decode)


def fit_own_module(X, work, seed):
    """Fit skvae's plain model with a user's own network."""
    return fit_plain(X, work, seed, network=OwnNetwork(work.hidden))


def fit_default(X, work, seed):
    """Fit skvae's default recipe."""
    # 'auto' is a density of numbers for 0 and 1 that do not come as booleans
    likelihood = "bernoulli" if work.likelihood == "bernoulli" else "auto"
    # the prior is learned: only `score` knows it, and 16 draws cost no training
    return make_default(work, seed, likelihood=likelihood, n_draws=16).fit(X).score


# plain torch and skorch -------------------------------------------------------------


def fit_textbook(X, work, seed, after_epoch=None):
    """Fit the loop of any tutorial."""
    net = VAE(X.shape[1], work)
    optimizer = torch.optim.Adam(net.parameters(), lr=work.lr)
    rows = TensorDataset(torch.from_numpy(X))
    loader = DataLoader(rows, batch_size=work.batch_size, shuffle=True)
    elbo = partial(compute_elbo, net.encode, net.decode)
    for _ in range(work.epochs):
        for (x,) in loader:
            optimizer.zero_grad()
            net.compute_loss(x, *net(x)).backward()
            optimizer.step()
        if after_epoch is not None:
            after_epoch(elbo)
    return elbo


class SkorchVAE(NeuralNet):
    """The textbook's network in plain skorch; only the loss is its own."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the mean of the negative ELBO."""
        return self.module_.compute_loss(X, *y_pred)


class AfterEpoch(Callback):
    """Call a function of the module's ELBO after every epoch."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, net, **kwargs):
        """Call the function."""
        self.function(get_skorch_elbo(net))


def get_skorch_elbo(net):
    """Return the function ELBO of rows."""
    return partial(compute_elbo, net.module_.encode, net.module_.decode)


def make_skorch(n_features, work, after_epoch=None):
    """Return the net, with skorch's own iterators and callbacks."""
    return SkorchVAE(
        VAE,
        module__n_features=n_features,
        module__work=work,
        criterion=torch.nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=work.lr,
        batch_size=work.batch_size,
        max_epochs=work.epochs,
        train_split=None,
        callbacks=None if after_epoch is None else [AfterEpoch(after_epoch)],
        verbose=0,
    )


def fit_skorch(X, work, seed, after_epoch=None):
    """Fit plain skorch."""
    return get_skorch_elbo(make_skorch(X.shape[1], work, after_epoch).fit(X))


# peers ------------------------------------------------------------------------------


def make_pythae(n_features, work):
    """Return pythae's VAE with an encoder and a decoder of the same widths."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    net = VAE(n_features, replace(work, learns_noise=False))

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.body, self.mu, self.logvar = net.encoder, net.mu, net.logvar

        def forward(self, x):
            h = self.body(x)
            return ModelOutput(embedding=self.mu(h), log_covariance=self.logvar(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.body = net.decoder

        def forward(self, z):
            raw = self.body(z)
            return ModelOutput(reconstruction=raw.sigmoid() if net.is_binary else raw)

    config = VAEConfig(
        input_dim=(n_features,),
        latent_dim=work.n_components,
        # "mse" is half the squared error summed over columns: unit variance
        reconstruction_loss="bce" if net.is_binary else "mse",
    )
    return PythaeVAE(config, Encoder(), Decoder()), net


def fit_pythae(X, work, seed, after_epoch=None):
    """Fit pythae through its pipeline; it writes the model to a folder."""
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    model, net = make_pythae(X.shape[1], work)
    elbo = partial(compute_elbo, net.encode, net.decode)

    class Watch(TrainingCallback):
        def on_epoch_end(self, training_config, **kwargs):
            after_epoch(elbo)

    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=work.epochs,
            learning_rate=work.lr,
            per_device_train_batch_size=work.batch_size,
            no_cuda=True,
            seed=seed,
        )
        TrainingPipeline(model, config)(
            X, callbacks=None if after_epoch is None else [Watch()]
        )
    return elbo


def make_pyod(n_features, work, seed=0):
    """Return PyOD's VAE; it has squared error alone, for binary columns too.

    Its reconstruction loss is the mean over rows and columns, and its KL term is cut at
    a capacity of 0: the weight and the capacity below make the loss 2 / n_features
    times the textbook's.
    """
    from pyod.models.vae import VAE as PyodVAE

    return PyodVAE(
        preprocessing=False,
        lr=work.lr,
        epoch_num=work.epochs,
        batch_size=work.batch_size,
        device=torch.device("cpu"),
        random_state=seed,
        verbose=0,
        optimizer_params={},
        beta=2 / n_features,
        capacity=np.inf,
        encoder_neuron_list=list(work.hidden),
        decoder_neuron_list=list(work.hidden[::-1]),
        latent_dim=work.n_components,
        dropout_rate=0.0,
    )


def fit_pyod(X, work, seed):
    """Fit PyOD; it scores the rows at the end, and leaves out an epoch's last few."""
    net = make_pyod(X.shape[1], work, seed).fit(X).model
    if work.likelihood == "bernoulli":
        return None
    return partial(compute_elbo, net.encode, lambda z: Normal(net.decode(z), 1.0))


# for scale --------------------------------------------------------------------------


def fit_mlp(X, work, seed):
    """Fit scikit-learn's network from X to X: no draws, no KL term."""
    MLPRegressor(
        hidden_layer_sizes=(*work.hidden, work.n_components, *work.hidden[::-1]),
        batch_size=work.batch_size,
        learning_rate_init=work.lr,
        max_iter=work.epochs,
        n_iter_no_change=work.epochs + 1,
        alpha=0.0,
        random_state=seed,
    ).fit(X, X)


def fit_pca(X, work, seed):
    """Fit PCA."""
    PCA(work.n_components, random_state=seed).fit(X)


class Products:
    """The matrix products of layers at their real shapes, and nothing else.

    All is allocated beforehand; ``shapes`` are those of the weights.
    """

    def __init__(
        self, shapes, n_samples, batch_size, trains=False, dtype=torch.float32
    ):
        self.trains = trains
        n_batches, n_rest = divmod(n_samples, batch_size)
        full = self._make_layers(shapes, batch_size, dtype)
        self.batches = [full] * n_batches
        if n_rest:
            self.batches.append(self._make_layers(shapes, n_rest, dtype))

    def _make_layers(self, shapes, n_rows, dtype):
        def fill(*shape):
            return torch.full(shape, 0.5, dtype=dtype)

        layers = []
        for n_inputs, n_outputs in shapes:
            weight, x, y = (
                (n_inputs, n_outputs),
                (n_rows, n_inputs),
                (n_rows, n_outputs),
            )
            grads = (fill(*weight), fill(*x)) if self.trains else ()
            layers.append((fill(*weight), fill(*x), fill(*y), *grads))
        return layers

    def run(self):
        """Do the products of one epoch."""
        for layers in self.batches:
            for weight, x, y, *_ in layers:
                torch.mm(x, weight, out=y)
            if self.trains:
                self._run_backward(layers)

    @staticmethod
    def _run_backward(layers):
        for i, (weight, x, y, weight_grad, x_grad) in enumerate(layers):
            torch.mm(x.T, y, out=weight_grad)
            # the gradient of the rows themselves is not needed
            if i:
                torch.mm(y, weight.T, out=x_grad)


def get_shapes(n_features, work, n_heads=2, decodes=True):
    """Return the shapes of the weights; the heads of the encoder are one product."""
    hidden = (n_features, *work.hidden)
    encoder = [*pairwise(hidden)]
    encoder.append((hidden[-1], n_heads * work.n_components))
    widths = (work.n_components, *hidden[::-1])
    return encoder + [*pairwise(widths)] * decodes


def fit_floor(X, work, seed):
    """Do the matrix products of a fit."""
    shapes = get_shapes(X.shape[1], work)
    products = Products(shapes, len(X), work.batch_size, trains=True)
    for _ in range(work.epochs):
        products.run()


FIT = {
    "skvae": fit_plain,
    "skvae default": fit_default,
    "skvae, own module": fit_own_module,
    "textbook": fit_textbook,
    "skorch": fit_skorch,
    "pythae": fit_pythae,
    "pyod": fit_pyod,
    "mlp": fit_mlp,
    "pca": fit_pca,
    "floor": fit_floor,
}


# members ----------------------------------------------------------------------------


def fit_member(X, work, seed, **changes):
    """Fit skvae's plain model with another member."""
    return make_plain(work, seed, **changes, n_draws=16).fit(X).score


def make_counts(X):
    """Return counts, several hundred at most."""
    return np.floor(np.exp(X.clip(-3, 4) + 1)).astype("float32")


def make_levels(X):
    """Return five ordered levels."""
    return np.digitize(X, [-1, -0.3, 0.3, 1]).astype("float32")


_CHANGES = {
    "skvae, hierarchical latent": {"latent": Hierarchical()},
    "skvae, categorical latent": {"latent": Categorical()},
    "skvae, vamp prior": {"latent": GaussianLatent(prior="vamp")},
    "skvae, full covariance": {"latent": GaussianLatent("standard", covariance="full")},
    "skvae, low-rank noise": {"likelihood": Gaussian(noise="low_rank")},
    "skvae, negative binomial": {"likelihood": "negative_binomial"},
    "skvae, ordinal": {"likelihood": "ordinal"},
}
MEMBERS = {"skvae": fit_plain, "skvae, own module": fit_own_module}
MEMBERS |= {name: partial(fit_member, **new) for name, new in _CHANGES.items()}
DATA = {"skvae, negative binomial": make_counts, "skvae, ordinal": make_levels}


# transform and score ----------------------------------------------------------------


def prepare_torch_transform(X, work):
    """Return one call of the network on the whole array."""
    net = VAE(X.shape[1], work)
    return torch.no_grad()(lambda X: net.mu(net.encoder(torch.from_numpy(X))).numpy())


def prepare_skorch_transform(X, work):
    """Return skorch's `forward`, at its default batch size; it decodes as well."""
    net = make_skorch(X.shape[1], replace(work, batch_size=128)).initialize()
    return lambda X: net.forward(X)[1]


def prepare_pythae_transform(X, work):
    """Return pythae's `embed`; it draws and decodes as well."""
    model, _ = make_pythae(X.shape[1], work)
    return torch.no_grad()(lambda X: model.embed(torch.from_numpy(X)).numpy())


def prepare_floor_transform(X, work):
    """Return the matrix products of an encoder's mean."""
    shapes = get_shapes(X.shape[1], work, n_heads=1, decodes=False)
    products = Products(shapes, work.n_samples, _CHUNK)
    return lambda X: products.run()


TRANSFORM = {
    "skvae": lambda X, work: make_plain(work, 0).fit(X).transform,
    "torch": prepare_torch_transform,
    "skorch": prepare_skorch_transform,
    "pythae": prepare_pythae_transform,
    "pca": lambda X, work: PCA(work.n_components).fit(X).transform,
    "floor": prepare_floor_transform,
}


def prepare_torch_score(X, work):
    """Return one call of the network on the whole array."""
    net = VAE(X.shape[1], work)

    @torch.no_grad()
    def score_samples(X):
        x = torch.from_numpy(X)
        return net.compute_elbo_samples(x, *net(x)).numpy()

    return score_samples


def prepare_floor_score(X, work, dtype=torch.float32):
    """Return the matrix products of encoder and decoder."""
    shapes = get_shapes(X.shape[1], work)
    products = Products(shapes, work.n_samples, _CHUNK, dtype=dtype)
    return lambda X: products.run()


SCORE = {
    "skvae": lambda X, work: make_plain(work, 0).fit(X).score_samples,
    "torch": prepare_torch_score,
    "pyod": lambda X, work: make_pyod(X.shape[1], work).fit(X).decision_function,
    "floor": prepare_floor_score,
    "floor, float64": partial(prepare_floor_score, dtype=torch.float64),
}


# grid search ------------------------------------------------------------------------


def search_skvae(X, work, seed, n_jobs=1):
    """Search with scikit-learn's GridSearchCV."""
    GridSearchCV(
        make_plain(work, seed),
        _SETTINGS,
        cv=KFold(3),
        refit=False,
        n_jobs=n_jobs,
        error_score="raise",
    ).fit(X)


def search_loop(X, work, seed, fit):
    """Fit in a plain loop over settings and folds, and score by one draw."""
    for setting in ParameterGrid(_SETTINGS):
        for train, test in KFold(3).split(X):
            fit(X[train], replace(work, **setting), seed)(X[test], n_draws=1)


GRID = {
    "skvae": search_skvae,
    "skvae, n_jobs=2": partial(search_skvae, n_jobs=2),
    "skvae, n_jobs=2, cold": partial(search_skvae, n_jobs=2),
    "textbook": partial(search_loop, fit=fit_textbook),
    "skorch": partial(search_loop, fit=fit_skorch),
    "pythae": partial(search_loop, fit=fit_pythae),
}


# time to a level --------------------------------------------------------------------


class Watch(AfterEpoch):
    """Call a function of the ELBO of a net of skvae, the linear start included."""

    def on_train_begin(self, net, **kwargs):
        """Call the function."""
        self.function(partial(compute_net_elbo, net))

    def on_epoch_end(self, net, **kwargs):
        """Call the function."""
        self.function(partial(compute_net_elbo, net))


@torch.no_grad()
def compute_net_elbo(net, X, n_draws=16):
    """Return the mean ELBO of rows by a net of skvae in training, nats."""
    module = net.module_.select(-1).eval()
    units = net.units_ if hasattr(net, "units_") else net.start_
    x = torch.as_tensor((X - units.shift) / units.unit)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((n_draws, len(x), module.n_components), generator=generator)
    posterior = module.encode(x)
    z = module.latent.draw(posterior, noise.to(x))
    log_weights = module.decode(z).log_prob(x).sum(-1) + module.prior().log_prob(z)
    elbo = (log_weights - posterior.log_prob(z)).mean()
    return float(elbo) - float(np.log(units.unit).sum())


def race_skvae(X, work, seed, after_epoch, **changes):
    """Fit the package's own recipe; its linear start is on the clock."""
    make_default(
        work,
        seed,
        early_stopping=True,
        standardize=False,
        net_callbacks=[Watch(after_epoch)],
        **changes,
    ).fit(X)


LEVEL = {
    "skvae default": race_skvae,
    "skvae, one Gaussian": partial(
        race_skvae, likelihood="gaussian", latent=GaussianLatent(prior="standard")
    ),
    "textbook": fit_textbook,
    "skorch": fit_skorch,
    "pythae": fit_pythae,
}
CONTENDERS = {
    "fit": FIT,
    "members": MEMBERS,
    "transform": TRANSFORM,
    "score": SCORE,
    "grid": GRID,
    "level": LEVEL,
}
