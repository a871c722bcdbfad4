"""The functions of `skvae.export`: what can be exported, and what is refused."""

from __future__ import annotations

from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from .._estimator import VAETransformer, get_version
from .._utils._checks import suggest
from .._utils._quiet_import import import_quietly

if TYPE_CHECKING:
    import os

    from onnx import ModelProto
    from torch.export import ExportedProgram

Method: TypeAlias = Literal[
    "transform", "reconstruct", "score_samples", "decision_function", "predict"
]

_METHODS = ("transform", "reconstruct", "score_samples")
_DETECTOR_METHODS = (*_METHODS, "decision_function", "predict")
_SCORED = ("score_samples", "decision_function", "predict")


def to_onnx(
    estimator: VAETransformer,
    path: str | os.PathLike[str] | IO[bytes] | None = None,
    method: Method = "transform",
    *,
    missing: bool = True,
) -> ModelProto:
    """Write a method of a fitted estimator into a file of ONNX.

    An estimator that was fitted to an array takes one input, ``X``. One that was fitted
    to a data frame takes an input ``(n_samples, 1)`` for each column, by its name:
    numbers, booleans, or strings for categories; "" is a missing one. Numbers and
    booleans that had missing values are floats, with NaN. A row that the estimator
    refuses has NaN as its result.

    Parameters
    ----------
    estimator : VAETransformer or VAEOutlierDetector
        A fitted estimator.
    path : str, path-like, file open for bytes or None, default=None
        Where to write; None writes no file. A file is written whole or not at all.
    method : {'transform', 'reconstruct', 'score_samples', 'decision_function', \
'predict'}, default='transform'
        The method, at its default arguments; the last two are those of
        `VAEOutlierDetector`.
    missing : bool, default=True
        Whether rows may have missing cells. Without them the file is smaller, and the
        result of a row with a missing cell is undefined.

    Returns
    -------
    onnx.ModelProto
        The model that was written.

    Raises
    ------
    ValueError
        If the method, or a member of the model, cannot be exported.
    TypeError
        If `path` is neither a path nor a file open for bytes.

    See Also
    --------
    to_torch : The same as a graph of torch.
    register_skl2onnx : Conversion of pipelines.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.export import to_onnx
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, max_epochs=1, random_state=0).fit(X)
    >>> model = to_onnx(vae, "iris.onnx")  # doctest: +SKIP
    """
    if isinstance(path, str) and path in _DETECTOR_METHODS:
        raise ValueError(
            f"path={path!r} is the name of a method; pass method={path!r}, and the "
            "name of a file as path."
        )
    score_method = check_method(estimator, method)
    _require("onnx")
    import torch

    from ._onnx import write_method

    versions = {"skvae": get_version(), "torch": torch.__version__}
    return write_method(estimator, path, method, score_method, missing, versions)


def to_torch(
    estimator: VAETransformer, method: Method = "transform", *, missing: bool = True
) -> ExportedProgram:
    """Return a method of a fitted estimator as a graph of `torch.export`.

    The graph takes rows ``(n_samples, n_features)`` in double precision: numbers,
    booleans as 0 and 1, and categories as the positions of their levels, see
    ``columns_.to_frame()``; missing values are NaN. ``graph.module()`` is a
    `torch.nn.Module`, and ``torch.export.save`` writes a file that runs without this
    package.

    Parameters
    ----------
    estimator : VAETransformer or VAEOutlierDetector
        A fitted estimator.
    method : str, default='transform'
        As in `to_onnx`. What is reconstructed are numbers and positions of levels.
    missing : bool, default=True
        Whether rows may have missing cells.

    Returns
    -------
    torch.export.ExportedProgram
        The graph, for any number of rows.

    Raises
    ------
    ValueError
        If the method, or a member of the model, cannot be exported.
    """
    score_method = check_method(estimator, method)
    from ._graph import make_function
    from ._row_count import make_program
    from ._trace import refusing

    function = make_function(estimator, method, score_method, missing)
    with refusing(estimator, method, missing):
        return make_program(function, estimator.n_features_in_)


def register_skl2onnx() -> None:
    """Register converters, so that `skl2onnx.to_onnx` converts pipelines as a whole.

    A `VAETransformer` is its `transform`, or its `score_samples` with the option
    ``{"method": "score_samples"}``. A `VAEOutlierDetector` has the outputs ``label``
    and ``scores``, what `predict` and `decision_function` return.
    """
    _require("skl2onnx")
    from ._skl2onnx import register

    register()


def _require(package: str) -> None:
    """Refuse to go on without an optional package."""
    if find_spec(package) is None:
        raise ImportError(
            f"{package} is not installed; install skvae[onnx] for exports to ONNX."
        )


def check_method(estimator: Any, method: str) -> str:
    """Return the method of scores; refuse what cannot be exported."""
    import_quietly("torch", "sympy", "torch._dynamo")
    from ..likelihoods import Transformed
    from ._graph import SCORES

    if not isinstance(estimator, VAETransformer):
        raise TypeError(
            f"{type(estimator).__name__} is not a VAETransformer or "
            "VAEOutlierDetector; for a pipeline use skl2onnx.to_onnx after "
            "skvae.export.register_skl2onnx()."
        )
    check_is_fitted(estimator)
    is_detector = isinstance(estimator, OutlierMixin)
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
    members = estimator.net_.module_.likelihood.members
    if method == "reconstruct" and any(type(m) is Transformed for m in members):
        raise ValueError(
            "method='reconstruct' cannot be exported with likelihood='transformed', "
            "whose means are integrals; use another likelihood, or export 'transform' "
            "or 'score_samples'."
        )
    return score_method
