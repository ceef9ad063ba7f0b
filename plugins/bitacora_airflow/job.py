"""`python -m …` as a task: output into the task log, the exit code into a retry or a failure."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any

from airflow.sdk import BaseOperator, Context

from bitacora_airflow import summary as summaries
from bitacora_airflow.exits import raise_for
from bitacora_airflow.links import MlflowRunLink

_HIDDEN = ("AIRFLOW__", "_AIRFLOW", "LIVE_")
"""Left out of a job's environment: the scheduler's secrets and the trading keys are none of its business."""


def job_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)} | {"NO_COLOR": "1"}


def command_line(arguments: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """Arguments, then options; an option whose value is empty is left out, so the job's own default holds."""
    return [*arguments, *(word for name, value in options.items() if value for word in (name, value))]


class Job(BaseOperator):
    """Run `python -m module arguments --option value …` from the repository's root.

    Args:
        module: what to run, e.g. `jobs.ingest_bars`.
        arguments: words as they are; templated.
        options: option to value; templated; an empty value leaves the option out.
    """

    template_fields: Sequence[str] = ("arguments", "options")
    operator_extra_links = (MlflowRunLink(),)
    ui_color = "#e8f0ea"

    def __init__(
        self, *, module: str, arguments: Sequence[str] = (), options: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = list(arguments)
        self.options = dict(options or {})
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> summaries.Summary | None:
        code, summary = self.run_module(command_line(self.arguments, self.options))
        self.settle(code, summary)
        summaries.publish(context, self.outlets, summary, first_try=context["ti"].try_number == 1)
        return summary

    def settle(self, code: int, summary: summaries.Summary | None) -> None:
        """Raise for a code that is not success; a subclass may know better."""
        raise_for(code, self.module)

    def run_module(self, words: Sequence[str]) -> tuple[int, summaries.Summary | None]:
        """Stream both outputs into the log; return the exit code and the last JSON line of stdout."""
        self.log.info("python -m %s %s", self.module, " ".join(words))
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=job_environment(),
            start_new_session=True,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        errors = threading.Thread(target=self._log_lines, args=(self._process.stderr,), daemon=True)
        errors.start()
        found = self._log_lines(self._process.stdout)
        errors.join()
        return self._process.wait(), found

    def on_kill(self) -> None:
        """End the job and whatever it started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _log_lines(self, stream: IO[str]) -> summaries.Summary | None:
        found = None
        for line in stream:
            self.log.info(line.rstrip())
            found = summaries.parse(line) or found
        return found
