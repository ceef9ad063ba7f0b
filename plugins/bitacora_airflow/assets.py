"""One asset per table, named as the table; two per registered model, one for each alias."""

from airflow.sdk import Asset

from lake.table import Table

CHALLENGER = "challenger"
CHAMPION = "champion"


def asset(table: Table) -> Asset:
    """The table's asset; the same declaration gives the same asset in every DAG.

    An event's extra holds `delta_version` and `rows`: readers pin that version instead of reading the newest.
    """
    return Asset(
        name=table.name,
        uri=f"bitacora://lake/{table.path}",
        group=table.layer,
        extra={"owner": table.owner, "description": table.description},
    )


def model_asset(alias: str, model_name: str = "bitacora") -> Asset:
    """The version an alias of a registered model points to."""
    return Asset(name=f"model/{model_name}@{alias}", uri=f"bitacora://registry/{model_name}/{alias}", group="model")
