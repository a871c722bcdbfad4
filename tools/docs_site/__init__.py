"""From the Markdown of `docs/` to the sources and settings of the site.

The pages stay as they are read in the repository. `pages` copies them with links that
work in the site, and adds tables of contents, for which `contents` reads
`docs/index.md`; `reference` writes API pages; `llms` writes an index for language
models; `gallery` orders and guards the examples; `dead_links` follows the links of the
result. `conf.py` has the settings of Sphinx.
"""

from .links import DOCS, REPOSITORY, ROOT

__all__ = ["DOCS", "REPOSITORY", "ROOT"]
