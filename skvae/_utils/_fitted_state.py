"""The fitted state of an estimator: kept if a later fit fails."""

from contextlib import contextmanager


@contextmanager
def restored_on_failure(estimator):
    """Restore the attributes of an estimator if a fit raises.

    Ctrl-C keeps those of a fit that had set `_is_finished`.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException as error:
        is_finished = vars(estimator).get("_is_finished", False)
        if not (isinstance(error, KeyboardInterrupt) and is_finished):
            vars(estimator).clear()
            vars(estimator).update(before)
        raise
    finally:
        vars(estimator).pop("_is_finished", None)
