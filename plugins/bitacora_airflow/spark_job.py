"""A job through spark-submit, with the same exit codes and the same summary as `Job`."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowException
from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Context

from bitacora_airflow import summary as summaries
from bitacora_airflow.defaults import SPARK_POOL
from bitacora_airflow.exits import raise_for
from bitacora_airflow.job import command_line, job_environment
from lake.jars import jar_paths

LAUNCHER = str(Path(__file__).with_name("launch.py"))
CONNECTION = "spark_bitacora"
"""Set as AIRFLOW_CONN_SPARK_BITACORA: {"conn_type": "spark", "host": "local[*]"}, or any master."""


def exit_code(error: Exception) -> int:
    """spark-submit's exit code, which reaches us only as text; 70 where the text holds none."""
    found = re.search(r"Error code is: (-?\d+)", str(error))
    return int(found.group(1)) if found else os.EX_SOFTWARE


class SparkJob(SparkSubmitOperator):
    """Run `module` inside spark-submit, in local mode unless the connection names another master.

    Args:
        module: what to run, e.g. `jobs.build_bars`.
        arguments, options: as in `Job`; templated.
    """

    template_fields = (*SparkSubmitOperator.template_fields, "arguments", "options")
    ui_color = "#f5e9da"

    def __init__(
        self, *, module: str, arguments: Sequence[str] = (), options: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("pool", SPARK_POOL)
        super().__init__(
            application=LAUNCHER, conn_id=CONNECTION, name=module, durable=False, driver_memory="2g", **kwargs
        )
        self.module = module
        self.arguments = list(arguments)
        self.options = dict(options or {})
        self._lines: _Lines | None = None

    def execute(self, context: Context) -> summaries.Summary | None:
        jars = [str(path) for path in jar_paths()]
        self.jars = ",".join(jars)
        self.driver_class_path = ":".join(jars)
        self.application_args = [self.module, *command_line(self.arguments, self.options)]
        self.env_vars = job_environment() | {"PYSPARK_PYTHON": sys.executable}
        code = os.EX_OK
        try:
            super().execute(context)
        except AirflowException as error:
            code = exit_code(error)
        raise_for(code, self.module)  # outside the handler: the job's output is in the log already, not once more
        summary = self._lines.summary if self._lines else None
        summaries.publish(context, self.outlets, summary, first_try=context["ti"].try_number == 1)
        return summary

    def _get_hook(self) -> SparkSubmitHook:
        hook = super()._get_hook()
        self._lines = _Lines(hook._process_spark_submit_log)
        hook._process_spark_submit_log = self._lines  # the hook offers no other way to see the job's output
        return hook


class _Lines:
    """Pass the output on to the hook's own reader and keep the job's summary."""

    def __init__(self, read: Any) -> None:
        self.read = read
        self.summary: summaries.Summary | None = None

    def __call__(self, lines: Iterable[str]) -> None:
        self.read(self._watch(lines))

    def _watch(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            self.summary = summaries.parse(line) or self.summary
            yield line
