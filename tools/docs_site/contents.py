"""Tables of contents, which readers of the repository find in `docs/index.md`."""

import re

from .links import DOCS, rewrite

# sections of docs/index.md that become a page of the site, by its name
PAGES = {"guide": "User guide"}
# what the bar at the top of the site leads to
SECTIONS = (
    "guide",
    "auto_examples/index",
    "reference/index",
    "coming_from/index",
    "results/index",
    "architecture",
)


def find_section(title):
    """Return the text of a section of `docs/index.md`."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    return re.sub(r"^###", "##", rewrite(section, DOCS), flags=re.M)


def make_toctree(name, text):
    """Return a hidden table of the pages to which a page of contents links, in MyST."""
    page = name.removesuffix(".md")
    if page == "index":
        return make_block(SECTIONS)
    if page not in PAGES and not page.endswith("/index"):
        return ""
    found = dict.fromkeys(re.findall(r"\]\(/([\w/]+)\.md\)", text))
    if page not in PAGES:
        found = [other for other in found if other.startswith(page[: -len("index")])]
    return make_block(other for other in found if other not in (page, *SECTIONS))


def make_block(pages):
    """Return a hidden toctree."""
    lines = "\n".join(f"/{page}" for page in pages)
    return f"\n\n```{{toctree}}\n:hidden:\n\n{lines}\n```\n"


def list_rows(text):
    """Return label, target and description from the rows of tables of links."""
    return re.findall(r"^\| \[(.+?)\]\((\S+?)\) *\| (.+?) *\|$", text, re.M)
