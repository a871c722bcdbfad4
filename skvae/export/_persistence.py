"""Files of estimators: `save` and `load`.

A file is in the format of safetensors: a header of JSON, with the names, types and
places of arrays, and their bytes. The description of the estimator is text in the
header, and so is a digest of all the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import numpy as np
import sklearn

from .._estimator import VAETransformer, check_version, get_version
from .._utils._description import (
    Describer,
    Rebuilder,
    find_hidden,
    find_hooks,
    find_misplaced,
    get_full_name,
)
from .._utils._files import find_place, write_bytes
from .._utils._quiet_import import import_quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from numpy.typing import NDArray

# files of a later one are refused
FORMAT = 4
# before format 2 its learned values were arranged otherwise
_REARRANGED = "AutoregressiveColumns"
_PACKAGE = __name__.split(".")[0]
_NO_DIGEST = "0" * 64
# of the header, as safetensors has it
_MAX_HEADER = 100_000_000


class _Refusal(Exception):
    """A sentence that `load` raises as a ValueError."""


def save(estimator: VAETransformer, path: str | os.PathLike[str] | IO[bytes]) -> None:
    """Save an estimator to a file that holds numbers and text, but no code.

    The file has the format of safetensors. Unlike a pickle it can be loaded from
    untrusted sources, see `load`. It is written to a temporary file, then moved, so
    that an earlier file stays whole if saving fails.

    Parameters
    ----------
    estimator : VAETransformer or VAEOutlierDetector
        Fitted or not. Pipelines and searches are saved by skops or joblib.
    path : str, path-like or binary file
        Where to save it; `.skvae` is a usual ending.

    Raises
    ------
    TypeError
        If it is another object, or holds something that only a pickle can hold, such
        as a function without a name.

    See Also
    --------
    load : Load it again.

    Examples
    --------
    >>> import io
    >>> import skvae
    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> vae = skvae.VAETransformer(2, max_epochs=3, random_state=0).fit(X)
    >>> file = io.BytesIO()
    >>> skvae.save(vae, file)
    >>> twin = skvae.load(io.BytesIO(file.getvalue()))
    >>> bool((twin.transform(X) == vae.transform(X)).all())
    True
    """
    _check_estimator(estimator)
    place = find_place(path)
    write_bytes(place, _dump(estimator))


def load(
    path: str | os.PathLike[str] | IO[bytes],
    *,
    trusted: Sequence[str | Callable[..., Any]] | Set[str | Callable[..., Any]] = (),
) -> VAETransformer:
    """Load an estimator from a file that `save` has written.

    Nothing in the file is executed. No module is imported but those of the package that
    hold parts of an estimator, of torch, skorch and scikit-learn, of what is `trusted`,
    and of pandas, polars or pyarrow if the file is of an estimator that was fitted on a
    table of theirs. A file that is damaged is refused. The digest in it is not a
    signature: anyone who can write a file can choose its numbers.

    Parameters
    ----------
    path : str, path-like or binary file
        The file.
    trusted : sequence of str, classes or functions, default=()
        Classes and functions outside the package that the file may hold, such as those
        of a likelihood of your own, by full name, ``"my_package.MyLikelihood"``, or
        themselves. Their modules are imported, and their code runs.

    Returns
    -------
    VAETransformer or VAEOutlierDetector
        The estimator, on the CPU where its device is missing.

    Raises
    ------
    ValueError
        If the file is damaged, of a later format, holds a name that is not trusted, or
        needs a package that is not installed.

    See Also
    --------
    save : Write such a file.
    """
    if hasattr(path, "read"):
        content, label = path.read(), "The file"
        if not isinstance(content, bytes):
            raise TypeError(
                "skvae.load takes files that are open in binary mode, 'rb'."
            )
    elif not isinstance(path, (str, os.PathLike)):
        way_out = "; wrap it in io.BytesIO" if isinstance(path, bytes) else ""
        raise TypeError(
            "skvae.load takes a path or a file that is open in binary mode, not "
            f"{type(path).__name__}{way_out}."
        )
    else:
        place = Path(os.fsdecode(path))
        content, label = place.read_bytes(), f"{str(place)!r}"
    try:
        return _Reader(content, label, trusted).read()
    except _Refusal as error:
        raise ValueError(str(error)) from error.__cause__


def _find_missing_package(error: Exception) -> str | None:
    """Return the name of the package whose absence is the error, or None."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    try:
        is_there = not package or find_spec(package) is not None
    except (ImportError, ValueError):
        # of modules that were made without a file
        return None
    return None if is_there else package


