"""VAETransformer: parameters, validation, and the methods a user calls.

torch and skorch are imported at first use, so that ``import skvae`` stays cheap.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

import numpy as np
import sklearn
from sklearn import exceptions
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from ._columns import (
    check_held,
    check_support,
    check_weight,
    convert_array,
    make_array_like,
    make_table_like,
    read_input,
    read_latent,
)
from ._parameters._constraints import find_boolean, find_way_out
from ._parameters._method_arguments import (
    check_count,
    check_flags,
    check_score_options,
)
from ._parameters._warm_start import check_ensemble, check_fixed, copy_fixed
from ._training._fit_data import read
from ._utils._compat import CallbackSupportMixin, TagsMixin
from ._utils._description import dump_state, load_state
from ._utils._fitted_state import restored_on_failure
from ._utils._numpy_errors import uses_default_errors
from ._utils._quiet_import import import_quietly
from ._utils._site import SiteLinkMixin
from ._utils._summary import FitRecord, SummaryMixin
from ._utils._warnings import (
    CollapsedGeneratorWarning,
    EffectiveSampleSizeWarning,
    InconsistentVersionWarning,
    UnusedComponentsWarning,
    warn_user,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

    from ._columns import ColumnTable
    from ._utils._typing import Array, Floats, FrameT, RandomState, Table
    from .latents import Latent
    from .likelihoods import Likelihood
    from .networks import Network
    from .objectives import Objective

_Method = TypeVar("_Method", bound=Callable[..., Any])

# mean KL below which a component is unused
_ACTIVE_NATS = 0.01
# effective draws of z that are enough for any number of rows
_ENOUGH_EFFECTIVE = 100
# rows on which diagnostics are computed; of wide tables fewer, down to a number, with
# these values
_DIAGNOSTIC_ROWS, _LEAST_DIAGNOSTIC_ROWS = 500, 100
_DIAGNOSTIC_VALUES = 2_000_000
# rows on which the error of scores is measured
_MEASURED_ROWS = 64
# epochs from which on their end is not meant to be early
_LONG_TRAINING = 50
# what the last tenth of the epochs gains where training still improves: nats per row,
# and a share of the gain of all epochs
_LEAST_GAIN, _LEAST_GAIN_SHARE = 0.02, 0.02
POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")


def get_version() -> str:
    """Return the version of the package, whose module imports this one."""
    return sys.modules[__package__].__version__


def _checks_parameters(fit: _Method) -> _Method:
    """Let a method that fits check the parameters first; decorates it."""
    return _fit_context(prefer_skip_nested_validation=True)(fit)


def _take_some(X: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of X on which diagnostics are computed."""
    most = max(_DIAGNOSTIC_VALUES // X.shape[1], _LEAST_DIAGNOSTIC_ROWS)
    n_rows = min(most, _DIAGNOSTIC_ROWS)
    return X[:: max(1, len(X) // n_rows)][:n_rows]


def _has_discriminator(estimator: Any) -> bool:
    """Return whether the objective of an estimator has a discriminator."""
    objective = estimator.objective
    return hasattr(objective, "discriminate") or str(objective) == "vaegan"


def check_version(name: str, version: str | None) -> None:
    """Warn where another version of the package has saved an estimator."""
    if version != get_version():
        warn_user(InconsistentVersionWarning(name, get_version(), version))


def check_sklearn_version(name: str, version: str | None) -> None:
    """Warn where another version of scikit-learn has pickled an estimator."""
    if version not in (None, sklearn.__version__):
        warn_user(
            exceptions.InconsistentVersionWarning(
                estimator_name=name,
                current_sklearn_version=sklearn.__version__,
                original_sklearn_version=version,
            )
        )


@uses_default_errors
class VAETransformer(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    TagsMixin,
    SiteLinkMixin,
    SummaryMixin,
    BaseEstimator,
):
    r"""Variational auto-encoder.

    A latent variable model ``x = f(z) + noise`` with neural networks for f and for the
    posterior q(z|x), trained on the evidence lower bound

    .. math:: \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| p(z)).

    By default, z is learned first, as a map of the rows, and then the density of the
    columns given z. Training starts at the closed-form linear model, probabilistic PCA
    or factor analysis. The networks are kept only if they improve the loss of held-out
    rows. A fitted model is deterministic: `transform` returns the posterior mean, and
    all scores use one block of noise drawn at `fit`, so that the score of a row depends
    on that row only.

    Read more in the :doc:`user guide </user_guide/vae>`.

    Parameters
    ----------
    n_components : int or 'auto', default='auto'
        Size of the latent; it may exceed the number of features. 'auto' is the least
        size, of a grid from 1 to 60, at which the linear model describes held-out rows
        about as well as at any; see `n_components_`.
    density : {'after', 'joint'} or None, default='after'
        How p(x|z) of ``likelihood='auto'`` is learned. 'after': z first, as PCA would,
        with one noise for all numbers, and in units of the columns, so that distances
        in z are distances of reconstructed rows; then, with z kept, the density of the
        columns, each given z and the columns before it. 'joint' maximises the ELBO of a
        density whose columns are independent given z, as do objectives other than
        'elbo' and linear models. None learns the map alone. A likelihood that is named
        is trained as named.
    likelihood : str, Likelihood or dict, default='auto'
        p(x|z): 'auto', a name in `skvae.likelihoods.LIKELIHOODS` such as 'poisson', or
        an instance. 'auto' is 'bernoulli' for boolean columns, 'categorical' for
        categories and strings, and 'gaussian_mixture' for numbers ('gaussian' where
        ``hidden_layer_sizes=()`` makes the model linear); next to columns of other
        kinds that of integers has atoms, see `likelihoods.GaussianMixture`. A dict
        names it by column (by number for arrays); the others are 'auto'. Of sparse
        tables 'auto' is 'bernoulli' for zeros and ones, and 'negative_binomial' for
        counts; the tag ``input_tags.sparse`` is true because of these, other sparse
        tables raise TypeError. See the :doc:`page on tables </user_guide/tables>`.
    latent : {'gaussian', 'categorical', 'hierarchical'} or Latent, default='gaussian'
        Family of q(z|x), and prior p(z).
    network : {'auto', 'mlp', 'conv'} or Network, default='auto'
        Encoder and decoder; see :mod:`skvae.networks` for torch modules of your own.
        'auto' is 'conv' where `image_shape` is set.
    hidden_layer_sizes : tuple of int or 'auto', default='auto'
        Widths of the hidden layers of an 'mlp' encoder, mirrored in the decoder. ``()``
        is the linear model. 'auto' is (128, 128), or less for numbers alone, in fewer
        than 2,000 rows and 64 columns: then layers have 64 units at least.
    activation : str, default='silu'
        Name of the activation: 'silu', 'relu', 'tanh', 'gelu', 'elu', 'leaky_relu',
        'softplus' or 'sigmoid'.
    dropout : float, default=0.0
        Share of hidden units dropped at each training step.
    init : {'linear', 'random'}, default='linear'
        Start at the closed-form linear model (a mixture of normals where z is a single
        categorical variable), or at torch's random weights.
    standardize : bool or 'quantile', default=True
        Whether to centre and scale columns internally. 'quantile' replaces numbers of
        more than 32 different values by their normal scores first, an increasing map:
        for long tails, where most values are close together in units of the standard
        deviation. Scores stay in the units of X, with the Jacobian. Means are those of
        normal scores, mapped back: closer to medians.
    image_shape : tuple of int or None, default=None
        (channels, height, width) of images. X is then ``(n_samples, channels, height,
        width)``, or rows of as many columns, channels first. See the :doc:`page on
        images </user_guide/images>`.
    objective : {'elbo', 'iwae', 'tc', 'mmd', 'vaegan'} or Objective, default='elbo'
        Objective of training, see :doc:`objectives </user_guide/objectives>`. `score`
        is always the ELBO.
    beta : float, default=1.0
        Weight of the KL term in training.
    kl_warmup : float, default=0.0
        Share of `max_epochs` over which the weight of the KL term rises from 0 to
        `beta`; early stopping waits for its end.
    max_epochs : int, default=100
        Largest number of passes over the rows, in each of the stages of `density`.
    batch_size : int or 'auto', default='auto'
        Rows per step. 'auto' is 64 to 1024, growing with the table; an epoch has at
        least 32 steps, by several passes over a small table.
    lr : float, default=0.003
        Learning rate.
    optimizer : str or class, default='adamw'
        'adamw', 'adam', 'nadam', 'radam', 'rmsprop' or 'sgd', or any class from
        :mod:`torch.optim`.
    weight_decay : float or 'auto', default='auto'
        Decay of the weight matrices. 'auto' is ``min(1, 300 / n_samples)`` for AdamW, 0
        for others.
    early_stopping : bool, default=True
        Stop when the held-out score no longer improves, and keep the best weights.
        Up to 3,000 rows, several networks are trained side by side on folds of the
        table, and one more on all rows, which is the one that is kept.
    validation_fraction : float, default=0.1
        Least share of the rows to hold out.
    n_iter_no_change : int, default=10
        Epochs without improvement before training stops; for the map, see ``density``,
        up to twice as many, unless held-out rows lose more than the standard error of
        that loss. For all else it also stops after three tenths of them in a row in
        which they do.
    tol : float, default=1e-4
        Least improvement that counts, in nats.
    n_draws : int or 'auto', default='auto'
        Number of noise vectors, which all scores share. 'auto' is the least of 8, 16,
        32 and twice `n_components_` with which the Monte-Carlo error of
        `score_samples`, measured at `fit` by the variance between draws, is at most
        0.01 nats (root mean square over rows), or half a percent of the standard
        deviation of scores between rows; else 32. 'evidence', a bound that more draws
        make tighter, then takes 32. See `n_draws_`.
    device : str, default='auto'
        'auto' (the first found of cuda, xpu, mps, cpu), 'cpu', 'cuda', 'cuda:1', 'mps',
        'xpu'.
    warm_start : bool, default=False
        Whether `fit` trains the fitted model further.
    random_state : int, RandomState or None, default=None
        Seed of all random numbers. None draws one from numpy's global generator at
        every fit, as scikit-learn does.
    verbose : int, default=0
        1 shows a progress bar of the epochs with the ELBO, and one of the rows of other
        methods if they take more than two seconds; if stderr is not a terminal, plain
        lines instead. 2 prints a line per epoch instead of the first bar.
    net_callbacks : list of skorch callbacks or None, default=None
        Callbacks of the net.
    net_params : dict or None, default=None
        Other parameters of `skorch.NeuralNet`, such as
        ``{"optimizer__betas": (0.9, 0.99)}``.
    n_ensemble : int, default=1
        Number of members: networks that differ by their initial weights and batches, in
        large tables by their held-out rows too. Scores, `sample` and `impute` are those
        of the mean of their densities; z, and attributes that describe a model, are
        those of one member. Not for warm starts and streams. See the :doc:`page on
        ensembles </user_guide/ensembles>`.

    Attributes
    ----------
    net_ : VAENet
        The fitted `skorch.NeuralNet`.
    columns_ : ColumnTable
        Kind, likelihood, levels, units and share of missing cells of every column; a
        data frame of them is ``columns_.to_frame()``.
    device_ : str
        Device of the model.
    n_components_ : int
        Size of the latent.
    n_features_in_ : int
        Number of features seen by `fit`.
    feature_names_in_ : ndarray of str (`n_features_in_`,)
        Names of the features, where all are strings.
    n_draws_ : int
        Number of noise vectors that all scores share.
    n_iter_ : int
        Number of epochs run, of the longer stage where there are two; those of earlier
        calls of a stream or warm start are included.
    history_ : skorch.history.History
        One row per epoch: losses, reconstruction and KL in nats per row; ``stage`` is
        "map" or "density" where there are both. `partial_fit` keeps the last 20 rows,
        here and in the two lists below; ``epoch`` counts on.
    loss_curve_ : list of float
        Training loss of every epoch, nats per row in the units of X.
    validation_scores_ : list of float
        Negative loss of the held-out rows of every epoch; empty without such rows.
    best_validation_score_ : float or None
        Best validation score, that of the initial weights included.
    noise_variance_ : ndarray (`n_features_in_`,)
        Mean variance of x given z, in the squared units of X.
    kl_per_component_ : ndarray (n_components,)
        Mean KL of each component, the information it carries about a row, nats.
    n_active_components_ : int
        Number of components with a KL above 0.01 nats.

    See Also
    --------
    VAEOutlierDetector : Outliers, by this model and by distances from its rows.
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

    # fitted attributes
    # what could be guessed of skorch, which has no types, is partly wrong
    net_: Any
    columns_: ColumnTable
    device_: str
    n_components_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    n_draws_: int
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float]
    best_validation_score_: float | None
    noise_variance_: Floats
    kl_per_component_: Floats
    n_active_components_: int

    if TYPE_CHECKING:
        # scikit-learn has no types. What `transform` returns after `set_output` is not
        # known: no type is better than a wrong one.
        def fit_transform(self, X: Table, y: Any = None, **fit_params: Any) -> Any: ...
        def set_output(self, *, transform: str | None = None) -> Any: ...
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def get_feature_names_out(
            self, input_features: Any = None
        ) -> NDArray[np.object_]: ...

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [StrOptions({"auto"}), POSITIVE_INTEGER],
        "density": [StrOptions({"joint", "after"}), None],
        "likelihood": "no_validation",
        "latent": "no_validation",
        "network": "no_validation",
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            "array-like",
            POSITIVE_INTEGER,
        ],
        "activation": [str],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "init": [StrOptions({"linear", "random"})],
        "standardize": ["boolean", StrOptions({"quantile"})],
        "image_shape": [None, tuple, list],
        "objective": "no_validation",
        "beta": [Interval(Real, 0, None, closed="left")],
        "kl_warmup": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), POSITIVE_INTEGER],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [str, callable],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [POSITIVE_INTEGER],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_draws": [StrOptions({"auto"}), POSITIVE_INTEGER],
        "device": [str],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_callbacks": [list, None],
        "net_params": [dict, None],
        "n_ensemble": [POSITIVE_INTEGER],
    }

    # methods of scores, and those that are averages over draws, with an error
    _methods: tuple[str, ...] = ("elbo", "evidence", "reconstruction", "kl", "refined")
    _averages: tuple[str, ...] = ("elbo", "evidence", "reconstruction", "kl")
    # whether levels that fit has not seen count in scores
    _marks_unknown = False

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        density: Literal["after", "joint"] | None = "after",
        likelihood: Likelihood | str | dict[Any, Any] = "auto",
        latent: Latent | str = "gaussian",
        network: Network | str = "auto",
        hidden_layer_sizes: Sequence[int] | int | Literal["auto"] = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        init: Literal["linear", "random"] = "linear",
        standardize: bool | Literal["quantile"] = True,
        image_shape: Sequence[int] | None = None,
        objective: Objective | str = "elbo",
        beta: float = 1.0,
        kl_warmup: float = 0.0,
        max_epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        lr: float = 0.003,
        optimizer: str | Callable[..., Any] = "adamw",
        weight_decay: float | Literal["auto"] = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        n_draws: int | Literal["auto"] = "auto",
        device: str = "auto",
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: int | bool = 0,
        net_callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        n_ensemble: int = 1,
    ) -> None:
        self.n_components = n_components
        self.density = density
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
        self.n_ensemble = n_ensemble

    @override
    def _validate_params(self) -> None:
        """Check parameters as scikit-learn does, with the way out in the message."""
        try:
            message = find_boolean(self)
            if message is not None:
                raise InvalidParameterError(message)
            super()._validate_params()
        except InvalidParameterError as error:
            message = f"{error}{find_way_out(self, str(error))}"
            raise InvalidParameterError(message) from None

    @override
    def set_params(self, **params: Any) -> Self:
        """Set parameters of the estimator, or of its members.

        Parameters
        ----------
        **params : dict
            Parameters by name. ``latent__prior`` is the `prior` of `latent`; it turns
            a latent, likelihood or objective given by name into an instance.

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
            import_quietly("torch")
            from ._parameters._members import open_members

            params = params | open_members(self, params)
        return super().set_params(**params)

    # fitting ------------------------------------------------------------------------

    @_checks_parameters
    def fit(
        self,
        X: Table,
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        X_val: Table | None = None,
    ) -> Self:
        """Fit the model to X.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Numbers, booleans and categories, also mixed; strings are categories, even
            if they are digits. Missing values are NaN, None, ``pandas.NA`` or masked.
            With `image_shape` also images (n_samples, channels, height, width), as in
            all methods that take rows. Counts, and zeros and ones, may be a sparse
            matrix, see the :doc:`page on wide tables </user_guide/wide>`; results are
            dense.
        y : ignored
            There for scikit-learn's convention.
        sample_weight : array-like (n_samples,), default=None
            Weights of the rows. An integer weight stands for that many equal rows;
            training being stochastic, the fits agree in distribution.
        X_val : array-like or data frame (n_valid, n_features), default=None
            Held-out rows; no row of X is then held out. Cross-validation of
            scikit-learn cuts an `X_val` as long as X, as it cuts X: that is refused.

        Returns
        -------
        VAETransformer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or a value of X is out of range.
        TypeError
            If X is sparse and the likelihood is for dense tables, or a column is
            neither numbers, booleans nor categories.
        """
        is_warm = self.warm_start and hasattr(self, "net_")
        return self._fit(X, y, sample_weight, X_val, is_warm=is_warm)

    @_checks_parameters
    def partial_fit(
        self, X: Table, y: Any = None, *, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on a chunk of rows.

        The first call learns levels and units of the columns and the linear model;
        later calls keep them. No rows are held out. See the :doc:`page on streams
        </user_guide/streams>`.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.
        y : ignored
            There for scikit-learn's convention.
        sample_weight : array-like (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        VAETransformer
            The estimator itself.
        """
        is_warm = hasattr(self, "net_")
        return self._fit(X, y, sample_weight, is_warm=is_warm, is_chunk=True)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any = None,
        *,
        is_warm: bool,
        is_chunk: bool = False,
    ) -> Self:
        import_quietly("torch", "skorch")
        from ._training._fit import start, train
        from ._training._ranks import fitting_together
        from ._training._shards import join_shards
        from ._utils._device import isolated

        check_ensemble(self, is_chunk)
        record = FitRecord(self, is_warm, is_chunk)
        with restored_on_failure(self), isolated(), fitting_together() as ranks, record:
            if ranks is not None:
                rows = join_shards(ranks, self, X, sample_weight, X_val)
                (X, sample_weight, X_val), y = rows, None
            data = read(self, X, y, sample_weight, X_val, is_warm, is_chunk)
            record.count(data.table.array)
            plan = self._plan(data)
            begin = start(plan, data)
            net = train(plan, data, begin)
            self._finish(net, plan, data)
        return self

    def _plan(self, data: Any) -> Any:
        """Resolve the parameters for the data: return members and settings, checked."""
        from ._parameters._members import resolve_members
        from ._training._net import check_net_callbacks
        from ._training._net_arguments import check_arguments
        from ._training._plan import (
            SETTINGS,
            Plan,
            check_rows,
            choose_components,
            choose_stacking,
            learn_columns,
        )
        from ._training._ranks import share_generator
        from ._training._sklearn_callbacks import make_callbacks
        from ._utils._device import resolve_device
        from ._utils._random_state import make_generator

        check_net_callbacks(self.net_callbacks)
        settings = {name: getattr(self, name) for name in SETTINGS}
        settings["net_params"] = self.net_params or {}
        check_arguments(settings, self.get_params(deep=False))
        plan = Plan(
            **resolve_members(
                self,
                data.table,
                data.image_shape,
                self._make_number_likelihood(),
                None if data.is_chunk else int(data.counted.sum()),
            ),
            n_components=self._count_components(
                len(data.table.kinds), int(data.counted.sum())
            ),
            device=resolve_device(self.device),
            settings=settings,
            callbacks=list(self.net_callbacks or []),
        )
        if data.is_warm:
            check_fixed(self, self._net_parameters)
            plan.resume(copy.deepcopy(self.net_), self._noise)
        check_rows(plan, data)
        data.kept = self._choose_rows(data, plan.likelihood)
        needs_folds = self._needs_fold_models(len(data.get_kept()[0]))
        plan.keeps_fold_models = needs_folds and not (data.is_warm or data.n_valid)
        plan.holds_out_all = plan.keeps_fold_models and self._needs_all_held_out()
        plan.generator = share_generator(make_generator(self.random_state))
        learn_columns(plan, data)
        choose_stacking(plan, data)
        choose_components(plan, data)
        plan.draw_noise(self.n_draws)
        plan.callbacks += make_callbacks(self, plan, data)
        return plan

    def _choose_rows(self, data: Any, likelihood: Any) -> Any:
        """Return which rows to train on, ``(n_samples,)`` bool."""
        return data.kept

    def _needs_fold_models(self, n_samples: int) -> bool:
        """Return whether models with held-out rows of their own are needed."""
        return False

    def _needs_all_held_out(self) -> bool:
        """Return whether each row is to be held out by one of these models."""
        return False

    def _make_number_likelihood(self) -> Any:
        """Return the density of 'auto' for all numbers; None chooses by column."""
        return None

    def _count_components(self, n_features: int, n_rows: int) -> int | None:
        """Return the size of the latent; None leaves it to the rows."""
        return None if self.n_components == "auto" else self.n_components

    def _suggest_stability(self) -> str:
        """Return what keeps the loss finite, for a message."""
        units = "" if self.standardize else ", set standardize=True"
        return f"Lower lr={self.lr!r}{units}, or look for extreme values in X."

    def _finish(self, net: Any, plan: Any, data: Any) -> None:
        """Set the fitted attributes, diagnose the model and warn."""
        best = dict(net.callbacks_)["best_weights"]
        is_scored = np.isfinite(best.best_loss_)
        is_trained = any("train_loss" in row for row in net.history)
        if net.diverged_ and not is_scored and not is_trained:
            raise ValueError(
                "The loss turned non-finite in the first epoch of training and there "
                f"are no earlier weights to keep. {self._suggest_stability()}"
            )
        self.net_ = net
        self.device_ = str(net.device)
        self.columns_ = data.columns.rescaled(*net.units_)
        self._other_columns = [data.columns.rescaled(*u) for u in net.other_units_]
        self.n_components_ = plan.n_components
        self._noise = plan.noise
        self._net_parameters = copy_fixed(self)
        if plan.is_map and not data.is_warm and plan.latent.has_units:
            self._set_unit(data.get_kept()[0])
        if self.n_draws == "auto" and not data.is_warm:
            self._choose_draws(data)
        self.n_draws_ = len(self._noise[0])
        self.n_iter_ = net.count_epochs()
        net.finish(self.warm_start or data.is_chunk, data.is_chunk)
        self.loss_curve_ = [r["train_loss"] for r in net.history if "train_loss" in r]
        self.validation_scores_ = [
            -row["valid_loss"] for row in net.history if "valid_loss" in row
        ]
        self.best_validation_score_ = -best.best_loss_ if is_scored else None
        self._conclude(data)
        # from here on an interrupt loses nothing
        self._is_finished = True
        self._diagnose(data.get_kept()[0])
        if net.diverged_:
            warn_user(
                "The loss turned non-finite in training; the best weights so far are "
                f"kept. {self._suggest_stability()}",
                exceptions.ConvergenceWarning,
            )
        if net.interrupted_:
            raise KeyboardInterrupt
        if self.early_stopping and not (self.warm_start or data.is_chunk):
            self._warn_if_improving()

    def _conclude(self, data: Any) -> None:
        """Compute further fitted attributes, before the fit counts as done."""

    def _set_unit(self, X: NDArray[Any]) -> None:
        """Let a unit of z be a unit of the reconstructed columns, as that of PCA is."""
        import torch

        unit = self._get_model().map.measure_unit(_take_some(X))
        # of a component without effect, any
        unit = torch.as_tensor(np.maximum(unit, 1e-3)).to(self.net_.module_.z_unit)
        self.net_.module_.z_unit.copy_(unit)

    def _choose_draws(self, data: Any) -> None:
        """Let scores take as few draws as keep their error small."""
        from ._model._draws import choose_noise

        X = data.get_kept()[0]
        step = max(1, len(X) // _MEASURED_ROWS)
        model = self._get_model()
        self._noise = choose_noise(model, X[::step][:_MEASURED_ROWS], self._noise)
        for fold_model, _ in data.fold_models or ():
            fold_model.set_noise(self._noise)

    def _diagnose(self, X: NDArray[Any]) -> None:
        from ._training._objective_networks import diagnose

        kl, variance = self._get_model().diagnose(_take_some(X))
        self.kl_per_component_, self.noise_variance_ = kl, variance
        self.n_active_components_ = int((kl > _ACTIVE_NATS).sum())
        n_unused = len(kl) - self.n_active_components_
        if n_unused:
            warn_user(
                f"{n_unused} of {len(kl)} components are unused: they carry less than "
                f"{_ACTIVE_NATS} nats of information about a row. A smaller "
                "n_components describes X as well; if all are unused, the columns may "
                "be independent.",
                UnusedComponentsWarning,
            )
        found = diagnose(self.net_, self.columns_, _take_some(X))
        if found is not None:
            warn_user(found, CollapsedGeneratorWarning)

    def _warn_if_improving(self) -> None:
        """Warn where `max_epochs` ended a training that still improved."""
        rows = [row for row in self.history_ if row.get("stage") != "map"]
        scores = [-row["valid_loss"] for row in rows if "valid_loss" in row]
        if len(scores) < max(self.max_epochs, _LONG_TRAINING):
            return
        before, best = max(scores[: -len(scores) // 10]), max(scores)
        least = max(_LEAST_GAIN, _LEAST_GAIN_SHARE * (best - scores[0]))
        if best - before > least:
            warn_user(
                f"max_epochs={self.max_epochs} ended a training whose held-out score "
                f"still improved, by {best - before:.2g} nats in the last tenth of the "
                "epochs; raise max_epochs or lr.",
                exceptions.ConvergenceWarning,
            )

    def _get_model(self) -> Any:
        """Return the fitted model: module, columns and noise.

        It is kept for the next call, and with it its copy in double precision.
        """
        check_is_fitted(self)
        import_quietly("torch")
        from ._model._ensemble import make_model
        from ._model._snapshot import Snapshot

        parts = self.net_.module_, self.columns_, self._noise
        others = self.net_.module_others_
        model = vars(self).get("_kept_model")
        if model is None or not model.snapshot.is_of(*parts, *others):
            others_columns = vars(self).get("_other_columns", [])
            pairs = [parts[:2], *zip(others, others_columns, strict=True)]
            model = make_model(pairs, self._noise)
            model.snapshot = Snapshot(*parts, *others).keep()
            # whole from here on: other threads may take it
            self._kept_model = model
        return model

    def _show_progress(self, method: str, n_rows: int) -> AbstractContextManager[Any]:
        """Return a context in which long calls show a bar, if the user wants any."""
        if not self.verbose:
            return nullcontext()
        from ._model._chunks import show_progress

        return show_progress(f"{type(self).__name__}.{method}", n_rows)

    def _open(self, X: Any) -> tuple[Any, Any]:
        """Return the model and the rows of X, checked against it."""
        model = self._get_model()
        return model, self._read(X, model).array

    def _read(self, X: Any, model: Any) -> Any:
        """Return X as an `InputTable`, checked against the model."""
        columns = self.columns_
        table = read_input(
            self,
            X,
            columns.kinds,
            columns.image_shape,
            marks_unknown=self._marks_unknown,
        )
        table.check_form(model.module.likelihood)
        table = self._hide_unknown(table)
        table.check(model.module.likelihood, columns)
        return table

    def _hide_unknown(self, table: Any) -> Any:
        """Return the table without cells of other levels that fit has not seen."""
        return table

    def _score_unknown(self, table: Any) -> Any:
        """Return what levels that fit has not seen add to scores of cells, or None."""
        return None

    # the latent ---------------------------------------------------------------------

    def transform(self, X: Table) -> NDArray[np.float32]:
        """Return the posterior mean of every row.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray (n_samples, n_components), float32
            Or a data frame, see `set_output`. The `embedding` of a latent may leave
            out components or round them.
        """
        model, array = self._open(X)
        with self._show_progress("transform", len(array)):
            return make_array_like(X, model.embed(array))

    def posterior(
        self, X: Table, refine: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of q(z|x) for every row.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.
        refine : bool, default=False
            Optimise q for every row, from the output of the encoder until the bound no
            longer improves: the E-step run to convergence, as in ``method="refined"``
            of `score_samples`. It takes hundreds of passes through the decoder.

        Returns
        -------
        mean : ndarray (n_samples, n_components), float32
            Posterior means; without ``refine`` those that `transform` returns.
        std : ndarray (n_samples, n_components), float32
            Posterior standard deviations.

        Notes
        -----
        With ``density="after"`` scores and imputation of rows with missing cells have
        posterior means of their own, near these, which are those of the map.

        References
        ----------
        Cremer, Li & Duvenaud (2018), "Inference suboptimality in variational
        autoencoders", section 4.1, for `refine`.
        """
        model, array = self._open(X)
        with self._show_progress("posterior", len(array)):
            compute = model.refine_posterior if refine else model.compute_posterior
            both = compute(array)
        mean, std = np.moveaxis(both, 1, 0).copy()
        return make_array_like(X, mean), make_array_like(X, std)

    def inverse_transform(self, Z: Table) -> Any:
        """Return E[x given z] for every row of Z.

        Where the fitted X was a data frame, integer columns are rounded, and boolean
        ones are True where that is more likely. Images have the layout of the fitted
        ones, and integer pixels are rounded and clipped to the range of their type.

        Parameters
        ----------
        Z : array-like (n_samples, n_components)
            As returned by `transform`.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the units, columns and types of the X that was fitted.
        """
        model = self._get_model()
        array = read_latent(Z, type(self).__name__)
        n_components, n_columns = model.module.n_components, self._n_features_out
        if array.shape[1] != n_columns:
            rest = "" if n_columns == n_components else f", {n_columns} in transform"
            raise ValueError(
                f"Z has {array.shape[1]} columns, but {type(self).__name__} has "
                f"n_components={n_components}{rest}."
            )
        with self._show_progress("inverse_transform", len(array)):
            rows = model.decode(array)
        return self.columns_.make_output(rows, Z)

    @overload
    def reconstruct(self, X: FrameT) -> FrameT: ...

    @overload
    def reconstruct(self, X: Array) -> NDArray[Any]: ...

    def reconstruct(self, X: Any) -> Any:
        """Return ``inverse_transform(transform(X))``.

        Layers of z that the latent's `embedding` leaves out are used here.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the units, columns and types of the X that was fitted.
        """
        model, array = self._open(X)
        with self._show_progress("reconstruct", len(array)):
            rows = model.reconstruct(array)
        return self.columns_.make_output(rows, X)

    def sample(
        self,
        n_samples: int = 1,
        *,
        random_state: RandomState = None,
        mean: bool = False,
        given: Mapping[Any, Any] | None = None,
        bounded: bool = True,
    ) -> Any:
        """Draw new rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            None draws a seed from numpy's global generator, as scikit-learn does.
        mean : bool, default=False
            Return E[x|z] for every drawn z, without observation noise.
        given : dict, default=None
            Values of some columns by name (by number for arrays), such as ``{"sex":
            "F"}``: the other columns are drawn from their conditional distribution. z
            is chosen among many draws by importance weights, exact as the number of
            draws grows; an `EffectiveSampleSizeWarning` warns if few of them have
            weight.
        bounded : bool, default=True
            Round numbers to as many decimals as they have in the X that was fitted (up
            to six; columns with more are continuous), and move them into their range
            there. Before this, columns of numbers without missing values are mapped to
            the quantiles of X, if the draws have others (quantile mapping). Values that
            are given, and means, stay as they are. Without it only integer columns of
            data frames, and integer pixels, are rounded.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the units, columns and types of the X that was fitted.

        Raises
        ------
        ValueError
            If `given` has an unknown column, or a value that a column cannot have.

        References
        ----------
        Rubin (1987), "The calculation of posterior distributions by data augmentation:
        comment", sampling importance resampling, for `given`.
        """
        from ._utils._random_state import make_generator
        from ._utils._seed import draw_seed, seeded

        model = self._get_model()
        n_samples = check_count("n_samples", n_samples)
        check_flags(mean=mean, bounded=bounded)
        columns, row = self.columns_, None
        if given is not None:
            row = columns.make_row(given)
            columns.check_near(row)
            check_support(model.module.likelihood, row, columns.names, columns.varies)
        seed = draw_seed(make_generator(random_state))
        with seeded(seed, self.device_), self._show_progress("sample", n_samples):
            if row is None:
                rows, n_effective = model.draw(n_samples, mean), np.inf
            else:
                rows, n_effective = model.draw_given(row, n_samples, mean)
        if n_effective < min(n_samples, _ENOUGH_EFFECTIVE):
            warn_user(
                f"given={given!r} is rare in the model: it leaves {n_effective:.3g} "
                "effective draws of z, and the drawn rows are too similar.",
                EffectiveSampleSizeWarning,
            )
        if bounded and not mean:
            rows = model.quantile_mapping.apply(rows, np.random.default_rng(seed))
            rows = columns.restrict(rows, np.nan if row is None else row)
        return columns.make_output(rows)

    @overload
    def impute(
        self,
        X: FrameT,
        *,
        n_draws: int | None = None,
        random_state: RandomState = None,
        bounded: bool = True,
    ) -> FrameT: ...

    @overload
    def impute(
        self,
        X: Array,
        *,
        n_draws: int | None = None,
        random_state: RandomState = None,
        bounded: bool = True,
    ) -> NDArray[Any]: ...

    def impute(
        self,
        X: Any,
        *,
        n_draws: int | None = None,
        random_state: RandomState = None,
        bounded: bool = True,
    ) -> Any:
        """Fill the missing values of X.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Missing values are NaN, None, ``pandas.NA`` or masked.
        n_draws : int, default=None
            Number of draws from q(z|x) for every row, beside draws from the prior,
            which all rows share: four times as many, or as many where columns depend on
            one another given z. Importance weights measure how well they explain the
            observed values. None is 48, or 200 where columns depend on one another.
        random_state : int, RandomState or None, default=None
            None fills in conditional means given the observed values, and the most
            likely level of categories. A seed fills in one joint draw of all missing
            values of a row; several seeds make a multiple imputation.
        bounded : bool, default=True
            Round numbers to as many decimals as they have in the X that was fitted, and
            move them into their range there, as in `sample`.

        Returns
        -------
        ndarray or data frame (n_samples, n_features)
            In the columns and types of the X that was fitted; observed values are
            unchanged, but for the digits that single precision lacks.

        Raises
        ------
        ValueError
            If the type of a column at fit cannot hold an observed value.

        Notes
        -----
        Given a few cells of a row, the components of z depend on one another. A q(z|x)
        with diagonal covariance ignores that, which makes the ELBO a worse bound. If
        many values are missing, the importance-weighted bound, ``objective=IWAE(10)``,
        gives a better model; it takes longer to train.

        References
        ----------
        Mattei & Frellsen (2019), "MIWAE: Deep generative modelling and imputation of
        incomplete data sets", eq. 12, and section 3.4 for multiple imputation.
        """
        from ._utils._random_state import make_generator
        from ._utils._seed import draw_seed, seeded

        if n_draws is not None:
            n_draws = check_count("n_draws", n_draws, "None or a positive integer")
        check_flags(bounded=bounded)
        model = self._get_model()
        table = self._read(X, model)
        check_held(self.columns_, table)
        array, is_drawn = table.make_dense(), random_state is not None
        seed = draw_seed(make_generator(random_state if is_drawn else 0))
        with seeded(seed, self.device_), self._show_progress("impute", len(array)):
            filled = model.impute(array, n_draws, is_drawn)
        if bounded:
            filled = self.columns_.restrict(filled, array)
        return self.columns_.make_output(filled, X, table)

    # scores -------------------------------------------------------------------------

    @overload
    def score_samples(
        self,
        X: Table,
        method: str = "elbo",
        *,
        n_draws: int | None = None,
        return_std: Literal[False] = False,
    ) -> Floats: ...

    @overload
    def score_samples(
        self,
        X: Table,
        method: str = "elbo",
        *,
        n_draws: int | None = None,
        return_std: Literal[True],
    ) -> tuple[Floats, Floats]: ...

    @overload
    def score_samples(
        self,
        X: Table,
        method: str = "elbo",
        *,
        n_draws: int | None = None,
        return_std: bool,
    ) -> Floats | tuple[Floats, Floats]: ...

    def score_samples(
        self,
        X: Table,
        method: str = "elbo",
        *,
        n_draws: int | None = None,
        return_std: bool = False,
    ) -> Floats | tuple[Floats, Floats]:
        """Return the log density of every row, or a part of it.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.
        method : {'elbo', 'evidence', 'reconstruction', 'kl', 'refined'}, default='elbo'
            'elbo' is the lower bound; 'evidence' the importance-weighted estimate of
            log p(x) from `n_draws` draws, never below the ELBO; 'reconstruction' and
            'kl' the two terms whose difference is the ELBO; 'refined' the bound after q
            was optimised for each row until it no longer improves, never below the
            ELBO.
        n_draws : int, default=None
            Number of draws to average over. None takes the block of noise that `fit`
            drew, a number a block derived from it: the same for all rows and at every
            call. Not for 'refined'.
        return_std : bool, default=False
            Also return the Monte-Carlo standard errors of the scores, from at least two
            draws. For 'evidence' it is the standard error of a logarithm, by the delta
            method, which is reliable if well below one nat. Not for 'refined'.

        Returns
        -------
        scores : ndarray (n_samples,), float64
            Nats, in the units of X; higher is more normal (but for 'kl').
        std : ndarray (n_samples,), float64
            Standard errors, if `return_std`.

        Raises
        ------
        ValueError
            If the method is not known, or has no such option.

        References
        ----------
        Burda, Grosse & Salakhutdinov (2016), eq. 8, for 'evidence'; Cremer, Li &
        Duvenaud (2018), "Inference suboptimality in variational autoencoders", section
        4.1, for 'refined'.
        """
        model = self._get_model()
        table = self._read(X, model)
        check_score_options(self, method, n_draws, return_std, len(model.noise))
        options = method, n_draws, return_std
        with self._show_progress("score_samples", len(table.array)):
            found = self._compute_scores(model, table.array, *options)
        unknown = self._score_unknown(table)
        if unknown is not None and method != "kl":
            scores = found[:, 0] if return_std else found
            scores += unknown.sum(axis=1)
        if not return_std:
            return make_array_like(X, found)
        scores, std = found.T.copy()
        return make_array_like(X, scores), make_array_like(X, std)

    def _compute_scores(
        self,
        model: Any,
        array: Any,
        method: str,
        n_draws: int | None = None,
        return_std: bool = False,
    ) -> Any:
        """Return the scores of rows by a model, ``(n,)``, or ``(n, 2)`` with errors."""
        return model.score(array, method, n_draws, return_std)

    @overload
    def score_features(self, X: FrameT) -> FrameT: ...

    @overload
    def score_features(self, X: Array) -> Floats: ...

    def score_features(self, X: Any) -> Any:
        """Return the reconstruction log-likelihood of every cell.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray or data frame (n_samples, n_features), float64
            Nats in the units of X; rows sum to ``score_samples(X, 'reconstruction')``.
            A data frame where X is one, with its columns and index.
        """
        model = self._get_model()
        table = self._read(X, model)
        with self._show_progress("score_features", len(table.array)):
            scores = model.score_columns(table.array)
        unknown = self._score_unknown(table)
        return make_table_like(X, scores if unknown is None else scores + unknown)

    # scikit-learn has no types
    @available_if(_has_discriminator)  # type: ignore[untyped-decorator]
    def discriminate(self, X: Table) -> Floats:
        r"""Compute the log-odds that rows are real; for ``objective="vaegan"`` alone.

        Any rows can be given: those of `sample`, of another model, or with parts that
        are imputed. At the best discriminator the result is :math:`\log p_{data}(x) -
        \log p_{model}(x)`: negative for rows of which `sample` draws too many.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray (n_samples,), float64
            Log-odds that a row is one of the table, not drawn from the model, nats.

        Raises
        ------
        AttributeError
            Without a discriminator.

        References
        ----------
        Goodfellow et al. (2014), "Generative adversarial nets", proposition 1.

        Examples
        --------
        >>> from skvae import VAETransformer
        >>> from skvae.datasets import make_factors
        >>> X, _ = make_factors(n_samples=200, random_state=0)
        >>> vae = VAETransformer(2, objective="vaegan", max_epochs=3, random_state=0)
        >>> odds = vae.fit(X).discriminate(vae.sample(100))
        >>> odds.shape
        (100,)
        """
        model, array = self._open(X)
        fitted = self.net_.criterion_.objective
        if not hasattr(fitted, "discriminate"):
            raise AttributeError(
                f"This {type(self).__name__} was fitted with objective={fitted!r}, "
                f"which has no discriminator; fit it with objective={self.objective!r}."
            )
        with self._show_progress("discriminate", len(array)):
            return model.map_rows(lambda x: fitted.discriminate(x.float()), array)

    def score(
        self, X: Table, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the mean ELBO of the rows.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.
        y : ignored
            There for scikit-learn's convention.
        sample_weight : array-like (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            Nats per row in the units of X.
        """
        scores = convert_array(self.score_samples(X, "elbo"), "scores")
        weight: Any = None
        if sample_weight is not None:
            weight = check_weight(sample_weight, len(scores))
            # the sum of the largest weights would overflow
            weight = weight / np.max(weight)
        return float(np.average(scores, weights=weight))

    # scikit-learn -------------------------------------------------------------------

    @property
    def history_(self) -> Any:
        """History of the net, one row per epoch."""
        return self.net_.history

    @property
    @override
    def _n_features_out(self) -> int:
        module = self.net_.module_
        return module.latent.count_embedded(module.n_components)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or `partial_fit` has succeeded."""
        return hasattr(self, "net_")

    def _get_described(self) -> dict[str, Any]:
        """Return what files and pickles hold, attributes by name.

        The copy of the module that calls share is left out.
        """
        return {k: value for k, value in vars(self).items() if k != "_kept_model"}

    def _set_described(self, parts: dict[str, Any]) -> None:
        """Set the attributes, on the CPU where the device of the model is missing."""
        # the model is made anew, whatever a file from others has in its place
        self.__dict__.update({k: v for k, v in parts.items() if k != "_kept_model"})
        if "net_" in parts:
            self.device_ = str(self.net_.module_.free.device)
            self.net_.device = self.device_

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Return a description of the estimator, its digest, and versions."""
        versions = {
            "_skvae_version": get_version(),
            "_sklearn_version": sklearn.__version__,
        }
        return dump_state(self._get_described()) | versions

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled estimator."""
        state, name = dict(state), type(self).__name__
        check_version(name, state.pop("_skvae_version", None))
        # as in estimators of scikit-learn itself
        check_sklearn_version(name, state.pop("_sklearn_version", None))
        self._set_described(load_state(state, name))

    @override
    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.allow_nan = True
        tags.input_tags.string = tags.input_tags.categorical = True
        tags.input_tags.sparse = self._accepts_sparse()
        return tags

    def _accepts_sparse(self) -> bool:
        """Return whether sparse tables of some values are accepted."""
        asked = self.likelihood
        each = list(asked.values()) if isinstance(asked, dict) else [asked]
        named = [a for a in each if not (isinstance(a, str) and a == "auto")]
        if not named:
            return True
        import_quietly("torch")
        from ._parameters._sparse_tables import accepts_sparse

        return all(map(accepts_sparse, named))
