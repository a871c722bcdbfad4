"""Build the site into `build/site/html`, and check its links.

`python tools/build_site.py` runs the examples too, which takes some minutes;
`--no-gallery` leaves their pictures out. Any warning fails the build. Then the links of
all pages are followed inside the site, without a network.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "site"
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]


def main():
    """Write the sources, let Sphinx build them, and check the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER / "html")
    parser.add_argument("--no-gallery", action="store_true", help="run no example")
    options = parser.parse_args()
    from docs_site import dead_links, llms, pages

    source, settings = FOLDER / "source", ROOT / "tools" / "docs_site"
    pages.write_sources(source)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    if options.no_gallery:
        command += ["-D", "plot_gallery=0"]
    command += ["-c", str(settings), str(source), str(options.out)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("the site has errors or warnings, see above")
    llms.write_index(options.out)
    dead = dead_links.find_dead_links(options.out.resolve())
    if dead:
        sys.exit("dead links:\n" + "\n".join(dead))
    print(f"open {options.out / 'index.html'}")


if __name__ == "__main__":
    main()
