"""Great Expectations over a table: the suite comes from the declaration, one batched run checks a whole frame."""

import logging
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame

from lake.errors import ContractViolated
from lake.table import Table

_TYPES = {
    "string": "StringType",
    "binary": "BinaryType",
    "double": "DoubleType",
    "int64": "LongType",
    "bool": "BooleanType",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run: how many expectations, and a line for each that failed."""

    table: str
    evaluated: int
    failures: tuple[str, ...]
    outcome: Any = field(default=None, repr=False)
    """Great Expectations' own result, for `jobs.data_docs`."""

    def require(self) -> None:
        """Raises:
        ContractViolated: an expectation failed; nothing that builds on the table may go on.
        """
        if self.failures:
            raise ContractViolated(
                f"{self.table}: {len(self.failures)} of {self.evaluated} expectations failed: "
                + "; ".join(self.failures)
                + ". Nothing was committed; look at the rows, then run the job again."
            )


def warm_up() -> threading.Thread:
    """Import Great Expectations (seconds) in the background, while the JVM starts."""
    thread = threading.Thread(target=_library, daemon=True)
    thread.start()
    return thread


def _library() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    import jobs.expectations  # noqa: F401  # registers its metrics

    return great_expectations


def expectations(table: Table) -> list[Any]:
    """The declared contract as expectations: columns and their order, nulls, key, every check."""
    gx = _library().expectations
    from jobs.expectations import ExpectKeyToBeUnique, ExpectRowsToKeep

    suite = [gx.ExpectTableColumnsToMatchOrderedList(column_list=table.schema.names)]
    suite += [
        gx.ExpectColumnValuesToBeOfType(column=c.name, type_=_TYPES[str(c.type)])
        for c in table.columns
        if str(c.type) in _TYPES
    ]
    suite += [
        ExpectRowsToKeep(description=f"{c.name} is not null", rule=f"{c.name} IS NOT NULL")
        for c in table.columns
        if not c.nullable
    ]
    suite += [ExpectRowsToKeep(description=check.reason, rule=check.sql) for check in table.checks]
    suite.append(ExpectKeyToBeUnique(description=f"the key ({', '.join(table.key)}) is unique", key=list(table.key)))
    return suite


def validate(frame: DataFrame, table: Table) -> Report:
    """Check every row of the frame; persist it first, since each expectation may be a pass of its own."""
    gx = _library()
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_or_update_spark("lake", persist=False)
    batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("interval")
    suite = context.suites.add(gx.ExpectationSuite(name=table.name, expectations=expectations(table)))
    definition = gx.ValidationDefinition(name=table.name, data=batch, suite=suite)
    run = context.validation_definitions.add(definition)
    outcome = run.run(batch_parameters={"dataframe": frame}, result_format="BASIC")
    failures = tuple(_line(result) for result in outcome.results if not result.success)
    return Report(table.name, len(outcome.results), failures, outcome)


def _line(result: Any) -> str:
    config, found = result.expectation_config, result.result or {}
    about = config.description or f"{config.type}({config.kwargs.get('column', '')})"
    if result.exception_info and "raised_exception" not in result.exception_info:
        trouble: dict[str, Any] = next(iter(result.exception_info.values()), {})
        return f"{about}: could not be checked: {trouble.get('exception_message', '')}"
    seen = found.get("unexpected_count", found.get("observed_value", "rows"))
    return f"{about}: {seen} unexpected"
