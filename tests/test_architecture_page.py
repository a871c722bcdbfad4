"""The drawing of docs/architecture.md is what the imports of the package say."""

import ast
import re
from pathlib import Path

from source_code import walk_code

import skvae

PACKAGE = Path(skvae.__file__).parent
PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
# on the page before it is in the package


def read_drawing():
    """Return the entries of the first drawing, from the top down."""
    drawing = PAGE.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    return re.findall(r"^  (\w+)(?:/|\.py) +\S", drawing, flags=re.MULTILINE)


def read_places():
    """Return the (file, name or None) pairs of the table of what is where."""
    table = PAGE.read_text(encoding="utf-8").split("## Where is ...?")[1]
    cells = [line.split("|")[2] for line in table.split("\n## ")[0].splitlines()[4:-1]]
    pairs = re.findall(r"`([\w/]+\.py)`(?:, `([\w.]+)`)?", "\n".join(cells))
    return [(file, name or None) for file, name in pairs]


def list_entries():
    """Return the modules and folders of the package."""
    return {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}


def find_imports(path):
    """Return the entries of the package that a file imports, wherever it does."""
    # the package that relative imports start from
    parents = ["skvae", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in walk_code(path):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        parts = [name.split(".") for name in names]
        found |= {part[1] for part in parts if part[0] == "skvae" and len(part) > 1}
    return found


def test_drawing_has_every_entry_of_the_package():
    rooms = read_drawing()
    entries = {entry.removesuffix(".py") for entry in list_entries()}
    assert len(rooms) == len(set(rooms))
    assert entries <= set(rooms)
    assert set(rooms) == entries


def test_imports_go_down_the_drawing():
    level = {room: number for number, room in enumerate(read_drawing())}
    upward = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        below = {name for name in level if level[name] > level[room]}
        imported = (find_imports(path) & set(level)) - {room}
        upward += [f"{path.relative_to(PACKAGE)} imports {n}" for n in imported - below]
    assert upward == []


def test_what_is_looked_for_is_where_the_page_says():
    places = read_places()
    assert len(places) > 20
    for file, name in places:
        source = (PACKAGE / file).read_text(encoding="utf-8")
        for part in name.split(".") if name else []:
            assert re.search(rf"(def|class) {part}\b", source), (file, name)