def _check_estimator(estimator: object) -> None:
    if isinstance(estimator, VAETransformer):
        return
    raise TypeError(
        f"skvae.save takes a VAETransformer or VAEOutlierDetector, not a "
        f"{type(estimator).__name__}; save pipelines and other estimators by skops.io "
        "or joblib, or their step of skvae alone."
    )


def _put_named(value: Any, path: str) -> dict[str, Any]:
    """Return the node of a class or function that is not of the package."""
    is_named = hasattr(value, "__qualname__") and hasattr(value, "__module__")
    if not is_named or "<lambda>" in value.__qualname__:
        place = f" in {path.strip('.')}" if path else ""
        raise TypeError(
            f"skvae.save cannot save {value!r}{place}: a file holds numbers, text, and "
            "classes and functions by their names; use joblib or pickle, or give it a "
            "name in a module."
        )
    return {"name": get_full_name(value)}


def _check_called(value: Any, attributes: dict[str, Any], path: str) -> None:
    """Refuse an object with hooks, or with attributes in the place of methods."""
    cls = type(value)
    name = find_hooks(attributes)
    way_out = "remove the hooks first"
    if name is None:
        name = find_hidden(cls, attributes) or find_misplaced(cls, attributes)
        way_out = "write a class of your own"
    if name is None:
        return
    place = f" in {path.strip('.')}" if path else ""
    raise TypeError(
        f"skvae.save cannot save {name!r} of the {cls.__name__}{place}: it is called, "
        f"but is not part of the class, and a file holds no code; {way_out}, or use "
        "joblib or pickle."
    )


def _dump(estimator: VAETransformer) -> bytes:
    """Return the content of a file."""
    from safetensors.numpy import save as dump_arrays

    describer = Describer(_put_named, check=_check_called)
    text = json.dumps(
        {
            "format": FORMAT,
            "digest": _NO_DIGEST,
            "versions": _list_versions(),
            "estimator": describer(estimator),
        },
        allow_nan=False,
    )
    content: bytes = dump_arrays(describer.arrays, {"skvae": text})
    digest = _compute_digest(content, _NO_DIGEST)
    return content.replace(_NO_DIGEST.encode(), digest.encode(), 1)


