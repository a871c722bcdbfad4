"""`llms.txt`, which tells language models where to read what (https://llmstxt.org)."""

import re

from skvae._utils._site import ADDRESS

from .contents import find_section, list_rows
from .links import ROOT
from .pages import make_markdown

TITLES = ("User guide", "Coming from other packages", "Results", "Examples")


def write_index(folder):
    """Write the index into a folder and, beside every page, its Markdown."""
    for name, text in make_markdown().items():
        (folder / name).write_text(lead_to_site(text), encoding="utf-8")
    (folder / "llms.txt").write_text(make_index(), encoding="utf-8")


def lead_to_site(text):
    """Return Markdown whose links have the address of the site."""
    text = re.sub(r"\]\(/([^)#]+)\.rst", r"](/\1.html", text)
    return text.replace("](/", f"]({ADDRESS}")


def make_index():
    """Return what the package is for, an example, and a line for every page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    summary = " ".join(re.search(r"^# .+?\n\n(.+?)\n\n", readme, re.S)[1].split())
    example = re.search(r"^```python\n.*?^```", readme, re.M | re.S)[0]
    lines = ["# skvae", "", f"> {summary}", "", example]
    for title in TITLES:
        lines += ["", f"## {title}", ""]
        rows = list_rows(lead_to_site(find_section(title)))
        lines += [f"- [{label}]({target}): {about}" for label, target, about in rows]
    return "\n".join(lines) + "\n"
