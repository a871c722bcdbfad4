"""Write ``docs/api.md`` from signatures and the first sentences of docstrings.

``python tools/make_api_page.py`` writes the page. With ``--check`` it writes nothing,
and fails if the page is not what it would write. Public are the names in ``__all__``,
or those that a module without it defines; dicts of name to class are its registries.
"""

import argparse
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
sys.path.insert(0, str(ROOT))
HEADER = """\
<!-- Written by tools/make_api_page.py: change docstrings, and run it. -->
# API

Everything listed here is public; names with a leading underscore are not. Docstrings
hold the details: `help(skvae.VAETransformer)`.
"""
GUIDES = {
    "likelihoods": ("likelihoods", "likelihoods_discrete", "tables"),
    "latents": ("latents", "latents_discrete"),
    "networks": ("images",),
    "objectives": ("objectives",),
    "metrics": ("synthetic",),
}


def get_sections(thing):
    """Return the sections of a numpy docstring by title, the summary by ''."""
    text = (thing.__doc__ or inspect.getdoc(thing) or "").replace("\\\n", "")
    parts = re.split(r"^(.+)\n-{3,}\n", inspect.cleandoc(text), flags=re.M)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def get_entries(thing, title):
    """Return the first sentence of every entry of a section, by name."""
    text = get_sections(thing).get(title, "")
    found = re.findall(r"^(\S+) : .*\n((?: .*\n?|\n)*)", text, flags=re.M)
    return {name: get_sentence(body) for name, body in found}


def get_sentence(text):
    """Return the first sentence as Markdown that fits into a cell."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)\s(?=[A-Z'`(0-9])", paragraph)[0].rstrip(".")
    sentence = re.sub(r":\w+:`([^`<]*?) ?(<[^`]*>)?`", r"\1", sentence)
    return escape(sentence.replace("``", "`"))


def escape(text):
    """Return text that does not end a cell."""
    return text.replace("|", r"\|")


def get_summary(thing):
    """Return the summary line."""
    return get_sentence(get_sections(thing)[""])


def get_signature(function, skip=()):
    """Return the arguments as they are written."""
    parameters = inspect.signature(function).parameters.values()
    kept = [p.replace(annotation=p.empty) for p in parameters if p.name not in skip]
    return str(inspect.Signature(kept)).replace("'", '"')


def make_table(titles, rows):
    """Return the lines of a table, none without rows."""
    if not rows:
        return []
    lines = [titles, ["---"] * len(titles), *rows]
    return ["", *(f"| {' | '.join(line)} |" for line in lines)]


def list_public(module):
    """Return the public names of a module and what they stand for."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    ]
    return {name: getattr(module, name) for name in names}


def list_methods(cls, base=None):
    """Return the public methods that a class or its mixins in this package define.

    Those of `base` are left out, but where they are defined anew.
    """
    known, found = () if base is None else base.__mro__, {}
    for part in cls.__mro__:
        if part in known or not part.__module__.startswith("skvae"):
            continue
        for name, value in vars(part).items():
            # of `available_if`
            value = getattr(value, "fn", value)
            if inspect.isfunction(value) and not name.startswith("_"):
                found.setdefault(name, value)
    return found


def make_estimator(cls, base=None):
    """Return the section of an estimator: of one with a base, what differs from it."""
    parameters = inspect.signature(cls).parameters
    usual = inspect.signature(base).parameters if base else {}
    before = get_entries(base, "Parameters") if base else {}
    meaning = before | get_entries(cls, "Parameters")
    rows = [
        [f"`{name}`", f"`{parameter.default!r}`".replace("'", '"'), meaning[name]]
        for name, parameter in parameters.items()
        if name not in usual
        or usual[name].default != parameter.default
        or before[name] != meaning[name]
    ]
    lines = ["", f"## {cls.__name__}", "", get_summary(cls) + "."]
    if base:
        lines += ["", f"What is not listed here is that of `{base.__name__}`."]
    lines += ["", "### Parameters", *make_table(["parameter", "default", ""], rows)]
    names = list_methods(cls, base)
    rows = [
        [escape(f"`{k}{get_signature(v, ['self'])}`"), get_summary(v)]
        for k, v in names.items()
    ]
    lines += ["", "### Methods", *make_table(["method", ""], rows)]
    inherited = [
        name
        for name, value in inspect.getmembers(cls, callable)
        if not re.match(r"_|set_\w+_request$", name)
        and not value.__module__.startswith("skvae")
    ]
    inherited = [name for name in inherited if base is None or not hasattr(base, name)]
    names = ", ".join(f"`{name}`" for name in inherited)
    lines += ["", f"From scikit-learn: {names}."] if inherited else []
    usual = get_entries(base, "Attributes") if base else {}
    rows = [
        [f"`{name}`", text]
        for name, text in get_entries(cls, "Attributes").items()
        if name not in usual
    ]
    return [*lines, "", "### Attributes", *make_table(["attribute", ""], rows)]


def make_module(name):
    """Return the section of a module: its registries, and what else it has."""
    module = import_module(f"skvae.{name}")
    public = list_public(module)
    lines = ["", f"## skvae.{name}", "", get_summary(module) + "."]
    listed = set()
    for registry, members in public.items():
        if isinstance(members, dict):
            listed |= {registry, *(member.__name__ for member in members.values())}
            rows = [[f'`"{key}"`', *describe(value)] for key, value in members.items()]
            titles = ["name", "class", ""]
            lines += ["", f"Registry `{registry}`:", *make_table(titles, rows)]
    rows = [describe(value) for key, value in public.items() if key not in listed]
    lines += make_table(["name", ""], rows)
    pages = [f"[{page}](user_guide/{page}.md)" for page in GUIDES.get(name, ())]
    return lines + (["", f"See {', '.join(pages)}."] if pages else [])


def describe(value):
    """Return signature and summary of a class or function."""
    makers = [v for k, v in inspect.getmembers(value) if k.startswith("from_")]
    calls = [f".{v.__name__}{get_signature(v)}" for v in makers]
    if not value.__module__.startswith("skvae"):
        return [f"`{value.__module__.split('.modules')[0]}.{value.__name__}`", ""]
    is_error = isinstance(value, type) and issubclass(value, Exception)
    signature = "" if makers or is_error else get_signature(value)
    name = value.__name__ + signature.removesuffix("()")
    return [escape(", ".join(f"`{x}`" for x in [name, *calls])), get_summary(value)]


def make_page():
    """Return the text of the page."""
    import skvae

    modules = [n for n in skvae.__all__ if inspect.ismodule(getattr(skvae, n))]
    rows = []
    for name in skvae.__all__:
        value = getattr(skvae, name)
        is_text = isinstance(value, str)
        rows.append(
            [f"`{name}`", "version of the package" if is_text else get_summary(value)]
        )
    lines = ["", "## skvae", *make_table(["name", ""], rows)]
    lines += make_estimator(skvae.VAETransformer)
    lines += make_estimator(skvae.VAEOutlierDetector, skvae.VAETransformer)
    for name in modules:
        lines += make_module(name)
    return HEADER + "\n".join(lines) + "\n"


def main():
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    page = make_page()
    if not options.check:
        PAGE.write_text(page, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/api.md is stale: run python tools/make_api_page.py")


if __name__ == "__main__":
    main()
