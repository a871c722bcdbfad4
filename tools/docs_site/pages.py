"""The sources of the site, made of the pages of the repository."""

import shutil

from . import contents, reference
from .links import DOCS, MOVED, ROOT, rewrite


def write_sources(folder):
    """Write all sources of the site into a folder; unchanged files are left alone."""
    sources = make_sources()
    for path in [*folder.rglob("*.md"), *folder.glob("reference/*.rst")]:
        if path.relative_to(folder).as_posix() not in sources:
            path.unlink()
    for name, text in sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Sphinx reads again what is newer than at its last visit
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    shutil.copytree(DOCS / "images", folder / "images", dirs_exist_ok=True)


def make_sources():
    """Return the text of every source by its name."""
    sources = {
        name: text + contents.make_toctree(name, text)
        for name, text in make_markdown().items()
    }
    return sources | reference.make_pages()


def make_markdown():
    """Return the pages of the repository, their links as the site has them.

    The front page is the README; `docs/index.md` lists the others, and its sections
    become pages.
    """
    sources = {
        path.relative_to(DOCS).as_posix(): rewrite(path.read_text("utf-8"), path.parent)
        for path in sorted(DOCS.rglob("*.md"))
        if path.relative_to(ROOT).as_posix() not in MOVED
    }
    sources["index.md"] = rewrite((ROOT / "README.md").read_text("utf-8"), ROOT)
    for name, title in contents.PAGES.items():
        sources[f"{name}.md"] = f"# {title}\n{contents.find_section(title)}"
    return sources
