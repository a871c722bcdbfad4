"""Check the docstrings of all public classes, functions and methods by numpydoc.

``python tools/check_docstrings.py`` prints what `numpydoc.validate` finds, and fails if
that is anything. The checks are those of ``[tool.numpydoc_validation]`` in
``pyproject.toml``.
"""

import inspect
import sys
from importlib import import_module

import tomllib
from make_api_page import ROOT, list_methods, list_public
from numpydoc.validate import validate

# what the methods of members need not have: their contract is that of a base class,
# and says shapes in a sentence
_NOT_OF_MEMBERS = ("PR01", "PR07", "RT01")


def list_names():
    """Return the dotted names of everything public that can be called."""
    skvae = import_module("skvae")
    modules = [skvae]
    modules += [getattr(skvae, n) for n in skvae.__all__]
    names = []
    for module in filter(inspect.ismodule, modules):
        for name, value in list_public(module).items():
            if not getattr(value, "__module__", "").startswith("skvae"):
                continue
            found = f"{module.__name__}.{name}"
            names.append(found)
            if inspect.isclass(value):
                methods = list_methods(value).items()
                # an override has the docstring of what it overrides
                names += [f"{found}.{key}" for key, m in methods if m.__doc__]
    return names


def main():
    """Print all findings."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        skipped = tomllib.load(file)["tool"]["numpydoc_validation"]["checks"]
    names, n_found = list_names(), 0
    for name in names:
        # skvae.room.Class.method
        allowed = _NOT_OF_MEMBERS if name.count(".") == 3 else ()
        for code, message in validate(name)["errors"]:
            if code not in (*skipped, *allowed):
                print(f"{name}: {code} {message}")
                n_found += 1
    if n_found or not names:
        sys.exit(f"{n_found} findings in the docstrings of {len(names)} names")


if __name__ == "__main__":
    main()