def _list_versions() -> dict[str, str]:
    import torch

    return {
        "skvae": get_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _compute_digest(content: bytes, known: str) -> str:
    """Return the digest of a content, but for the digest that it has."""
    place, found = content.find(known.encode()), hashlib.blake2b(digest_size=32)
    whole = memoryview(content)
    found.update(whole[:place])
    found.update(whole[place + len(known) :])
    return found.hexdigest()


class _Reader:
    """The content of a file, checked before anything is made of it."""

    def __init__(self, content: bytes, label: str, trusted: Any) -> None:
        self.content, self.label = content, label
        self.trusted = _name_trusted(trusted)
        self.missing: dict[str, None] = {}

    def refuse(self, message: str, error: Exception | None = None) -> NoReturn:
        raise _Refusal(f"{self.label} {message}") from error

    def refuse_damaged(self, what: str, error: Exception | None = None) -> NoReturn:
        self.refuse(
            f"is damaged ({what}); take another copy of it, or save the estimator "
            "again.",
            error,
        )

    def read(self) -> VAETransformer:
        """Return the estimator."""
        description = self._read_description()
        self._check_digest(description.get("digest"))
        arrays = self._read_arrays()
        # before a module that would import it with its warnings
        import_quietly("torch", "skorch")
        rebuild = Rebuilder(arrays, self._find_other, is_file=True)
        try:
            estimator: VAETransformer = rebuild(description["estimator"])
            self._check_trust()
            rebuild.check()
            _check_estimator(estimator)
            version = description["versions"]["skvae"]
            _try_out(estimator)
        except (_Refusal, Warning):
            # where warnings are errors, they are not damage
            raise
        except Exception as error:
            self._check_trust()
            missing = _find_missing_package(error)
            if missing is not None:
                self.refuse(f"needs {missing}, which is not installed.", error)
            self.refuse_damaged(f"{type(error).__name__}: {error}"[:200], error)
        check_version(type(estimator).__name__, version)
        return estimator

    def _read_description(self) -> dict[str, Any]:
        content = self.content
        length = int.from_bytes(content[:8], "little")
        if not 2 <= length <= min(_MAX_HEADER, len(content) - 8):
            self.refuse(
                "is not a file of skvae.save, or is cut off; take another copy of it, "
                "or joblib.load if it is a pickle."
            )
        try:
            header = json.loads(content[8 : 8 + length])
            found: dict[str, Any] = json.loads(
                header["__metadata__"]["skvae"], parse_constant=_refuse_constant
            )
            number = found["format"] if type(found["format"]) is int else 0
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.refuse("is not a file of skvae.save, or is damaged.", error)
        if number < 1:
            self.refuse_damaged("it has no format")
        if number > FORMAT:
            self.refuse(
                f"has format {number}, which is later than {FORMAT} of this version; "
                "install a later version of skvae."
            )
        if number < 2 and _REARRANGED in header["__metadata__"]["skvae"]:
            self.refuse(
                f"has format {number}, of which density='after' and "
                "likelihood='autoregressive' cannot be read; install the version of "
                "skvae that has saved it, or fit again."
            )
        return found

    def _check_digest(self, digest: object) -> None:
        if not isinstance(digest, str) or len(digest) != len(_NO_DIGEST):
            self.refuse_damaged("it has no digest")
        if _compute_digest(self.content, digest) != digest:
            self.refuse_damaged("its digest is not that of its content")

    def _read_arrays(self) -> dict[str, NDArray[Any]]:
        from safetensors import SafetensorError
        from safetensors.numpy import load as load_arrays

        try:
            arrays = load_arrays(self.content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            self.refuse_damaged(f"{error}", error)
        return {n: a if a.flags.writeable else a.copy() for n, a in arrays.items()}

    def _check_trust(self) -> None:
        if self.missing:
            names = ", ".join(map(repr, self.missing))
            self.refuse(
                f"holds {names}, not part of skvae; pass "
                f"trusted={tuple(self.missing)} to skvae.load if you trust that code."
            )

    def _find_other(self, node: dict[str, Any]) -> Any:
        """Return a class or function that is trusted, by the node of its name."""
        name: Any = node.get("name")
        found = self.trusted.get(name)
        if found is None and str(name).split(".")[0] == _PACKAGE:
            self.refuse(
                f"holds {name!r}, which files for this version of skvae do not have; "
                "install the version that has saved it."
            )
        if found is None:
            # the others are looked for too, so that all can be named
            self.missing[str(name)] = None
            return _Missing
        return _import(name) if isinstance(found, str) else found


class _Missing:
    """In the place of a class that is not trusted, until the file is refused."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _name_trusted(trusted: Any) -> dict[str, Any]:
    """Return what is trusted by its full names."""
    if isinstance(trusted, str) or not isinstance(trusted, (list, tuple, set)):
        raise TypeError(
            f"trusted={trusted!r} must be a list or tuple of full names, or of classes "
            "and functions."
        )
    return {v if isinstance(v, str) else get_full_name(v): v for v in trusted}


def _import(name: str) -> Any:
    """Return a class or function that is trusted, by its full name."""
    import pkgutil

    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _Refusal(
            f"{name!r} is trusted, but cannot be imported: {error}; make its module "
            "importable, or pass the class itself in trusted."
        ) from error


def _try_out(estimator: VAETransformer) -> None:
    """Compute with a fitted estimator once: its arrays fit together, or it raises."""
    if not hasattr(estimator, "net_"):
        return
    model = estimator._get_model()
    rows = model.decode(np.zeros((1, estimator._n_features_out), np.float32))
    scores = model.score(rows, "elbo")
    z = model.embed(rows)
    if scores.shape != (1,) or z.shape != (1, estimator._n_features_out):
        raise ValueError("its arrays do not fit together")
