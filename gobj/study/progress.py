"""How far a job has come: a bar on a terminal, a line every ten seconds in a log."""

import sys
import time
from types import TracebackType

from tqdm import tqdm  # type: ignore[import-untyped]

BAR = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
PAUSE = 10.0  # seconds between two lines of a log


class Progress:
    """Count the work that is done, and show it on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._bar = tqdm(total=0, disable=not self._terminal, leave=False, bar_format=BAR)
        self._total = self._done = 0.0
        self._name = "starting"
        self._start = self._said = time.monotonic()

    def __enter__(self) -> "Progress":
        """Return the progress itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.close()

    def expect(self, amount: float) -> None:
        """Add to what there is to do."""
        self._total += amount
        self._bar.total = self._total
        self._bar.refresh()

    def begin(self, name: str) -> None:
        """Name what is done now."""
        self._name = name
        self._bar.set_description(name)

    def advance(self, amount: float = 1.0) -> None:
        """Count what is done."""
        self._done += amount
        self._bar.update(amount)
        now = time.monotonic()
        if not self._terminal and not self._quiet and now - self._said >= PAUSE:
            self._said = now
            share = self._done / max(self._total, 1e-9)
            passed = now - self._start
            print(f"{passed:4.0f} s  {share:4.0%}  {self._name}", file=sys.stderr, flush=True)
