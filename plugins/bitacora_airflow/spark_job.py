"""A job through spark-submit, with the same exit codes and the same summary as `Job`."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from bitacora_airflow import summary as summaries
from bitacora_airflow.defaults import SPARK_POOL
from bitacora_airflow.exits import raise_for
from bitacora_airflow.job import command_line, job_environment
from lake.settings import HomeSettings, LakeSettings, read_settings

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
        super().__init__(application=LAUNCHER, conn_id=CONNECTION, name=module, durable=False, **kwargs)
        self.module = module
        self.arguments = list(arguments)
        self.options = dict(options or {})

    def execute(self, context: Context) -> summaries.Summary | None:  # type: ignore[override]  # theirs gives none
        from lake.spark_conf import spark_conf  # heavier than parsing a DAG may be
        from lake.storage import Lake

        home, settings = read_settings(HomeSettings), read_settings(LakeSettings)
        conf = spark_conf(Lake(settings.root(home)))
        conf.pop("spark.master")  # the connection names it
        self.conf = conf
        self.application_args = [self.module, *command_line(self.arguments, self.options)]
        self.env_vars = job_environment() | {"PYSPARK_PYTHON": sys.executable}
        code = os.EX_OK
        try:
            super().execute(context)
        except AirflowException as error:
            code = exit_code(error)
        raise_for(code, self.module)  # outside the handler: the job's output is in the log already, not once more
        summary = getattr(self._hook, "summary", None)
        summaries.publish(context, self.outlets, summary, first_try=context["ti"].try_number == 1)
        return summary

    def _get_hook(self) -> SparkSubmitHook:
        hook = super()._get_hook()
        hook.__class__ = ListeningHook  # the operator builds its hook from two dozen arguments and takes no class
        return hook


class ListeningHook(SparkSubmitHook):
    """Keeps the job's summary while the output passes through into the log."""

    summary: summaries.Summary | None = None

    def _process_spark_submit_log(self, itr: Iterator[Any]) -> None:
        super()._process_spark_submit_log(self._watch(itr))

    def _watch(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self.summary = summaries.parse(line) or self.summary
            yield line
