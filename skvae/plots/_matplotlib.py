"""matplotlib, imported when a plot is drawn."""

from typing import Any


def import_pyplot() -> Any:
    """Return matplotlib's pyplot."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed: pip install skvae[plots]"
        ) from error
    return pyplot
