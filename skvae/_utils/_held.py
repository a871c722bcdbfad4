"""Settings of the whole process, changed for a while by whichever threads need it."""

import os
from contextlib import contextmanager
from threading import Lock


class Held:
    """A setting that is changed as long as any thread is inside, and then restored.

    Without a count a thread that leaves would restore it under another one, and the
    last would restore what was never the user's.

    Parameters
    ----------
    change : callable
        Returns a context manager that changes the setting.
    """

    def __init__(self, change):
        self.change, self.context = change, None
        self.lock, self.n_inside = Lock(), 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_threads)

    def _forget_threads(self):
        # threads other than the one that forked are not there any more
        self.lock = Lock()

    @contextmanager
    def __call__(self):
        """Hold the setting."""
        with self.lock:
            if not self.n_inside:
                self.context = self.change()
                self.context.__enter__()
            self.n_inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.n_inside -= 1
                if not self.n_inside:
                    self.context.__exit__(None, None, None)
                    self.context = None
