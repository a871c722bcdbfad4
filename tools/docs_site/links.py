"""Links of Markdown pages that lead out of `docs/`, as the site has them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/skvae/skvae"
# files of the repository that have a page under another name
MOVED = {"README.md": "/index.md", "docs/api.md": "/reference/index.rst"}


def rewrite(text, folder):
    """Return a page of a folder with links that work in the site.

    Pages and pictures of `docs/` are named from its root, scripts of `examples/` by
    their page in the gallery, and all other files by their address in the repository.
    """

    def replace(match):
        path, hash_sign, anchor = match[1].partition("#")
        target = (folder / path).resolve()
        if not path or "://" in path or not target.exists():
            return match[0]
        return f"]({locate(target)}{hash_sign}{anchor})"

    return re.sub(r"\]\(([^)\s]+)\)", replace, text)


def locate(target):
    """Return where the site has a file of the repository."""
    name = target.relative_to(ROOT).as_posix()
    if name in MOVED:
        return MOVED[name]
    if name == "examples":
        return "/auto_examples/index.rst"
    if re.fullmatch(r"examples/plot_\w+\.py", name):
        return f"/auto_examples/{target.stem}.rst"
    if name.startswith("docs/"):
        return name.removeprefix("docs")
    return f"{REPOSITORY}/blob/main/{name}"
