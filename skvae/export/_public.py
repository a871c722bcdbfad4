"""The functions of `skvae.export`: what can be exported, and what is refused."""

import sys

from sklearn.utils.validation import check_is_fitted

from .._estimator import VAETransformer
from .._outliers import VAEOutlierDetector
from .._utils._checks import suggest
from .._utils._quiet_import import import_quietly

_METHODS = ("transform", "reconstruct", "score_samples")
_DETECTOR_METHODS = (*_METHODS, "decision_function", "predict")
_SCORED = ("score_samples", "decision_function", "predict")


def to_onnx(estimator, path=None, method="transform", *, missing=True):
    """Write a method of a fitted estimator into a file of ONNX.

    Parameters
    ----------
    estimator : VAETransformer or VAEOutlierDetector
        A fitted estimator.
    path : str, path-like, file open for bytes or None, default=None
        Where to write; None writes no file.
    method : {'transform', 'reconstruct', 'score_samples', 'decision_function', \
'predict'}, default='transform'
        The method; the last two are those of `VAEOutlierDetector`.
    missing : bool, default=True
        Whether rows may have missing cells. Without them the file is smaller, and rows
        with such cells have NaN as their result.

    Returns
    -------
    onnx.ModelProto
        The model that was written.
    """
    from ._onnx import describe, make_model, write

    score_method = _check(estimator, method)
    model = make_model(estimator, method, score_method, missing)
    describe(model, estimator, method, score_method, _get_versions())
    import onnx

    onnx.checker.check_model(model, full_check=True)
    if path is not None:
        write(model, path)
    return model


def to_torch(estimator, method="transform", *, missing=True):
    """Return a method of a fitted estimator as a graph of `torch.export`."""
    score_method = _check(estimator, method)
    from ._graph import make_function
    from ._trace import make_program

    function = make_function(estimator, method, score_method, missing)
    return make_program(function, estimator.n_features_in_)


def _get_versions():
    import torch

    package = sys.modules[__package__.split(".")[0]]
    return {"skvae": package.__version__, "torch": torch.__version__}


def _check(estimator, method):
    """Return the method of scores; refuse what cannot be exported."""
    import_quietly("torch", "sympy")
    from ._graph import SCORES

    if not isinstance(estimator, VAETransformer):
        raise TypeError(
            f"{type(estimator).__name__} is no VAETransformer or VAEOutlierDetector; "
            "for a pipeline use skl2onnx.to_onnx after "
            "skvae.export.register_skl2onnx()."
        )
    check_is_fitted(estimator)
    is_detector = isinstance(estimator, VAEOutlierDetector)
    methods = _DETECTOR_METHODS if is_detector else _METHODS
    if method not in methods:
        raise ValueError(
            f"method={method!r} of {type(estimator).__name__} cannot be exported"
            f"{suggest(method, methods)}; {', '.join(map(repr, methods))} can."
        )
    score_method = estimator.score_method if is_detector else "elbo"
    if method in _SCORED and score_method not in SCORES:
        raise ValueError(
            f"score_method={score_method!r} optimises every row, which no graph does; "
            "set score_method='tempered' or another average over draws, and fit again."
        )
    return score_method
