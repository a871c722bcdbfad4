"""Classes and functions by their names: those that a description may hold.

Known are the classes of the package that estimators hold, and those of torch and skorch
that compute and neither read nor write files. All others must be handed over.
"""

import importlib
import sys
import types

PACKAGE = __name__.split(".")[0]
# modules of torch with their base classes: subclasses defined there are known
_FAMILIES = {
    "torch.nn.modules": ("torch.nn.modules.module", "Module"),
    "torch.optim.lr_scheduler": ("torch.optim.lr_scheduler", "LRScheduler"),
    "torch.optim": ("torch.optim.optimizer", "Optimizer"),
}
_SINGLE = {
    "builtins": ("dict", "int", "list", "print"),
    "skorch.history": ("History",),
    "skorch.dataset": ("Dataset", "ValidSplit"),
    "skorch.callbacks.logging": ("EpochTimer", "PrintLog", "ProgressBar"),
    "skorch.callbacks.lr_scheduler": ("LRScheduler", "WarmRestartLR"),
    "skorch.callbacks.regularization": ("GradientNormClipping",),
    "skorch.callbacks.scoring": ("BatchScoring", "EpochScoring", "PassthroughScoring"),
    "skorch.callbacks.training": ("EarlyStopping",),
    "skorch.utils": ("_indexing_none", "_indexing_other", "to_numpy"),
    "sklearn.callback._progressbar": ("ProgressBar",),
    "sklearn.utils._metadata_requests": ("MetadataRequest", "MethodMetadataRequest"),
    "torch.utils.data.dataloader": ("DataLoader",),
}
# rooms of the package whose classes are known: to import them imports nothing optional
_ROOMS = {
    *("_columns", "_distributions", "_estimator", "_model", "_outliers", "_training"),
    *("callbacks", "latents", "likelihoods", "networks", "objectives"),
}
# and functions
_FUNCTIONS = (f"{PACKAGE}._training._map.compute_error",)


def get_full_name(value):
    """Return the full name of a class or function, which may not lead back to it."""
    return f"{value.__module__}.{value.__qualname__}"


def shorten(value):
    """Return the name of a class; of one of the package, one that outlives a move."""
    parts = value.__module__.split(".")
    if parts[0] != PACKAGE:
        return get_full_name(value)
    public = ".".join(part for part in parts if not part.startswith("_"))
    found = getattr(sys.modules.get(public), value.__qualname__, None)
    return f"{public}.{value.__qualname__}" if found is value else get_full_name(value)


def is_known(value):
    """Return whether a description holds a class or function by its name."""
    try:
        return find_known(get_full_name(value)) is value
    except AttributeError:
        return False


def find_known(name):
    """Return the known class or function of a name, or None.

    No module is imported but those listed here, and those of the rooms of the package.
    """
    module, _, last = name.rpartition(".")
    if not last.isidentifier():
        return None
    if module.split(".")[0] == PACKAGE:
        return _find_own(module, last, name)
    if last in _SINGLE.get(module, ()):
        return vars(importlib.import_module(module)).get(last)
    for family, (place, base) in _FAMILIES.items():
        if module == family or module.startswith(f"{family}."):
            # what a module has, not what it would import when it is asked
            found = vars(sys.modules.get(module, types)).get(last)
            is_class = isinstance(found, type) and found.__module__ == module
            base = getattr(importlib.import_module(place), base)
            return found if is_class and issubclass(found, base) else None
    return None


def _find_own(module, last, name):
    _, *parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    if parts and parts[0] not in _ROOMS:
        return None
    try:
        found = vars(importlib.import_module(module)).get(last)
    except ModuleNotFoundError:
        return None
    if name in _FUNCTIONS:
        return found
    is_own = isinstance(found, type) and found.__module__.split(".")[0] == PACKAGE
    return found if is_own else None
