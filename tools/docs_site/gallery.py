"""The order of the examples, and what fails them."""

import re
import warnings

from .links import DOCS


class StoryOrder:
    """Order examples as `docs/index.md` lists them, others last."""

    def __init__(self, folder):
        text = (DOCS / "index.md").read_text(encoding="utf-8")
        self._names = re.findall(r"\]\(\.\./examples/(\w+\.py)\)", text)

    def __call__(self, name):
        """Return what names are ordered by."""
        return [*self._names, name].index(name), name


def turn_warnings_into_errors(gallery_conf, name, when):
    """Let a warning fail an example, as it fails a test, and nothing after it."""
    if when == "before":
        gallery_conf["filters"] = warnings.filters[:]
        warnings.simplefilter("error")
    else:
        warnings.filters[:] = gallery_conf.pop("filters")
