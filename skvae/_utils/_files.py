"""Files that are written: whole, or not at all."""

import os
import secrets
import shutil
from pathlib import Path


def find_place(path):
    """Return the place of a file that is to be written, or a file that is open."""
    if hasattr(path, "write"):
        return path
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(
            "path must be a str, path-like or a file open for bytes; got "
            f"{type(path).__name__}."
        )
    # what a link points to is replaced, not the link
    place = Path(os.path.realpath(os.fsdecode(path)))
    if place.is_dir():
        raise IsADirectoryError(f"{place} is a folder; give the name of a file in it.")
    if not place.parent.is_dir():
        raise FileNotFoundError(f"The folder {place.parent} does not exist.")
    return place


def write_bytes(place, content):
    """Write bytes to what `find_place` has returned."""
    if hasattr(place, "write"):
        place.write(content)
        return
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, draft)
        os.replace(draft, place)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
