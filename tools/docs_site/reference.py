"""API pages: one for every public class and function, one for every module."""

import inspect
from importlib import import_module

from make_api_page import get_summary, list_public


def make_pages():
    """Return the text of every API page by the name of its file."""
    import skvae

    modules = [n for n in skvae.__all__ if inspect.ismodule(getattr(skvae, n))]
    top = {n: getattr(skvae, n) for n in skvae.__all__ if n not in modules}
    top.pop("__version__")
    # estimators first, warnings last
    top = dict(sorted(top.items(), key=lambda item: rank(item[1])))
    pages = {f"skvae.{name}": make_page("skvae", name, top[name]) for name in top}
    sections = [make_section("skvae", top)]
    for module in (f"skvae.{name}" for name in modules):
        public = list_public(import_module(module))
        registries = {k: v for k, v in public.items() if isinstance(v, dict)}
        own = {k: v for k, v in public.items() if is_own(v)}
        for name, value in own.items():
            pages[f"{module}.{name}"] = make_page(module, name, value)
        pages[module] = make_module(module, registries, own)
        sections.append(make_section(module, own))
    listed = [f"skvae.{name}" for name in [*top, *modules]]
    pages["index"] = make_index(sections, listed)
    return {f"reference/{name}.rst": text for name, text in pages.items()}


def rank(value):
    """Return where a kind of name stands in a list."""
    is_class = inspect.isclass(value)
    return 2 if is_class and issubclass(value, Warning) else not is_class


def is_own(value):
    """Whether a class or function is from this package."""
    is_member = inspect.isclass(value) or inspect.isfunction(value)
    return is_member and value.__module__.startswith("skvae")


def make_title(title, sign="="):
    """Return a title as reStructuredText."""
    return f"{title}\n{sign * len(title)}\n\n"


def make_list(names):
    """Return a table of names with their summaries, which links to their pages."""
    lines = "".join(f"   ~{name}\n" for name in names)
    return f".. autosummary::\n   :nosignatures:\n\n{lines}\n"


def make_toctree(pages):
    """Return a hidden toctree of pages in this folder."""
    lines = "".join(f"   {page}\n" for page in pages)
    return f".. toctree::\n   :hidden:\n\n{lines}\n"


def make_index(sections, listed):
    """Return the page that lists every public name."""
    intro = (
        "Everything listed here is public; names with a leading underscore are not.\n"
        "What is promised of it is said in :doc:`/promises`.\n\n"
    )
    return make_title("API") + intro + "".join(sections) + make_toctree(listed)


def make_section(module, public):
    """Return the names of a module as a section of the list of all names."""
    names = [f"{module}.{name}" for name in public]
    title = make_title(module, "-")
    if module == "skvae":
        return title + make_list(names)
    summary = get_summary(import_module(module)).replace("`", "``")
    link = f":doc:`{module} <{module}>`: {escape(summary)}.\n\n"
    return title + link + make_list(names)


def make_module(module, registries, own):
    """Return the page of a module: its docstring, its registries, and its names."""
    text = make_title(module) + f".. automodule:: {module}\n   :no-members:\n\n"
    for name, members in registries.items():
        text += f"Names of classes, the keys of ``{name}``:\n\n"
        text += ".. list-table::\n   :header-rows: 1\n\n   * - name\n     - class\n"
        for key, value in members.items():
            public = f"{module}.{value.__name__}"
            role = f":class:`~{public}`"
            text += f'   * - ``"{key}"``\n     - {role}\n'
        text += "\n"
    pages = [f"{module}.{name}" for name in own]
    return text + make_list(own) + make_toctree(pages)


def make_page(module, name, value):
    """Return the page of a class or function."""
    text = make_title(name) + f".. currentmodule:: {module}\n\n"
    if inspect.isclass(value):
        text += make_class(name, value)
    else:
        text += f".. autofunction:: {name}\n\n"
    return text + f".. minigallery:: {module}.{name}\n   :add-heading: In the gallery\n"


def make_class(name, cls):
    """Return a class, a table of its methods, and each of them."""
    kind = "exception" if issubclass(cls, BaseException) else "class"
    text = f".. auto{kind}:: {name}\n\n"
    methods = list_methods(cls)
    if methods:
        text += ".. rubric:: Methods\n\n" + make_list(f"{name}.{m}" for m in methods)
    inherited = list_inherited(cls)
    if inherited:
        names = ", ".join(f"``{method}``" for method in inherited)
        text += f"From scikit-learn: {names}.\n\n"
    for method, value in methods.items():
        role = "property" if isinstance(value, property) else "method"
        text += f".. auto{role}:: {name}.{method}\n\n"
    return text


def list_methods(cls):
    """Return the public methods and properties that classes of this package define."""
    kinds = property, classmethod, staticmethod
    own = [b for b in reversed(cls.__mro__) if b.__module__.startswith("skvae")]
    names = dict.fromkeys(name for base in own for name in vars(base))
    # what a subclass has in place of a method may be a plain value
    found = {name: inspect.getattr_static(cls, name) for name in names}
    # methods of `available_if`
    found = {name: getattr(value, "fn", value) for name, value in found.items()}
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, kinds))
        # a property without a docstring is described among the attributes
        and (
            value.__doc__
            if isinstance(value, property)
            else inspect.getdoc(getattr(cls, name))
        )
    }


def list_inherited(cls):
    """Return the public methods that scikit-learn gives to an estimator."""
    return [
        name
        for name, value in inspect.getmembers(cls, callable)
        if not name.startswith("_")
        and str(getattr(value, "__module__", "")).startswith("sklearn")
    ]


def escape(text):
    """Return text whose vertical bars are no substitutions."""
    return text.replace("|", r"\|")
