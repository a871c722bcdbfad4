"""VAETransformer: parameters, validation, and the methods a user calls.

torch and skorch are imported at first use, so that ``import skvae`` stays cheap.
"""

import copy
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from ._columns import (
    ColumnTable,
    EncodedRows,
    check_exact_integers,
    check_finite,
    check_observed,
    check_support,
    check_unique_names,
    convert_lists,
    get_index,
    has_typed_columns,
    read_table,
    refuse_times,
)
from ._columns._images import (
    check_image_shape,
    check_n_columns,
    check_pixels,
    flatten_images,
)
from ._parameters._warm_start import check_fixed, copy_fixed
from ._training._fit_data import FittedRows
from ._utils._warnings import (
    EffectiveSampleSizeWarning,
    UnusedComponentsWarning,
    warn_user,
)

# a component that says less than this of a row, on average, is unused
_ACTIVE_NATS = 0.01
# draws, at most, on which 'refined' searches
_MAX_SEARCH_DRAWS = 256
# draws of z on which a filled cell rests
_IMPUTE_DRAWS = 200
# effective draws of z that are enough for any number of rows
_ENOUGH_EFFECTIVE = 100
# rows on which diagnostics are computed
_DIAGNOSTIC_ROWS = 500


class VAETransformer(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    r"""Variational auto-encoder.

    A latent variable model ``x = f(z) + noise`` with neural networks for f and for the
    posterior q(z|x), trained on the evidence lower bound

    .. math:: \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| p(z)).

    Training starts at the closed-form linear model, probabilistic PCA or factor
    analysis, and what the networks add stays only if held-out rows gain by it.
    Everything is deterministic once fitted: `transform` is the posterior mean, and
    scores use one block of noise drawn at `fit`, so that a row's score depends on that
    row alone.

    Read more in the :doc:`user guide </user_guide/vae>`.

    Parameters
    ----------
    n_components : int, default=2
        Size of the latent; may exceed the number of features.
    likelihood : str, Likelihood or dict, default='auto'
        p(x|z): 'auto', a name in `skvae.likelihoods.LIKELIHOODS` such as 'poisson', or
        an instance. 'auto' is 'bernoulli' for boolean columns, 'categorical' for
        categories and strings, and 'gaussian_mixture' for numbers ('gaussian' where
        ``hidden_layer_sizes=()`` makes the model linear); beside columns of other kinds
        that of integers has atoms, see `likelihoods.GaussianMixture`. A dict names it
        by column (by number for arrays); the others are 'auto'. See the :doc:`page on
        tables </user_guide/tables>`.
    latent : {'gaussian', 'categorical', 'hierarchical'} or Latent, default='gaussian'
        Family of q(z|x), and prior p(z).
    network : {'auto', 'mlp', 'conv'} or Network, default='auto'
        Encoder and decoder; see :mod:`skvae.networks` for torch modules of your own.
        'auto' is 'conv' where `image_shape` is set.
    hidden_layer_sizes : tuple of int, default=(128, 128)
        Widths of the hidden layers of an 'mlp' encoder, mirrored in the decoder. ``()``
        is the linear model.
    activation : str, default='silu'
        Name of the activation: 'silu', 'relu', 'tanh', 'gelu', 'elu', 'leaky_relu',
        'softplus' or 'sigmoid'.
    dropout : float, default=0.0
        Share of hidden units left out at each step of training.
    init : {'linear', 'random'}, default='linear'
        Start at the closed-form linear model (a mixture of normals where z is a single
        categorical variable), or at torch's random weights.
    standardize : bool, default=True
        Centre and scale columns inside. Scores stay in the units of X.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of images. X is then ``(n_samples, channels, height,
        width)``, or rows of as many columns, channels first. See the :doc:`page on
        images </user_guide/images>`.
    objective : {'elbo', 'iwae', 'tc', 'mmd'} or Objective, default='elbo'
        What training maximises, see :doc:`objectives </user_guide/objectives>`. `score`
        is the ELBO in any case.
    beta : float, default=1.0
        Weight of the KL term in training.
    kl_warmup : float, default=0.0
        Share of `max_epochs` over which the weight of the KL term rises from 0 to
        `beta`; early stopping waits for its end.
    max_epochs : int, default=100
        Passes over the rows, at most.
    batch_size : int or 'auto', default='auto'
        Rows per step. 'auto' is 64 to 1024, growing with the table, and lets an epoch
        of a small table make at least 32 steps.
    lr : float, default=0.003
        Learning rate.
    optimizer : {'adamw', 'adam', 'nadam', 'radam', 'rmsprop', 'sgd'} or class, \
default='adamw'
        Optimizer, or any class from :mod:`torch.optim`.
    weight_decay : float or 'auto', default='auto'
        Decay of the weight matrices. 'auto' is ``min(1, 300 / n_samples)`` for AdamW, 0
        for others.
    early_stopping : bool, default=True
        Judge by held-out rows, stop when they gain no more, and keep the best weights.
        Below 3,000 rows several splits are trained side by side with one more network
        on all rows, which is the one that is kept.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at least.
    n_iter_no_change : int, default=10
        Epochs without a gain before training stops.
    tol : float, default=1e-4
        Gain in nats that counts.
    n_draws : int, default=32
        Noise vectors in the block that scores share.
    device : str, default='auto'
        'auto' (the first found of cuda, xpu, mps, cpu), 'cpu', 'cuda', 'cuda:1', 'mps',
        'xpu'.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit.
    random_state : int, RandomState or None, default=None
        Seed of everything random. None takes fresh entropy.
    verbose : int, default=0
        1 shows a progress bar with the ELBO.
    net_callbacks : list of skorch callbacks or None, default=None
        Passed on to the net.
    net_params : dict or None, default=None
        Other parameters of `skorch.NeuralNet`, such as
        ``{"optimizer__betas": (0.9, 0.99)}``.

    Attributes
    ----------
    net_ : VAENet
        The fitted `skorch.NeuralNet`.
    columns_ : ColumnTable
        Kind, likelihood, levels, units and share of missing cells of every column; a
        data frame of them is ``columns_.to_frame()``.
    device_ : str
        The device that was used.
    n_features_in_ : int
        Number of features seen by `fit`.
    feature_names_in_ : ndarray of str (n_features_in_,)
        Names of the features, where all are strings.
    n_iter_ : int
        Epochs run.
    history_ : skorch.history.History
        One row an epoch: losses, reconstruction and KL in nats per row.
    loss_curve_ : list of float
        Training loss of every epoch, nats per row in the units of X.
    validation_scores_ : list of float
        Negative loss of the held-out rows, every epoch; empty without any.
    best_validation_score_ : float or None
        The best of them, the start included.
    noise_variance_ : ndarray (n_features_in_,)
        Mean variance of x given z, in the squared units of X.
    kl_per_component_ : ndarray (n_components,)
        What each component says of a row on average, nats.
    n_active_components_ : int
        Components of more than 0.01 nats.

    See Also
    --------
    sklearn.decomposition.PCA : Linear, one noise variance.
    sklearn.decomposition.FactorAnalysis : Linear, one noise variance per feature.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", eqs. 3 and 10.

    Rezende, Mohamed & Wierstra (2014), "Stochastic backpropagation and approximate
    inference in deep generative models", eq. 9.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> X = load_iris().data
    >>> vae = VAETransformer(n_components=2, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    >>> vae.inverse_transform(vae.transform(X)).shape
    (150, 4)
    >>> vae.score_samples(X).shape
    (150,)
    """

    _parameter_constraints = {  # noqa: RUF012
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "likelihood": "no_validation",
        "latent": "no_validation",
        "network": "no_validation",
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [str],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "init": [StrOptions({"linear", "random"})],
        "standardize": ["boolean"],
        "image_shape": [None, tuple, list],
        "objective": "no_validation",
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [str, callable],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_callbacks": [list, None],
        "net_params": [dict, None],
    }

    # scores that there are, and those that are averages over draws, with an error
    _methods = ("elbo", "evidence", "reconstruction", "kl", "refined")
    _averages = ("elbo", "evidence", "reconstruction", "kl")

    def __init__(
        self,
        n_components=2,
        *,
        likelihood="auto",
        latent="gaussian",
        network="auto",
        hidden_layer_sizes=(128, 128),
        activation="silu",
        dropout=0.0,
        init="linear",
        standardize=True,
        image_shape=None,
        objective="elbo",
        beta=1.0,
        kl_warmup=0.0,
        max_epochs=100,
        batch_size="auto",
        lr=0.003,
        optimizer="adamw",
        weight_decay="auto",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        n_draws=32,
        device="auto",
        warm_start=False,
        random_state=None,
        verbose=0,
        net_callbacks=None,
        net_params=None,
    ):
        self.n_components = n_components
        self.likelihood = likelihood
        self.latent = latent
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.init = init
        self.standardize = standardize
        self.image_shape = image_shape
        self.objective = objective
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.n_draws = n_draws
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.net_callbacks = net_callbacks
        self.net_params = net_params

    def set_params(self, **params):
        """Set parameters of the estimator, or of its members.

        Parameters
        ----------
        **params : dict
            By name. ``latent__prior`` is the `prior` of `latent`; a latent, likelihood
            or objective that is a name becomes an instance by it.

        Returns
        -------
        VAETransformer
            The estimator itself.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        if any("__" in name for name in params):
            from ._parameters._members import open_members

            params = params | open_members(self, params)
        return super().set_params(**params)

    # fitting ------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, sample_weight=None, X_val=None):
        """Fit the model to X.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Numbers, booleans and categories, also side by side; strings are categories,
            even if they are digits. Missing cells are NaN, None or ``pandas.NA``. With
            `image_shape` also images (n_samples, channels, height, width), here and
            wherever rows are asked for.
        y : ignored
        sample_weight : array-like (n_samples,), default=None
            Weights of the rows. An integer weight stands for that many equal rows;
            training being stochastic, the fits agree in distribution.
        X_val : array-like or data frame (n_valid, n_features), default=None
            Rows to judge by; none of X is then held out.

        Returns
        -------
        VAETransformer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is out of range.
        TypeError
            If X is sparse, or a column is neither numbers, booleans nor categories.
        """
        goes_on = self.warm_start and hasattr(self, "net_")
        with self._restored_on_failure():
            self._fit(X, sample_weight, X_val, reset=not goes_on)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, *, sample_weight=None):
        """Train on one chunk of rows, in one pass.

        The first call learns levels and units of the columns and the linear start;
        later calls keep them. No rows are held out. See the :doc:`page on streams
        </user_guide/streams>`.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), default=None

        Returns
        -------
        VAETransformer
            The estimator itself.
        """
        with self._restored_on_failure():
            first = not hasattr(self, "net_")
            self._fit(X, sample_weight, None, reset=first, epochs=1)
        return self

    @contextmanager
    def _restored_on_failure(self):
        """Leave the earlier fitted state untouched if anything is raised."""
        before = vars(self).copy()
        try:
            yield
        except BaseException as error:
            # Ctrl-C keeps what training had reached, if it had begun
            if not (isinstance(error, KeyboardInterrupt) and "_finished" in vars(self)):
                vars(self).clear()
                vars(self).update(before)
            raise
        finally:
            vars(self).pop("_finished", None)

    def _fit(self, X, sample_weight, X_val, reset, epochs=None):
        from ._model._fitted import FittedModel
        from ._training import _fit
        from ._utils._seed import make_generator

        image_shape = self.image_shape
        if image_shape is not None:
            image_shape = check_image_shape(image_shape)
        array, kinds = self._validate(X, image_shape, reset=reset, is_fit=True)
        weight = self._validate_weight(sample_weight, array)
        fitted = FittedRows(array, weight, epochs is not None, goes_on=not reset)
        plan = self._make_plan(X, kinds, image_shape)
        if not reset:
            # what it has learned of the columns, such as levels, stays
            plan.likelihood = self.net_.module_.likelihood
        varies = slice(None) if reset else self.columns_.varies
        counted, _ = fitted.select(fitted.counted)
        check_support(plan.likelihood, counted, self._get_names(X), varies)
        fitted.kept = self._choose_rows(fitted, kinds, plan.likelihood)
        array, weight = fitted.get_kept()
        plan.keeps_judges = self._asks_judges(len(array)) and X_val is None
        generator = make_generator(self.random_state)
        columns = None if reset else self.columns_
        if reset:
            columns = self._learn_columns(X, array, weight, kinds, plan, image_shape)
        tables = [array]
        if X_val is not None:
            validation, _ = self._validate(X_val, image_shape, False, kinds=kinds)
            names = self._get_names(X_val)
            check_support(plan.likelihood, validation, names, columns.varies)
            tables.append(validation)
            fitted.validation = validation
        x = EncodedRows(columns, tables)
        n_valid = len(x) - len(array)
        if weight is not None:
            weight = np.concatenate([weight, np.full(n_valid, weight.mean())])
        n_components = plan.n_components
        noise = self._make_noise(n_components, generator) if reset else self._noise
        own_callbacks = self._make_callbacks(array, columns, noise, reset)
        if reset:
            plan.callbacks = [*(self.net_callbacks or []), *own_callbacks]
            net, judges = _fit.train(plan, x, weight, n_valid, generator, epochs)
            fitted.judges = [
                (FittedModel(module, columns.rescaled(s.shift, s.unit), noise), rows)
                for module, s, rows in judges
            ]
            columns = columns.rescaled(net.start_.shift, net.start_.unit)
        else:
            check_fixed(self, self._net_parameters)
            net = _fit.resume(
                copy.deepcopy(self.net_),
                x,
                weight,
                n_valid,
                epochs,
                plan.settings,
                own_callbacks,
                generator,
            )
        self._finish(net, columns, noise, fitted, epochs)

    def _choose_rows(self, fitted, kinds, likelihood):
        """Return which rows training keeps, ``(n_samples,)`` bool."""
        return fitted.counted

    def _asks_judges(self, n_samples):
        """Return whether models that have not seen some of the rows are asked for."""
        return False

    def _conclude(self, fitted):
        """Compute what else a fit leaves behind, before it counts as done."""

    def _make_plan(self, X, kinds, image_shape):
        """Return the members and settings that the parameters stand for, checked."""
        from ._parameters import _members
        from ._parameters._net_params import check_net_params
        from ._training import _fit
        from ._training._net import check_net_callbacks
        from ._utils._device import resolve_device

        check_net_params(self.net_params)
        check_net_callbacks(self.net_callbacks)
        network = _members.resolve_network(
            self.network,
            self.hidden_layer_sizes,
            self.activation,
            self.dropout,
            image_shape,
        )
        likelihood = _members.resolve_likelihood(
            self.likelihood,
            getattr(X, "columns", None),
            kinds,
            network.is_linear,
            self._make_number_likelihood(),
        )
        n_components = self._count_components(len(kinds))
        latent = _members.resolve_latent(self.latent, network.is_linear)
        latent.check_components(n_components)
        return _fit.Plan(
            network=network,
            likelihood=likelihood,
            latent=latent,
            objective=_members.resolve_objective(self.objective),
            init=self.init,
            n_components=n_components,
            device=resolve_device(self.device),
            settings=self._get_settings(),
        )

    def _make_number_likelihood(self):
        """Return what 'auto' is for every column of numbers; None decides by column."""
        return None

    def _count_components(self, n_features):
        """Return the size of the latent."""
        return self.n_components

    def _learn_columns(self, X, array, weight, kinds, plan, image_shape):
        """Return the table of the columns; tell likelihood and network of them."""
        from ._utils._missing import fill_at_random

        n_features = array.shape[1]
        columns = ColumnTable.from_input(
            X,
            array,
            weight,
            plan.likelihood.get_scaled(n_features),
            self.standardize,
            image_shape,
            kinds,
        )
        columns.likelihoods = plan.likelihood.name_columns(n_features)
        plan.likelihood = likelihood = plan.likelihood.restrict(columns.varies)
        if likelihood.learns:
            kept = array if columns.varies.all() else array[:, columns.varies]
            likelihood.adapt(fill_at_random(kept), weight)
        check_pixels(plan.network, likelihood, int(columns.varies.sum()))
        if image_shape is not None:
            plan.network.set_image(image_shape, np.flatnonzero(columns.varies))
        return columns

    def _get_settings(self):
        names = [
            "beta",
            "kl_warmup",
            "max_epochs",
            "batch_size",
            "lr",
            "optimizer",
            "weight_decay",
            "early_stopping",
            "validation_fraction",
            "n_iter_no_change",
            "tol",
            "warm_start",
        ]
        settings = {name: getattr(self, name) for name in names}
        return settings | {"net_params": self.net_params or {}}

    def _make_noise(self, n_components, generator):
        """Draw the block that scores share, and the one that 'refined' searches on."""
        from ._model._evidence import make_noise

        # every step of a search holds the gradient of all its draws
        sizes = self.n_draws, min(max(self.n_draws, 32), _MAX_SEARCH_DRAWS)
        return [make_noise(n, n_components, generator).numpy() for n in sizes]

    def _make_callbacks(self, X, columns, noise, reset):
        from ._training._sklearn_callbacks import EpochTasks
        from .callbacks import ProgressBar

        def get_snapshot(net):
            start = net.start_
            units = columns.rescaled(start.shift, start.unit) if reset else columns
            return {
                "net_": net.make_snapshot(),
                "columns_": units,
                "device_": str(net.device),
                "_noise": noise,
            }

        callbacks = []
        if getattr(self, "_skl_callbacks", None) or hasattr(
            self, "_parent_callback_ctx"
        ):
            callbacks.append(EpochTasks(self, X, get_snapshot))
        if self.verbose:
            callbacks.append(ProgressBar())
        return callbacks

    def _finish(self, net, columns, noise, fitted, epochs):
        """Take over what training reached, and compute what is asked of it."""
        best = dict(net.callbacks_)["best_weights"]
        judged = np.isfinite(best.best_loss_)
        has_trained = any("train_loss" in row for row in net.history)
        if net.diverged_ and not judged and not has_trained:
            raise ValueError(
                "The loss turned non-finite in the first epoch of training and there "
                f"are no earlier weights to keep. Lower lr={self.lr!r}, or look for "
                "extreme values in X."
            )
        self.net_ = net
        self.device_ = str(net.device)
        self.columns_ = columns
        self._noise = noise
        self._net_parameters = copy_fixed(self)
        self.n_iter_ = len(net.history)
        rows = net.history
        self.loss_curve_ = [row["train_loss"] for row in rows if "train_loss" in row]
        self.validation_scores_ = [
            -row["valid_loss"] for row in rows if "valid_loss" in row
        ]
        self.best_validation_score_ = -best.best_loss_ if judged else None
        net.finish(keeps_training=self.warm_start or epochs is not None)
        self._conclude(fitted)
        # from here on an interrupt loses nothing
        self._finished = True
        self._diagnose(fitted.get_kept()[0])
        if net.diverged_:
            warn_user(
                "The loss turned non-finite in training; the best weights so far are "
                f"kept. Lower lr={self.lr!r}, or look for extreme values in X.",
                ConvergenceWarning,
            )
        if net.interrupted_:
            raise KeyboardInterrupt

    def _diagnose(self, X):
        step = max(1, len(X) // _DIAGNOSTIC_ROWS)
        kl, variance = self._get_model().diagnose(X[::step][:_DIAGNOSTIC_ROWS])
        self.kl_per_component_, self.noise_variance_ = kl, variance
        self.n_active_components_ = int((kl > _ACTIVE_NATS).sum())
        unused = len(self.kl_per_component_) - self.n_active_components_
        if unused:
            warn_user(
                f"{unused} of {len(self.kl_per_component_)} components are unused: "
                f"they say less than {_ACTIVE_NATS} nats of a row. A smaller "
                "n_components describes X as well; if all are unused, the columns may "
                "be independent.",
                UnusedComponentsWarning,
            )

    # validation ---------------------------------------------------------------------

    def _validate(self, X, image_shape, reset, is_fit=False, kinds=None):
        """Return X as an array of numbers (n, n_features), and kinds of its columns.

        Categories are codes, and missing cells NaN. `kinds` are those that X must have;
        None takes those of the fit, or learns them where it resets.
        """
        name = type(self).__name__
        X = flatten_images(X, image_shape, name, is_fitted=hasattr(self, "columns_"))
        X = convert_lists(X)
        check_unique_names(X)
        if kinds is None and not reset:
            kinds = self.columns_.kinds
        rules = {
            # cast by chunks where it is used
            "dtype": "numeric",
            "ensure_all_finite": False,
            "ensure_min_samples": 2 if is_fit else 1,
        }
        table, by_column = X, has_typed_columns(X)
        if by_column:
            # names and numbers of columns, in scikit-learn's words
            validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            refuse_times(X, name)
            table = validate_data(self, X, reset=reset, **rules)
        names = self._get_names(X)
        array, kinds = read_table(table, kinds, name, names)
        if by_column:
            array = check_array(array, estimator=self, input_name="X", **rules)
        if reset and image_shape is not None:
            check_n_columns(image_shape, array.shape[1])
        check_finite(array, names)
        check_exact_integers(array, names)
        if reset:
            check_observed(array, names)
        return array, kinds

    def _get_names(self, X):
        """Return what messages call the columns of X, or None."""
        names = getattr(X, "columns", None)
        return getattr(self, "feature_names_in_", None) if names is None else names

    def _validate_weight(self, sample_weight, array):
        if sample_weight is None:
            return None
        weight = _check_sample_weight(
            sample_weight, array, dtype=np.float64, ensure_non_negative=True
        )
        positive = weight[weight > 0]
        if len(positive) and positive.min() < 1e-30 * positive.max():
            raise ValueError(
                f"sample_weight has values from {positive.min():g} to "
                f"{positive.max():g}, too far apart for single precision."
            )
        return None if (weight == weight[0]).all() and weight[0] > 0 else weight

    def _get_model(self):
        """Return what computes with the fitted net."""
        from ._model._fitted import FittedModel

        check_is_fitted(self)
        return FittedModel(self.net_.module_, self.columns_, self._noise)

    def _read(self, X):
        """Return the model and the rows of X, checked against it."""
        model = self._get_model()
        array, _ = self._validate(X, self.columns_.image_shape, reset=False)
        likelihood, names = model.module.likelihood, self._get_names(X)
        check_support(likelihood, array, names, self.columns_.varies)
        return model, array

    # the latent ---------------------------------------------------------------------

    def transform(self, X):
        """Return the posterior mean of every row.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_components), float32
            Or a data frame, see `set_output`. A latent may leave components out, or
            round them, by its `embedding`.
        """
        model, array = self._read(X)
        return model.embed(array)

    def posterior(self, X, refine=False):
        """Return mean and standard deviation of q(z|x) for every row.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
        refine : bool, default=False
            Optimise q for every row until its bound gains no more, from what the
            encoder says: the E-step run to convergence, as ``method="refined"`` of
            `score_samples` has it. It takes hundreds of passes through the decoder.

        Returns
        -------
        mean, std : ndarray (n_samples, n_components), float32

        References
        ----------
        Cremer, Li & Duvenaud (2018), "Inference suboptimality in variational
        autoencoders", section 4.1, for `refine`.
        """
        model, array = self._read(X)
        both = (model.refine_posterior if refine else model.compute_posterior)(array)
        return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])

    def inverse_transform(self, Z):
        """Return E[x given z] for every row of Z.

        Where the fitted X was a data frame, integer columns are rounded and boolean
        ones are whether True is the likelier. Images come in the layout that was
        fitted, and integer pixels are rounded and cut to the range of their type.

        Parameters
        ----------
        Z : array-like (n_samples, n_components)
            As `transform` returns it.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the units, columns and types of the X that was fitted.
        """
        model = self._get_model()
        array = check_array(Z, dtype=[np.float64, np.float32], input_name="Z")
        n_components, n_columns = model.module.n_components, self._n_features_out
        if array.shape[1] != n_columns:
            rest = "" if n_columns == n_components else f", {n_columns} in transform"
            raise ValueError(
                f"Z has {array.shape[1]} columns, but {type(self).__name__} has "
                f"n_components={n_components}{rest}."
            )
        return self.columns_.make_output(model.decode(array), get_index(Z))

    def reconstruct(self, X):
        """Return ``inverse_transform(transform(X))``.

        Where the latent's `embedding` leaves layers of z out, they are not left out
        here.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
        """
        model, array = self._read(X)
        return self.columns_.make_output(model.reconstruct(array), get_index(X))

    def sample(self, n_samples=1, *, random_state=None, mean=False, given=None):
        """Draw new rows from the model.

        Integer columns of data frames, and integer pixels, are rounded.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None
            None takes fresh entropy.
        mean : bool, default=False
            Return E[x|z] for the z that was drawn, without observation noise.
        given : dict, default=None
            Values that some columns are to have, by name (by number for arrays), such
            as ``{"sex": "F"}``: the others are drawn from what the model says of them
            then. z is chosen among many draws by the weight that the values give them,
            exact as the number of draws grows; an `EffectiveSampleSizeWarning` tells
            where few of them count.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the units, columns and types of the X that was fitted.

        Raises
        ------
        ValueError
            If `given` names no column, or a value that a column cannot have.

        References
        ----------
        Rubin (1987), "The calculation of posterior distributions by data augmentation:
        comment", sampling importance resampling, for `given`.
        """
        from ._utils._seed import draw_seed, make_generator, seeded

        model = self._get_model()
        is_count = isinstance(n_samples, Integral) and not isinstance(n_samples, bool)
        if not is_count or n_samples < 1:
            raise ValueError(f"n_samples={n_samples!r} must be a positive integer.")
        n_samples, row = int(n_samples), None
        if given is not None:
            row = self.columns_.make_row(given)
            check_support(
                model.module.likelihood,
                row,
                self.columns_.names,
                self.columns_.varies,
            )
        with seeded(draw_seed(make_generator(random_state)), self.device_):
            if row is None:
                return self.columns_.make_output(model.draw(n_samples, mean))
            rows, n_effective = model.draw_given(row, n_samples, mean)
        if n_effective < min(n_samples, _ENOUGH_EFFECTIVE):
            warn_user(
                f"given={given!r} is rare in the model: what was drawn rests on "
                f"{n_effective:.3g} effective draws of z, and rows are more alike than "
                "they should be.",
                EffectiveSampleSizeWarning,
            )
        return self.columns_.make_output(rows)

    def impute(self, X, *, n_draws=None, random_state=None):
        """Fill the missing cells of X.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Missing cells are NaN, None or ``pandas.NA``.
        n_draws : int, default=None
            Draws from q(z|x) for every row; four times as many from the prior, which
            all rows share, come on top. They are weighed by how well they explain the
            observed cells. None is 200.
        random_state : int, RandomState or None, default=None
            None fills in what is expected: the mean given the observed cells, and the
            likeliest level of categories. Otherwise one draw of all missing cells of a
            row together: with several seeds a multiple imputation.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the columns and types of the X that was fitted; observed cells are as
            they were.

        Notes
        -----
        Given a few cells of a row, components of z depend on one another. A q(z|x) of
        diagonal covariance leaves that out, and the ELBO lets the model pay for it.
        Where many cells are missing, the bound of several weighed draws,
        ``objective=IWAE(10)``, makes a better model; it takes longer to train.

        References
        ----------
        Mattei & Frellsen (2019), "MIWAE: Deep generative modelling and imputation of
        incomplete data sets", eq. 12, and section 3.4 for multiple imputation.
        """
        from ._utils._seed import draw_seed, make_generator, seeded

        n_draws = _IMPUTE_DRAWS if n_draws is None else n_draws
        is_count = isinstance(n_draws, Integral) and not isinstance(n_draws, bool)
        if not is_count or n_draws < 1:
            raise ValueError(f"n_draws={n_draws!r} must be None or a positive integer.")
        model, array = self._read(X)
        is_drawn = random_state is not None
        seed = draw_seed(make_generator(random_state if is_drawn else 0))
        with seeded(seed, self.device_):
            filled = model.impute(array, int(n_draws), is_drawn)
        return self.columns_.make_output(filled, get_index(X))

    # scores -------------------------------------------------------------------------

    def score_samples(self, X, method="elbo", *, n_draws=None, return_std=False):
        """Return the log density of every row, or what it is made of.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
        method : {'elbo', 'evidence', 'reconstruction', 'kl', 'refined'}, default='elbo'
            'elbo', the lower bound; 'evidence', the importance-weighted estimate of
            log p(x) from `n_draws` draws, never below it; 'reconstruction' and 'kl', of
            which it is the difference; 'refined', the bound after q has been optimised
            for each row until it gains no more, never below it.
        n_draws : int, default=None
            Average over so many draws. None takes the block of noise that `fit` drew,
            any other number one that is derived from it: the same for all rows and at
            every call. Not for 'refined'.
        return_std : bool, default=False
            Return the Monte-Carlo standard errors of the scores too, which needs at
            least two draws. For 'evidence' it is that of a logarithm, by the delta
            method; it means little where it is not well below one nat. Not for
            'refined'.

        Returns
        -------
        scores : ndarray (n_samples,), float64
            Nats, in the units of X; higher is more normal (but for 'kl').
        std : ndarray (n_samples,), float64
            Their standard errors, if asked for.

        Raises
        ------
        ValueError
            If the method is not known, or cannot do what is asked for.

        References
        ----------
        Burda, Grosse & Salakhutdinov (2016), eq. 8, for 'evidence'; Cremer, Li &
        Duvenaud (2018), "Inference suboptimality in variational autoencoders", section
        4.1, for 'refined'.
        """
        if method not in self._methods:
            names = ", ".join(repr(name) for name in self._methods)
            raise ValueError(f"method={method!r} is not known; use one of {names}.")
        self._check_draws(method, n_draws, return_std)
        model, array = self._read(X)
        found = model.score(array, method, n_draws, return_std)
        if not return_std:
            return found
        return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])

    def _check_draws(self, method, n_draws, return_std):
        """Refuse numbers of draws, and errors, that a score does not have."""
        names = ", ".join(repr(name) for name in self._averages)
        if n_draws is not None:
            is_count = isinstance(n_draws, Integral) and not isinstance(n_draws, bool)
            if not is_count or n_draws < 1:
                raise ValueError(
                    f"n_draws={n_draws!r} must be None or a positive integer."
                )
            if method not in self._averages:
                raise ValueError(
                    f"n_draws={n_draws!r} is not for method={method!r}, which searches "
                    f"on the draws of the fit; use one of {names}."
                )
        if return_std:
            if method not in self._averages:
                raise ValueError(
                    f"return_std=True is not for method={method!r}; use one of {names}."
                )
            check_is_fitted(self)
            n_used = len(self._noise[0]) if n_draws is None else n_draws
            if n_used < 2:
                raise ValueError(
                    f"return_std=True needs at least two draws, but n_draws={n_used}; "
                    "pass a larger n_draws."
                )

    def score_features(self, X):
        """Return the reconstruction log-likelihood of every cell.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_features), float64
            Nats in the units of X; rows sum to ``score_samples(X, 'reconstruction')``.
        """
        model, array = self._read(X)
        return model.score_columns(array)

    def score(self, X, y=None, sample_weight=None):
        """Return the mean ELBO of the rows.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), default=None

        Returns
        -------
        float
            Nats per row in the units of X.
        """
        scores = self.score_samples(X, "elbo")
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, scores[:, None], ensure_non_negative=True
            )
        return float(np.average(scores, weights=sample_weight))

    # scikit-learn -------------------------------------------------------------------

    @property
    def history_(self):
        """History of the net, one row an epoch."""
        return self.net_.history

    @property
    def _n_features_out(self):
        module = self.net_.module_
        return module.latent.count_embedded(module.n_components)

    def __sklearn_is_fitted__(self):
        """Return whether `fit` or `partial_fit` has succeeded."""
        return hasattr(self, "net_")

    def __setstate__(self, state):
        """Restore a pickled estimator; a missing device is replaced by the CPU."""
        super().__setstate__(state)
        if "net_" in state:
            self.device_ = str(self.net_.module_.free.device)
            self.net_.device = self.device_

    def __sklearn_tags__(self):
        """Return the estimator's tags."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = False
        return tags
