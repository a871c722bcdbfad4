"""FitRecord: what no fitted attribute tells of a fit, some two hundred bytes."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING, Any

import sklearn

from .._warnings import note_warnings

if TYPE_CHECKING:
    from typing_extensions import Self

# warnings that are kept, and letters of each
_MOST_WARNINGS, _MOST_LETTERS = 10, 500


class FitRecord:
    """Note rows, seconds, warnings and the end of a fit; a context around it.

    They become the dict `_fit_record` of the estimator. Rows of the chunks of a stream
    are added up, and seconds of all calls on one model.

    Parameters
    ----------
    estimator : VAETransformer
    is_warm, is_chunk : bool
        Whether a trained model is trained further, and whether by a chunk of a stream.
    """

    def __init__(self, estimator: Any, is_warm: bool, is_chunk: bool) -> None:
        self.estimator, self.is_chunk, self.n_rows = estimator, is_chunk, 0
        earlier = vars(estimator).get("_fit_record") if is_warm else None
        self.earlier: dict[str, Any] = earlier or {}

    def count(self, array: Any) -> None:
        """Count rows."""
        self.n_rows = len(array)

    def __enter__(self) -> Self:
        self.begin = perf_counter()
        self.stack = ExitStack()
        self.warnings = self.stack.enter_context(note_warnings())
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.stack.close()
        if kind not in (None, KeyboardInterrupt):
            # what an earlier fit has left stays
            return
        n_before = self.earlier.get("n_rows", 0) if self.is_chunk else 0
        seconds = perf_counter() - self.begin + self.earlier.get("seconds", 0.0)
        net = vars(self.estimator).get("net_")
        shown = [text[:_MOST_LETTERS] for text in self.warnings[:_MOST_WARNINGS]]
        self.estimator._fit_record = {
            "n_rows": n_before + self.n_rows,
            "seconds": round(seconds, 3),
            "end": None if net is None else find_end(net, self.is_chunk),
            "warnings": shown,
            "versions": {
                "skvae": sys.modules[__package__.split(".")[0]].__version__,
                "scikit-learn": sklearn.__version__,
                # a subclass of str
                "torch": str(sys.modules["torch"].__version__),
            },
        }


def find_end(net: Any, is_chunk: bool) -> str:
    """Return why the training of a net has ended, in words."""
    best = dict(net.callbacks_)["best_weights"]
    if net.interrupted_:
        return "interrupted"
    if net.diverged_:
        return "the loss turned non-finite"
    if is_chunk:
        return "one pass per chunk"
    if best.patience is not None:
        if best.misses_ >= best.patience:
            return f"no better held-out score in {best.misses_} epochs"
        if best.losses_ >= math.ceil(best.lost_share * best.patience):
            return f"a falling held-out score, {best.losses_} epochs in a row"
    if net.is_stopping_:
        return "a callback"
    return f"max_epochs={net.max_epochs}"
