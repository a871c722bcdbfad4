"""VAEOutlierDetector: which rows it learns from, where its threshold lies, and why.

The model and all that computes with it are `VAETransformer`'s.
"""

import copy
from numbers import Integral, Real

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._estimator import VAETransformer
from ._reservoir import Reservoir
from ._thresholds import compute_p_values, find_rank, find_share
from ._trimming import choose_near

# of the rows that the model has learned, so many score below the threshold of 'auto'
_AUTO_SHARE = 0.01
# components of z, at most, where there may be half as many as columns
_MAX_COMPONENTS = 64
# least noise, as a share of a column's variance: standard deviations of 0.5
_VARIANCE_FLOOR = 0.25
# with fewer rows, none can be held out for a threshold
_LEAST_ROWS_FOR_THRESHOLD = 10
# rows of a stream that tell its threshold
_MAX_STREAM_ROWS = 2000
# rows that say what is usual in a column, at least and at most, and cells of them
_USUAL_ROWS, _USUAL_CELLS = (5, 100), 10_000


class VAEOutlierDetector(OutlierMixin, VAETransformer):
    r"""Variational auto-encoder that tells outliers.

    A `VAETransformer` whose defaults are those of the best detector, with a threshold
    on its scores. Rows far from all others are left out of training, so that the model
    learns what most rows are like, whether X is clean or not.

    .. math:: s(x) = E_{q(z|x)}[\log p(x|z)] - \tfrac{1}{2} KL(q(z|x) \| p(z))

    is the default score, in nats; rows below `offset_` are outliers.

    Read more in the :doc:`user guide </user_guide/outliers>`.

    Parameters
    ----------
    n_components : int or 'auto', default='auto'
        Size of the latent. 'auto' is half the number of columns, at least 2 and at most
        64.
    contamination : float or 'auto', default='auto'
        Share of outliers among the rows of X, in (0, 0.5]: that share of them is below
        the threshold. It is also the rate of false alarms on new rows like those of X,
        which rows that training holds out make sure of (see Notes). 'auto' calls a row
        an outlier that scores lower than 99 in 100 of the rows that training has kept.
    score_method : {'tempered', 'elbo', 'evidence', 'reconstruction', 'refined', \
'regret'}, default='tempered'
        What `score_samples` returns by default; see there.
    trim : float, 'auto' or None, default='auto'
        Which rows training leaves out: the share that is farthest from the mean, in
        [0, 0.5); or, with 'auto', those beyond a fence of the distances, Q3 + 0.75 (Q3
        - Q1), half as far out as Tukey's. The distance is the root mean square of the
        standardised numbers of a row. None leaves out none.
    likelihood : str, Likelihood or dict, default='auto'
        p(x|z), as `VAETransformer` has it, but that 'auto' is a normal law for numbers,
        whose noise is at least a quarter of a column's variance: directions in which
        rows hardly vary would otherwise decide on their own.
    latent : {'gaussian', 'categorical', 'hierarchical'} or Latent, default='gaussian'
        Family of q(z|x), and prior p(z).
    network : {'auto', 'mlp', 'conv'} or Network, default='auto'
        Encoder and decoder.
    hidden_layer_sizes : tuple of int, default=(128, 128)
        Widths of the hidden layers of an 'mlp' encoder, mirrored in the decoder.
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
    n_draws : int, default=8
        Noise vectors in the block that scores share. More change the order of rows
        hardly.
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
    offset_ : float
        Threshold on the scores of `score_method`, nats.
    trimmed_ : ndarray of bool (n_samples,)
        The rows of X, of the last chunk of a stream, that were too far out to learn
        from.
    calibration_scores_ : ndarray (n_calibration,) or None
        Scores of rows by models that have not learned them, in no order; None with
        ``contamination='auto'``, for fewer than ten rows, for streams and after a warm
        start.
    usual_scores_ : ndarray (n_features,)
        Median of log p(x_j | all other cells) in every column, of some of the rows that
        training has kept, nats; see `explain`.
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
    VAETransformer : The model.
    sklearn.ensemble.IsolationForest : Trees that isolate rows.
    sklearn.neighbors.LocalOutlierFactor : Density beside that of neighbours.

    Notes
    -----
    Scores of rows that a model has learned are too high, and a threshold at a quantile
    of theirs too. With ``contamination=c``, rows are also scored by models that have
    not learned them: up to 3,000 rows, all of them, by the five networks that are
    trained on four fifths each beside the one that is kept; of larger tables, a fifth
    (5,000 at most) that training leaves to judge by; the rows of `X_val` if there are
    any; and the rows that were trimmed. Where the share of them below the quantile is c
    within two standard errors, the quantile is the threshold: of X exactly the share c
    is below. Otherwise it is the k-th lowest of those scores, k = floor(c (n + 1)),
    below which a new row is with a probability of about c. These rows also tell when
    training stops, by the mean of their bounds: p-values and rates are approximate to
    that extent, and because five networks stand in for a sixth.

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

    _parameter_constraints = {  # noqa: RUF012
        **VAETransformer._parameter_constraints,
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "contamination": [
            StrOptions({"auto"}),
            Interval(Real, 0, 0.5, closed="right"),
        ],
        "score_method": [
            StrOptions({"tempered", "regret", *VAETransformer._methods} - {"kl"})
        ],
        "trim": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="left"), None],
    }

    _methods = ("tempered", *VAETransformer._methods, "regret")
    _averages = ("tempered", *VAETransformer._averages)

    def __init__(
        self,
        n_components="auto",
        *,
        contamination="auto",
        score_method="tempered",
        trim="auto",
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
        n_draws=8,
        device="auto",
        warm_start=False,
        random_state=None,
        verbose=0,
        net_callbacks=None,
        net_params=None,
    ):
        super().__init__(
            n_components,
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
        )
        self.contamination = contamination
        self.score_method = score_method
        self.trim = trim

    # fitting ------------------------------------------------------------------------

    def _choose_rows(self, fitted, kinds, likelihood):
        from ..likelihoods._levels import LevelLikelihood

        kept = fitted.counted
        if self.trim is None or not kept.any():
            return kept
        is_number = [
            kind.likelihood == "auto"
            and not isinstance(likelihood.get_member(j), LevelLikelihood)
            for j, kind in enumerate(kinds)
        ]
        array, weight = fitted.select(kept)
        kept[kept] = choose_near(array, weight, np.array(is_number), self.trim)
        return kept

    def _asks_judges(self, n_samples):
        enough = n_samples >= _LEAST_ROWS_FOR_THRESHOLD
        return self.contamination != "auto" and enough

    def _make_number_likelihood(self):
        from ..likelihoods import Gaussian

        return Gaussian(variance_floor=_VARIANCE_FLOOR)

    def _count_components(self, n_features):
        if self.n_components != "auto":
            return self.n_components
        return int(np.clip(n_features // 2, 2, _MAX_COMPONENTS))

    def _conclude(self, fitted):
        counted = fitted.counted
        self.trimmed_ = counted & ~fitted.kept
        if fitted.is_chunk:
            # what a stream has let pass, and not its last chunk, tells the threshold
            stream = self._stream if fitted.goes_on and self._stream else None
            self._stream = copy.deepcopy(stream or Reservoir(_MAX_STREAM_ROWS))
            self._stream.add(*fitted.select(counted))
            array, weight, kept = self._stream.rows, None, slice(None)
        else:
            self._stream = None
            array, weight = fitted.select(counted)
            kept = fitted.kept[counted]
        weight = np.ones(len(array)) if weight is None else weight
        scores = self._score(array)
        self._usual_rows = self._choose_usual(array[kept])
        self._usual_scores = None
        self._calibrate(fitted, scores, weight)
        if self.contamination == "auto":
            self.offset_ = find_share(scores[kept], weight[kept], _AUTO_SHARE)
            return
        self.offset_ = find_share(scores, weight, self.contamination)
        if self.calibration_scores_ is not None:
            self._move_threshold()

    def _calibrate(self, fitted, scores, weight):
        """Note scores of rows by models that have not learned them."""
        self.calibration_scores_ = self._calibration_weight = None
        if self.contamination == "auto" or fitted.is_chunk:
            return
        if fitted.validation is not None:
            if len(fitted.validation) < _LEAST_ROWS_FOR_THRESHOLD:
                return
            self.calibration_scores_ = self._score(fitted.validation)
            self._calibration_weight = np.ones(len(fitted.validation))
            return
        if not fitted.judges:
            return
        kept = fitted.kept[fitted.counted]
        array, shares = fitted.get_kept()[0], weight[kept]
        method = self.score_method
        held_out = np.concatenate([rows for _, rows in fitted.judges])
        found = [_score(judge, array[rows], method) for judge, rows in fitted.judges]
        # rows that were trimmed have been seen by nobody, and count as the others do
        share = shares[held_out].sum() / shares.sum()
        self.calibration_scores_ = np.concatenate([*found, scores[~kept]])
        self._calibration_weight = np.concatenate(
            [shares[held_out], share * weight[~kept]]
        )

    def _move_threshold(self):
        """Move the threshold where rows nobody has learned say that it is elsewhere."""
        scores, weight = self.calibration_scores_, self._calibration_weight
        share = self.contamination
        missed = weight[scores < self.offset_].sum() / weight.sum() - share
        n_rows = weight.sum() ** 2 / (weight**2).sum()
        if abs(missed) > 2 * np.sqrt(share * (1 - share) / n_rows):
            self.offset_ = find_rank(scores, weight, share)

    @staticmethod
    def _choose_usual(array):
        """Return a few rows, spread evenly, that say what is usual."""
        n_rows = int(np.clip(_USUAL_CELLS // array.shape[1], *_USUAL_ROWS))
        step = max(1, len(array) // n_rows)
        return np.array(array[::step][:n_rows], dtype=np.float64)

    @property
    def usual_scores_(self):
        """Median of log p(x_j | all other cells) in every column, nats."""
        check_is_fitted(self)
        if self._usual_scores is None:
            # a pass for every column: made when it is first asked for
            scores = self._score_given_rest(self._usual_rows)
            scores[np.isnan(self._usual_rows)] = np.nan
            # a column may have no observed cell among them
            filled = np.where(np.isnan(scores).all(axis=0), 0.0, scores)
            self._usual_scores = np.nanmedian(filled, axis=0)
        return self._usual_scores

    def _score_given_rest(self, array):
        """Return log p(x_j | the other cells) of every cell, by the bound of both."""
        model = self._get_model()
        array = np.array(array, dtype=np.float64)
        whole = model.score(array, "elbo")
        scores = np.zeros(array.shape)
        for j in range(array.shape[1]):
            column = array[:, j].copy()
            observed = ~np.isnan(column)
            if not observed.any():
                continue
            array[:, j] = np.nan
            rest = model.score(array[observed], "elbo")
            array[:, j] = column
            with np.errstate(invalid="ignore"):
                scores[observed, j] = whole[observed] - rest
        # -inf with and without the cell: it is another that is to blame
        return np.where(np.isnan(scores), 0.0, scores)

    # scores -------------------------------------------------------------------------

    def score_samples(self, X, method=None, *, n_draws=None, return_std=False):
        r"""Return how normal every row is.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
        method : str, default=None
            None takes `score_method`. Beside those of `VAETransformer`:

            - 'tempered': :math:`E_q[\log p(x|z)] - KL(q \| p) / 2`, between
              'reconstruction' and 'elbo';
            - 'regret': minus the likelihood regret, :math:`ELBO(q^*) - ELBO(q)`, the
              difference of 'refined' and 'elbo', at most 0. For images, of which the
              likelihood alone may call simpler ones more normal than those it has
              learned.
        n_draws : int, default=None
            As in `VAETransformer.score_samples`.
        return_std : bool, default=False
            As there; not for 'regret'.

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
        Higgins et al. (2017), "beta-VAE", eq. 4, for 'tempered'; Xiao, Yan & Amit
        (2020), "Likelihood regret", eq. 4, for 'regret'.
        """
        method = self.score_method if method is None else method
        if method != "regret":
            return super().score_samples(
                X, method, n_draws=n_draws, return_std=return_std
            )
        self._check_draws(method, n_draws, return_std)
        _, array = self._read(X)
        return self._score(array, method)

    def _score(self, array, method=None):
        """Return the scores of rows that have been checked."""
        method = self.score_method if method is None else method
        return _score(self._get_model(), array, method)

    def explain(self, X):
        r"""Return by how much every cell is less likely than is usual in its column.

        .. math::
            \log p(x_j | x_{-j}) - u_j, \quad
            \log p(x_j | x_{-j}) = \log p(x) - \log p(x_{-j})

        where the two terms are the bounds with and without the cell, and :math:`u_j`,
        `usual_scores_`, is what rows of training have there. The lowest cells are why
        a row is odd. A cell is judged by what the rest of the row lets expect, and not
        by a z that it has pulled along; columns compare whatever their units.

        It takes as many passes as there are columns. `score_features` is quicker, of
        cells given z.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_features), float64
            Nats; 0 where a cell is missing.
        """
        _, array = self._read(X)
        scores = self._score_given_rest(array) - self.usual_scores_
        return np.where(np.isnan(np.asarray(array, dtype=np.float64)), 0.0, scores)

    def decision_function(self, X):
        """Return how far above the threshold every row scores.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples,), float64
            Nats; ``score_samples(X) - offset_``, negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Return -1 for outliers and 1 for all other rows.

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples,), int
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X, X_calibration=None):
        r"""Return the share of normal rows that would be as odd as every row.

        .. math:: p(x) = \frac{1 + \#\{i: s_i \le s(x)\}}{n + 1}

        with the scores :math:`s_i` of n rows that training has not learned. Of new rows
        like those, at most a share p has a value of p or less, if they were kept from
        training altogether, as those of `X_calibration` are; about that share with
        `calibration_scores_` (see Notes of the class).

        Parameters
        ----------
        X : array-like or data frame (n_samples, n_features)
        X_calibration : array-like or data frame (n_new, n_features), default=None
            Normal rows, none of which was in the X of `fit`. None takes
            `calibration_scores_`, which a fit with a number for `contamination` has.

        Returns
        -------
        ndarray (n_samples,), float64

        Raises
        ------
        ValueError
            If there are no scores to compare with.

        References
        ----------
        Bates, Candès, Lei, Romano & Sesia (2023), "Testing for outliers with conformal
        p-values", eq. 2.
        """
        check_is_fitted(self)
        if X_calibration is not None:
            reference = self.score_samples(X_calibration)
            weight = np.ones(len(reference))
        elif self.calibration_scores_ is not None:
            reference, weight = self.calibration_scores_, self._calibration_weight
        else:
            raise ValueError(
                "p_values needs scores of rows that training has not learned: pass "
                "X_calibration, or fit with a number for contamination and ten rows or "
                "more. There are none with 'auto', after partial_fit and warm starts."
            )
        return compute_p_values(self.score_samples(X), reference, weight)


def _score(model, array, method):
    """Return the scores of rows by a model."""
    if method == "regret":
        return model.score(array, "elbo") - model.score(array, "refined")
    return model.score(array, method)
