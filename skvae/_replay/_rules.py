"""All rules: the names of ATen's operations, and what is known of them."""

from . import _elementwise, _whole

RULES = {**_elementwise.RULES, **_whole.RULES}
