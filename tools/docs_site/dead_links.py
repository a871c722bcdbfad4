"""Links between built pages, followed without a network."""

from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and what may be linked to in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Collect the addresses and anchors of a tag."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def find_dead_links(folder):
    """Return links that lead nowhere inside a folder of pages."""
    read = cache(Page)
    dead = []
    pages = sorted(folder.rglob("*.html"))
    # what the theme brings is not a page
    for path in (p for p in pages if "_static" not in p.relative_to(folder).parts):
        for link in read(path).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            is_dead = not target.exists()
            if not is_dead and target.suffix == ".html" and parts.fragment:
                is_dead = unquote(parts.fragment) not in read(target).anchors
            if is_dead:
                dead.append(f"{path.relative_to(folder)}: {link}")
    return dead
