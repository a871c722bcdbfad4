"""Bars of long calls: redrawn in a terminal or notebook, else written as lines."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

# seconds that a call takes before its progress is shown, and between two lines of it
DELAY, _BETWEEN_LINES = 2.0, 10.0


def open_bar(name: str, total: int, unit: str, delay: float = 0.0) -> Any:
    """Return a bar of `tqdm`, or what stands for it where nothing can be redrawn.

    It is on stderr, and appears after `delay` seconds. Closing it is up to the caller,
    or to a ``with`` block.
    """
    stream = sys.stderr
    # a service may have no stream to write to
    if stream is not None:
        from tqdm import auto

        if has_terminal(stream) or auto.notebook_tqdm is not auto.std_tqdm:
            return auto.tqdm(total=total, unit=unit, desc=name, delay=delay)
    return LineBar(stream, name, total, unit, delay)


def has_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal, which can redraw a line."""
    return bool(getattr(stream, "isatty", bool)())


def write_line(stream: Any, text: str) -> None:
    """Write a line to a stream, if it is there and takes it."""
    try:
        if stream is not None:
            stream.write(f"{text}\n")
            stream.flush()
    except (OSError, ValueError):
        # closed, broken or without the letters: no reason to end a call
        pass


class LineBar:
    """A bar as lines of text, one every ten seconds and one at the end.

    It has the methods of `tqdm` that are used here, and writes no control characters.
    """

    def __init__(
        self, stream: Any, name: str, total: int, unit: str, delay: float
    ) -> None:
        self.stream, self.name, self.unit, self.delay = stream, name, unit, delay
        self.total, self.n, self.shown = total, 0, ""
        self.begin = self.latest = monotonic()

    def set_postfix(self, values: dict[str, str]) -> None:
        """Set values to show, by name."""
        self.shown = "".join(f", {name}={value}" for name, value in values.items())

    def update(self, n: int = 1) -> None:
        """Count further units."""
        self.n += n
        if monotonic() - self.latest >= _BETWEEN_LINES:
            self._write()

    def close(self) -> None:
        """Write the last line, if the call was long enough for any."""
        if self.n and monotonic() - self.begin >= self.delay:
            self._write()

    def _write(self) -> None:
        self.latest = monotonic()
        seconds = self.latest - self.begin
        share = self.n / max(self.total, 1)
        rate = self.n / max(seconds, 1e-9)
        write_line(
            self.stream,
            f"{self.name}: {share:.0%} {self.n}/{self.total} [{seconds:.1f} s, "
            f"{rate:.3g} {self.unit}/s{self.shown}]",
        )

    def __enter__(self) -> LineBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
