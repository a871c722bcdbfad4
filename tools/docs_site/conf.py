"""Settings of Sphinx for the sources that `tools/build_site.py` prepares."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

# names of experimental parts exist once this is imported; examples use them
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

import skvae
from docs_site import DOCS, REPOSITORY

project = "skvae"
author = "The skvae developers"
project_copyright = author
version = release = skvae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "sphinxext.opengraph",
]

# Markdown
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# API pages are written by docs_site.reference
autosummary_generate = False
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
default_role = "literal"

# examples: an error or a warning in one of them fails the build
sphinx_gallery_conf = {
    # examples/app has README.markdown: with README.md it would be a gallery, too
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[\\/]plot_",
    "ignore_pattern": r"quickstart\.py",
    "within_subsection_order": "docs_site.gallery.StoryOrder",
    "abort_on_example_error": True,
    # pictures are those of the package as it is
    "run_stale_examples": True,
    "reset_modules": ("matplotlib", "docs_site.gallery.turn_warnings_into_errors"),
    "reset_modules_order": "both",
    "doc_module": "skvae",
    "backreferences_dir": "reference/backreferences",
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "plot_gallery": "True",
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# appearance
html_theme = "pydata_sphinx_theme"
html_title = "skvae"
html_baseurl = skvae._utils._site.ADDRESS
html_static_path = [str(DOCS / "images")]
html_theme_options = {
    "github_url": REPOSITORY,
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars = {"index": []}
ogp_site_url = html_baseurl
ogp_image = "_static/quickstart.png"
ogp_image_alt = "A table in the planes of PCA and of a variational auto-encoder"
ogp_social_cards = {"enable": False}
