"""Scores of one row at a time: recorded once they are asked for often.

Nearly all the time of a single row is that of calling operations, not of what they do.
"""

from threading import Lock

import torch

from .._replay import NotRepeatableError, are_known, is_watched, list_contents, record
from .._utils._missing import find_missing, missing_cells_known

# calls after which a recording, which takes as long as some thirty of them, is made
_N_CALLS = 32
# relative difference up to which a recording is believed
_TOLERANCE = 1e-6


class SingleRow:
    """Repeats a recorded function on single rows without missing cells.

    Code of a user's own is not recorded, nor code that branches on values. Where torch
    is watched, by hooks of all modules or by modes, nothing is repeated.

    Parameters
    ----------
    function : callable
        Of a row (1, n_features); it draws nothing, and returns a tensor.
    modules : list of Module
        What it computes with. None of them changes.
    """

    def __init__(self, function, modules):
        self.function, self.modules = function, modules
        self.n_calls, self.is_refused, self.is_checked = 0, False, False
        self.program = self.x = self.result = None
        # the memory is that of one thread at a time
        self.lock = Lock()

    def __call__(self, x):
        """Return the result, or None where the function has to be called."""
        if self.is_refused or is_watched() or find_missing(x) is not None:
            return None
        if self.program is None:
            self.n_calls += 1
            if self.n_calls <= _N_CALLS:
                return None
        if not self.lock.acquire(blocking=False):
            return None
        try:
            if self.program is None:
                found = self._record(x)
            else:
                found = self._run(x)
                if not self.is_checked and found.isfinite().all():
                    found = self._check(found, x)
            # rows far from all others need other operations
            return found if found.isfinite().all() else None
        finally:
            self.lock.release()

    def _record(self, x):
        self.x, found = x.clone(), self.function(x)
        _, objects = list_contents(self.modules, ())
        self.is_refused = not are_known(objects)
        if not self.is_refused:
            self.result = torch.empty_like(found)
            try:
                with missing_cells_known(False):
                    self.program = record(
                        lambda: [self.function(self.x)],
                        [self.x],
                        lambda: [self.result],
                        # it would be hardly faster, and rounds differently
                        uses_numpy=False,
                        # other threads may draw meanwhile, and all code is ours
                        watches=False,
                    )
            except NotRepeatableError:
                self.is_refused = True
        return found

    def _run(self, x):
        self.x.copy_(x)
        self.program.run()
        return self.result.clone()

    def _check(self, found, x):
        """Compare what the recording does with the next row; return what is right."""
        expected = self.function(x)
        far = (found - expected).abs() > _TOLERANCE * (1 + expected.abs())
        self.is_refused = bool(far.any())
        self.is_checked = True
        return expected
