"""VAEOutlierDetector: a VAETransformer with trimming, threshold and explanations."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from .._columns import convert_array, make_array_like, make_table_like
from .._estimator import VAETransformer
from .._utils._lazy_rows import select_rows
from .._utils._numpy_errors import uses_default_errors
from ._calibration import LEAST_ROWS, calibrate, measure
from ._explanation import choose_usual_rows, compute_usual_scores, score_given_rest
from ._levels import SeenLevels
from ._reservoir import Reservoir
from ._thresholds import compute_p_values
from ._trimming import choose_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .._utils._typing import Array, Floats, FrameT, RandomState, Table
    from ..latents import Latent
    from ..likelihoods import Likelihood
    from ..networks import Network
    from ..objectives import Objective

# largest number of components of 'auto'
_MAX_COMPONENTS = 64
# rows for every component, at least
_ROWS_OF_COMPONENT = 4
# least variance of the normals of a column, as a share of its variance
_VARIANCE_FLOOR = 1e-3


@uses_default_errors
class VAEOutlierDetector(OutlierMixin, VAETransformer):
    r"""Variational auto-encoder for outlier detection.

    A `VAETransformer` with defaults for detection and a threshold on its scores. Rows
    far from all others are left out of training, so that the model learns the
    distribution of normal rows, whether X is clean or not.

    The default score, 'pooled', combines two (see Notes): that of the model,
    'tempered',

    .. math:: s(x) = E_{q(z|x)}[\log p(x|z)] - \tfrac{1}{2} KL(q(z|x) \| p(z)),

    and the distance of a row from the two nearest rows of `fit`, 'nearest'. Rows that
    score below `offset_` are outliers.

    Read more in the :doc:`user guide </user_guide/outliers>`.

    Parameters
    ----------
    n_components : int or 'auto', default='auto'
        Size of the latent. 'auto' is half the number of columns, but no more than a
        quarter of the number of rows, at least 2, or 1 for few rows, and at most 64.
    contamination : float or 'auto', default='auto'
        Share of outliers among the rows of X, in (0, 0.5]: this share of them is below
        the threshold. It is also the rate of false alarms on new rows like those of X,
        which held-out rows ensure (see Notes). With 'auto', the threshold is below the
        scores of 99 in 100 rows, leaving aside rows that score far below all others.
    score_method : str, default='pooled'
        Default method of `score_samples`: 'pooled', 'tempered', 'nearest', 'elbo',
        'evidence', 'reconstruction', 'refined' or 'regret'. The one at `fit` stays, as
        `offset_` is a threshold on its scores.
    trim : float, 'auto' or None, default='auto'
        Rows that are left out of training: the share that is farthest from the mean, in
        [0, 0.5); with 'auto', rows beyond a fence of the distances, Q3 + 0.75 (Q3 -
        Q1), half as far out as Tukey's. The distance is the root mean square of the
        standardised numbers of a row. None leaves out no row.
    likelihood : str, Likelihood or dict, default='auto'
        p(x|z), as in `VAETransformer`, except that 'auto' is a mixture of normals for
        numbers, whose variances are at least a thousandth of a column's: otherwise
        repeated values would dominate the score. It has ``n_constant=0``: components
        around single values would take in outliers that are alike; and
        ``background_weight=0``, so that a far value is as unlikely as it is far.
    latent, network : optional
        The model, as in `VAETransformer`.
    hidden_layer_sizes : tuple of int or 'auto', default=(128, 128)
        Widths of the hidden layers, as in `VAETransformer`.
    activation, dropout : optional
        The network, as in `VAETransformer`.
    init, standardize, image_shape : optional
        Where training starts, and what X is, as in `VAETransformer`.
    objective, beta, kl_warmup, max_epochs, batch_size, lr, optimizer : optional
        Training, as in `VAETransformer`.
    weight_decay, early_stopping, validation_fraction : optional
        Regularisation and held-out rows, as in `VAETransformer`.
    n_iter_no_change, tol : optional
        When training stops, as in `VAETransformer`.
    n_draws : int or 'auto', default=8
        Number of noise vectors, which all scores share; 'auto' is as in
        `VAETransformer`. More draws barely change the ranking.
    device, warm_start : optional
        Where training runs, and where it starts, as in `VAETransformer`.
    random_state, verbose, net_callbacks, net_params : optional
        As in `VAETransformer`.
    n_ensemble : int, default=1
        Number of members, as in `VAETransformer`. Rows for the threshold are scored by
        ensembles of as many members.

    Attributes
    ----------
    offset_ : float
        Threshold on the scores of `score_method`, nats.
    threshold_ : float
        Minus `offset_`, as in PyOD.
    decision_scores_ : ndarray (n_samples,)
        Minus the scores of the rows of `fit`, high for outliers, as in PyOD; not for
        streams.
    labels_ : ndarray of int (n_samples,)
        1 for rows of `fit` with `decision_scores_` above `threshold_`, 0 for others.
    trimmed_ : ndarray of bool (n_samples,)
        Rows of X, or of the last chunk of a stream, that were left out of training.
    calibration_scores_ : ndarray (n_calibration,) or None
        Scores of rows by models that were not trained on them, in no order; with
        ``contamination='auto'`` without those far below the others. None for fewer than
        ten rows, for streams and after a warm start.
    usual_scores_ : ndarray (n_features,)
        Median of log p(x_j | all other cells) in every column, over some of the
        training rows, nats; see `explain`.
    net_, columns_, device_, n_components_, n_features_in_, feature_names_in_ :
        As in `VAETransformer`.
    n_iter_, history_ :
        As in `VAETransformer`.
    loss_curve_, validation_scores_, best_validation_score_, noise_variance_ :
        As in `VAETransformer`.
    kl_per_component_, n_active_components_ :
        As in `VAETransformer`.

    See Also
    --------
    VAETransformer : The model.
    sklearn.ensemble.IsolationForest : Trees that isolate rows.
    sklearn.neighbors.LocalOutlierFactor : Density beside that of neighbours.

    Notes
    -----
    With the two scores :math:`s_k`, 'tempered' and 'nearest', the default is

    .. math::
        s(x) = \frac{1}{2} \sum_{k=1}^2 \log \sigma(t_k), \quad
        t_k = \frac{s_k(x) - c_k}{w_k}

    where :math:`c_k` is the median of the scores of the rows that were trained on, and
    :math:`w_k` the distance from there to their 16th percentile: :math:`\sigma(t_k)`,
    the logistic function, is a smooth p-value. Columns that were constant at `fit` are
    in neither score; a value that differs there lowers the sum, in nats. The detector,
    and a file of it, contains up to 4,096 rows of `fit`, for the distances.

    Scores of training rows are too high, and so is a threshold at one of their
    quantiles. With ``contamination=c``, rows are also scored by models that were not
    trained on them. Up to 3,000 rows these are all rows, scored by five networks that
    are trained on four fifths each, beside the network that is kept; of larger tables a
    fifth of the rows (5,000 at most), which training holds out. Trimmed rows are added.
    `X_val`, if given, takes the place of all these. If the share of these scores below
    the quantile is c within two standard errors, the quantile is the threshold: exactly
    the share c of X is below it. Otherwise the threshold is the k-th lowest of the
    scores, k = floor(c (n + 1)), and a new row is below it with a probability of about
    c. Early stopping uses the mean ELBO of the same rows, and five networks represent a
    sixth: p-values and rates are approximate to that extent.

    With ``contamination='auto'``, c is 0.01, the rows scored by other models are those
    that early stopping holds out, and rows far below the others do not count: those
    whose score is farther below the best one than Q3 (Q3 / Q2)^3.5, with Q2 and Q3 the
    median and the upper quartile of these differences (of 'tempered' scores, where the
    method is 'pooled').

    References
    ----------
    An & Cho (2015), "Variational autoencoder based anomaly detection using
    reconstruction probability", algorithm 4; Higgins et al. (2017), "beta-VAE", eq. 4,
    for the weight of the KL; Tukey (1977), "Exploratory data analysis", section 2D,
    for the fence; Vovk, Gammerman & Shafer (2005), "Algorithmic learning in a random
    world", section 4.2, and Barber et al. (2021), "Predictive inference with the
    jackknife+", section 3, for the thresholds.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEOutlierDetector
    >>> from skvae.datasets import make_factors
    >>> X, _ = make_factors(300, 6, 2, random_state=0)
    >>> X[0, 3] += 20
    >>> detector = VAEOutlierDetector(random_state=0).fit(X)
    >>> detector.predict(X[:1])
    array([-1])
    >>> int(np.argmin(detector.explain(X[:1])))
    3
    """

    # fitted attributes
    offset_: float
    trimmed_: NDArray[np.bool_]
    calibration_scores_: Floats | None

    _stream: Reservoir | None
    _usual_scores: Any

    if TYPE_CHECKING:

        def fit_predict(
            self, X: Table, y: Any = None, **kwargs: Any
        ) -> NDArray[np.int_]: ...

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        # the detector has the joint density
        **{
            k: v
            for k, v in VAETransformer._parameter_constraints.items()
            if k != "density"
        },
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "score_method": [
            StrOptions(
                {"pooled", "tempered", "nearest", "regret", *VAETransformer._methods}
                - {"kl"}
            )
        ],
        "trim": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="left"), None],
    }

    _methods = ("pooled", "tempered", "nearest", *VAETransformer._methods, "regret")
    _averages = ("pooled", "tempered", *VAETransformer._averages)
    _marks_unknown = True
    # of pickles that do not have them
    _levels = SeenLevels()
    _training_scores = _pooled = None

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        contamination: float | Literal["auto"] = "auto",
        score_method: str = "pooled",
        trim: float | Literal["auto"] | None = "auto",
        likelihood: Likelihood | str | dict[Any, Any] = "auto",
        latent: Latent | str = "gaussian",
        network: Network | str = "auto",
        hidden_layer_sizes: Sequence[int] | int | Literal["auto"] = (128, 128),
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
        n_draws: int | Literal["auto"] = 8,
        device: str = "auto",
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: int | bool = 0,
        net_callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        n_ensemble: int = 1,
    ) -> None:
        super().__init__(
            n_components,
            density="joint",
            likelihood=likelihood,
            latent=latent,
            network=network,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            init=init,
            standardize=standardize,
            image_shape=image_shape,
            objective=objective,
            beta=beta,
            kl_warmup=kl_warmup,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            optimizer=optimizer,
            weight_decay=weight_decay,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            n_draws=n_draws,
            device=device,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
            net_callbacks=net_callbacks,
            net_params=net_params,
            n_ensemble=n_ensemble,
        )
        self.contamination = contamination
        self.score_method = score_method
        self.trim = trim

    @override
    def _choose_rows(self, data: Any, likelihood: Any) -> Any:
        return choose_rows(data, likelihood, self.trim)

    @override
    def _needs_fold_models(self, n_samples: int) -> bool:
        return n_samples >= LEAST_ROWS

    @override
    def _needs_all_held_out(self) -> bool:
        return self.contamination != "auto"

    @override
    def _make_number_likelihood(self) -> Any:
        from ..likelihoods import GaussianMixture

        return GaussianMixture(
            variance_floor=_VARIANCE_FLOOR, n_constant=0, background_weight=0.0
        )

    @override
    def _count_components(self, n_features: int, n_rows: int) -> int | None:
        if self.n_components != "auto":
            return super()._count_components(n_features, n_rows)
        n_components = int(np.clip(n_features // 2, 2, _MAX_COMPONENTS))
        # as many as rows would fit these exactly, and no others
        return max(1, min(n_components, n_rows // _ROWS_OF_COMPONENT))

    @override
    def _conclude(self, data: Any) -> None:
        from ._pooled import PooledScore

        self._method = self.score_method
        array: Any
        weight: Any
        counted = data.counted
        self.trimmed_ = counted & ~data.kept
        if data.is_chunk:
            # the threshold is found from a sample of all chunks
            earlier = (data.is_warm and self._stream) or Reservoir()
            self._stream = earlier.extend(*data.select(counted))
            array, weight = self._stream.rows, None
            kept = np.ones(len(array), dtype=bool)
        else:
            self._stream = None
            array, weight = data.select(counted)
            kept = data.kept[counted]
        weight = np.ones(len(array)) if weight is None else weight
        with self._show_progress("fit (threshold)", len(array)):
            self._pooled, found, held_out = PooledScore.learn(
                self._get_model(), data, array, weight, kept
            )
            if self._fitted_method != "pooled":
                found, held_out = measure(data, self._score, array, weight)
        scores = found.scores
        self._training_scores = None if data.is_chunk else scores
        usual = choose_usual_rows(select_rows(array, kept))
        self._usual_rows, self._usual_scores = usual, None
        self.offset_, held_out = calibrate(found, held_out, self.contamination)
        self.calibration_scores_ = held_out and held_out.scores
        self._calibration_weight = held_out and held_out.weight
        seen = self._levels if data.is_warm else SeenLevels()
        self._levels = seen.extend(
            data.select(counted)[0], self.columns_, scores[kept], self.offset_
        )
        if not data.is_chunk and not counted.all():
            # rows without weight may have levels that are unknown
            scores = self.score_samples(data.table.given)
            self._training_scores = convert_array(scores, "scores")

    @property
    def _fitted_method(self) -> str:
        """The method of the scores that `offset_` was found from."""
        return vars(self).get("_method", self.score_method)

    def _get_pooled(self) -> Any:
        """Return what scores are pooled with; fits of earlier versions have none."""
        if self._pooled is None:
            raise ValueError(
                "This detector was fitted by a version of skvae without the scores "
                "'pooled' and 'nearest'; fit again, or pass method='tempered'."
            )
        return self._pooled

    @override
    def _collect_own_facts(self) -> dict[str, Any]:
        scores, held_out = self._training_scores, self.calibration_scores_
        share = self.contamination
        return {
            "outliers": {
                "offset": float(self.offset_),
                "score_method": self._fitted_method,
                "contamination": share if share == "auto" else float(share),
                "flagged_share": None if scores is None else float(self.labels_.mean()),
                "n_trimmed": int(self.trimmed_.sum()),
                "n_calibration": None if held_out is None else len(held_out),
            }
        }

    @property
    def threshold_(self) -> float:
        """Threshold on `decision_scores_`, as in PyOD; minus `offset_`."""
        check_is_fitted(self)
        return -self.offset_

    @property
    def decision_scores_(self) -> Floats:
        """Minus the scores of the rows of `fit`, (n_samples,), as in PyOD; nats."""
        check_is_fitted(self)
        if self._training_scores is None:
            raise AttributeError(
                "decision_scores_ and labels_ are those of the rows of `fit`; a stream "
                "has too many of them. Use score_samples(X) and predict(X)."
            )
        return -self._training_scores

    @property
    def labels_(self) -> NDArray[np.int64]:
        """1 for rows of `fit` above the threshold, 0 for others, as in PyOD."""
        return (self.decision_scores_ > self.threshold_).astype(int)

    @property
    def usual_scores_(self) -> Floats:
        """Median of log p(x_j | all other cells) in every column, nats."""
        check_is_fitted(self)
        if self._usual_scores is None:
            # computed when it is first needed: one pass per column
            self._usual_scores = compute_usual_scores(
                self._get_model(), self._usual_rows
            )
        return self._usual_scores

    @overload
    def score_samples(
        self,
        X: Table,
        method: str | None = None,
        *,
        n_draws: int | None = None,
        return_std: Literal[False] = False,
    ) -> Floats: ...

    @overload
    def score_samples(
        self,
        X: Table,
        method: str | None = None,
        *,
        n_draws: int | None = None,
        return_std: Literal[True],
    ) -> tuple[Floats, Floats]: ...

    @overload
    def score_samples(
        self,
        X: Table,
        method: str | None = None,
        *,
        n_draws: int | None = None,
        return_std: bool,
    ) -> Floats | tuple[Floats, Floats]: ...

    @override
    def score_samples(
        self,
        X: Table,
        method: str | None = None,
        *,
        n_draws: int | None = None,
        return_std: bool = False,
    ) -> Floats | tuple[Floats, Floats]:
        r"""Return the score of every row: high for normal rows, low for outliers.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.
        method : str, default=None
            None is `score_method`. Four methods beside those of `VAETransformer`:

            - 'tempered': :math:`E_q[\log p(x|z)] - KL(q \| p) / 2`, between
              'reconstruction' and 'elbo';
            - 'nearest': minus the logarithm of 0.001 plus the mean distance from the
              two nearest rows of `fit` (of 4,096 at most), in standard deviations; a
              row is not its own neighbour;
            - 'pooled': the mean of the logarithms of 'tempered' and 'nearest' as
              smooth p-values (see Notes of the class);
            - 'regret': minus the likelihood regret, :math:`ELBO(q^*) - ELBO(q)`, the
              difference of 'refined' and 'elbo', at most 0. It is for images: there
              the likelihood may be higher for simpler images than for training images.
        n_draws : int, default=None
            As in `VAETransformer.score_samples`.
        return_std : bool, default=False
            As in `VAETransformer.score_samples`; not for 'nearest' and 'regret'.

        Returns
        -------
        scores : ndarray (n_samples,), float64
            Nats, in the units of X ('pooled' and 'nearest' have none); higher is more
            normal (but for 'kl').
        std : ndarray (n_samples,), float64
            Standard errors, if `return_std`.

        Raises
        ------
        ValueError
            If the method is not known, or has no such option.

        References
        ----------
        Higgins et al. (2017), "beta-VAE", eq. 4, for 'tempered'; Xiao, Yan & Amit
        (2020), "Likelihood regret", eq. 4, for 'regret'; Fisher (1932), "Statistical
        methods for research workers", section 21.1, for 'pooled'.
        """
        method = self._fitted_method if method is None else method
        return super().score_samples(X, method, n_draws=n_draws, return_std=return_std)

    @override
    def _compute_scores(
        self,
        model: Any,
        array: Any,
        method: str,
        n_draws: int | None = None,
        return_std: bool = False,
    ) -> Any:
        if method == "regret":
            return model.score(array, "elbo") - model.score(array, "refined")
        if method in ("pooled", "nearest"):
            pooled = self._get_pooled()
            if method == "nearest":
                return pooled.nearest.score(model, array)
            return pooled.score(model, array, n_draws, return_std)
        return super()._compute_scores(model, array, method, n_draws, return_std)

    @override
    def _hide_unknown(self, table: Any) -> Any:
        return self._levels.hide_unknown(table)

    @override
    def _score_unknown(self, table: Any) -> Any:
        if table.unknown is None:
            return None
        return np.where(table.unknown, self._levels.score, 0.0)

    def _score(self, array: Any, model: Any = None) -> Any:
        """Return the default scores of rows by a model; None is the fitted one."""
        model = self._get_model() if model is None else model
        return self._compute_scores(model, array, self._fitted_method)

    @overload
    def explain(self, X: FrameT) -> FrameT: ...

    @overload
    def explain(self, X: Array) -> Floats: ...

    def explain(self, X: Any) -> Any:
        r"""Return how much less likely every cell is than usual in its column.

        .. math::
            \log p(x_j | x_{-j}) - u_j, \quad
            \log p(x_j | x_{-j}) = \log p(x) - \log p(x_{-j})

        where the two terms are the ELBO with and without the cell, and :math:`u_j`,
        `usual_scores_`, is the median of the column over training rows. The cells with
        the lowest values are the reason why a row is an outlier. A cell is compared
        with its prediction from the rest of the row; the encoder does not see it. The
        units of columns cancel.

        It takes one pass per column. `score_features` is faster: it scores cells given
        z.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray or data frame (n_samples, n_features), float64
            Nats; 0 where a cell is missing. A data frame where X is one, with its
            columns and index.
        """
        model = self._get_model()
        table = self._read(X, model)
        array = np.asarray(table.make_dense(), dtype=np.float64)
        missing = np.isnan(array)
        # every row whole, and without each of its cells
        with self._show_progress("explain", array.size + len(array)):
            scores, usual = score_given_rest(model, array), self.usual_scores_
        unknown = self._score_unknown(table)
        if unknown is not None:
            scores, missing = scores + unknown, missing & ~table.unknown
        parts = np.where(missing, 0.0, scores - usual)
        return make_table_like(X, parts)

    def decision_function(self, X: Table) -> Floats:
        """Return the score of every row minus the threshold.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray (n_samples,), float64
            Nats; ``score_samples(X) - offset_``, negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Table) -> NDArray[np.int_]:
        """Return -1 for outliers and 1 for all other rows.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.

        Returns
        -------
        ndarray (n_samples,), int
            -1 for outliers, 1 for all other rows.
        """
        scores = convert_array(self.decision_function(X), "scores")
        return make_array_like(X, np.where(scores < 0, -1, 1))

    def p_values(self, X: Table, X_calibration: Table | None = None) -> Floats:
        r"""Return the share of normal rows that score as low as each row, or lower.

        .. math:: p(x) = \frac{1 + \#\{i: s_i \le s(x)\}}{n + 1}

        with the scores :math:`s_i` of n rows that the model was not trained on. Of new
        rows like these, a share of at most p has a p-value of p or less if the n rows
        played no part in training, as those of `X_calibration`; with
        `calibration_scores_` the share is approximate (see Notes of the class).

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
            Rows of the columns that were fitted.
        X_calibration : array-like or data frame (n_new, n_features), default=None
            Normal rows, none of which was in the X of `fit`. None uses
            `calibration_scores_`.

        Returns
        -------
        ndarray (n_samples,), float64
            Probabilities; small for outliers.

        Raises
        ------
        ValueError
            If there are no such scores.

        References
        ----------
        Bates, Candès, Lei, Romano & Sesia (2023), "Testing for outliers with conformal
        p-values", eq. 2.
        """
        check_is_fitted(self)
        if X_calibration is not None:
            reference = convert_array(self.score_samples(X_calibration), "scores")
            weight = np.ones(len(reference))
        elif self.calibration_scores_ is not None:
            reference, weight = self.calibration_scores_, self._calibration_weight
        else:
            raise ValueError(
                "p_values needs scores of rows that the model was not trained on: pass "
                "X_calibration, or fit at least ten rows with early_stopping or a "
                "number for contamination. There are none after partial_fit or a warm "
                "start."
            )
        scores = convert_array(self.score_samples(X), "scores")
        found = compute_p_values(scores, reference, weight)
        return make_array_like(X, found)
