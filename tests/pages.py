"""Recipes of the user guide, which tests run as they are written."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Page:
    """Sections of a page with their blocks of Python.

    The blocks of the first section, 'Setting', come before those of every other.
    """

    def __init__(self, name):
        self.text = (ROOT / "docs" / "user_guide" / name).read_text(encoding="utf-8")
        parts = re.split(r"^## (.+)$", self.text, flags=re.MULTILINE)[1:]
        self.sections = dict(zip(parts[::2], parts[1::2], strict=True))
        self.setting = "\n".join(self.get_blocks("Setting"))

    def get_blocks(self, section):
        pattern = r"^```python\n(.*?)^```$"
        return re.findall(pattern, self.sections[section], re.MULTILINE | re.DOTALL)

    def list_recipes(self):
        """Return the titles of sections with code."""
        return [s for s in self.sections if s != "Setting" and self.get_blocks(s)]

    def get_command(self, section):
        """Return the command that installs what a section needs."""
        found = re.match(r"\n+`(pip install [^`]+)`\n", self.sections[section])
        return found.group(1) if found else None

    def require(self, section, modules):
        """Skip a test, in a sentence with the way out, where a module is missing."""
        for module in modules:
            if not _is_installed(module):
                command = self.get_command(section)
                pytest.skip(f"{module} is not installed: {command}")

    def execute(self, section, folder, n_blocks=None):
        """Run blocks of a section in this process; return what they define."""
        names = {"__name__": "__main__"}
        here = Path.cwd()
        os.chdir(folder)
        try:
            for block in [self.setting, *self.get_blocks(section)[:n_blocks]]:
                exec(compile(block, section, "exec"), names)
        finally:
            os.chdir(here)
        return names

    def run(self, section, folder, check=""):
        """Run a section, and what checks its results, in a process of its own."""
        code = "\n".join([self.setting, *self.get_blocks(section), check])
        search = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
        environment = os.environ | {
            # what engines keep of their own
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(search),
            "RAY_USAGE_STATS_ENABLED": "0",
            "MPLBACKEND": "Agg",
        }
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def _is_installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # of its parent
        return False
