"""One line per stage: elapsed time and what is being waited for. Redrawn on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PLAIN_SECONDS = 15.0
"""Where lines cannot be redrawn, a waiting stage says so this often."""
_MARKS = {"running": "…", "done": "✓", "broken": "✗"}


@dataclass(slots=True)
class Stage:
    """One step of the run; `say` replaces what it waits for or found."""

    name: str
    progress: "Progress"
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    state: str = "running"
    note: str = ""

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.began

    def say(self, note: str) -> None:
        self.note = note
        self.progress.refresh(self)

    def line(self) -> str:
        return f"{_MARKS[self.state]} {self.name:<34} {self.seconds:6.1f} s  {self.note}"


class Progress:
    """The stages so far, on standard output."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.began = time.monotonic()
        self._live: Any = None
        self._said: dict[str, float] = {}
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(get_renderable=self._table, refresh_per_second=4, transient=False)
            self._live.start()

    @contextmanager
    def stage(self, name: str, note: str = "") -> Iterator[Stage]:
        """Run a block as a stage; an exception marks it broken and goes on."""
        stage = Stage(name, self, note=note)
        self.stages.append(stage)
        try:
            yield stage
        except BaseException:
            self._end(stage, "broken")
            raise
        self._end(stage, "done")

    def refresh(self, stage: Stage) -> None:
        """Show that a stage goes on."""
        if self._live is not None:
            return
        last = self._said.get(stage.name, stage.began)
        if time.monotonic() - last >= PLAIN_SECONDS:
            self._said[stage.name] = time.monotonic()
            print(stage.line(), flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def timings(self) -> list[dict[str, Any]]:
        """JSON-ready, in order: when each stage began, how long it took, what came of it."""
        return [
            {"name": s.name, "began": s.began - self.began, "seconds": s.seconds, "state": s.state, "note": s.note}
            for s in self.stages
        ]

    def _end(self, stage: Stage, state: str) -> None:
        stage.ended, stage.state = time.monotonic(), state
        if self._live is None:
            print(stage.line(), flush=True)

    def _table(self) -> Any:
        from rich.text import Text

        styles = {"running": "cyan", "done": "green", "broken": "red"}
        lines = [
            Text(stage.line(), style=styles[stage.state], no_wrap=True, overflow="ellipsis") for stage in self.stages
        ]
        total = Text(f"  {'':<34} {time.monotonic() - self.began:6.1f} s  in all", style="dim")
        return Text("\n").join([*lines, total])
