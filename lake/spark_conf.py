"""Spark's configuration as plain text, without importing pyspark: the session and `spark-submit` use the same one.

Class path and memory must be known before the JVM starts; a job started by `spark-submit` gets them from here through
its operator, a job started by `python -m` through `lake.spark`.
"""

import os
from pathlib import Path

from lake.errors import Misconfigured
from lake.jars import jar_paths, java
from lake.storage import Lake

LOG_STORE = "bitacora.ConditionalLogStore"

_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",  # Binance's keys t/T and e/E are different columns
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # INT96, the default, has no minimum and maximum
    "spark.sql.shuffle.partitions": "8",
    # Tasks hold one month each: write straight to its file instead of sorting by partition first.
    "spark.sql.maxConcurrentOutputFileWriters": "8",
    # Tables here have tens of files; 50 tasks per snapshot cost seconds in a cold JVM.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
}

_PROCESS = {
    "spark.driver.memory": "3g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.delta.logStore.s3a.impl": LOG_STORE,
}

_LOGGING = Path(__file__).with_name("log4j2.properties")
_JAVA_OPTIONS = f"-XX:+UseParallelGC -Dlog4j2.configurationFile={_LOGGING.as_uri()}"


def spark_conf(lake: Lake) -> dict[str, str]:
    """Every `spark.*` property a job needs on this lake.

    Raises:
        Misconfigured: there is no Java, or a jar is missing.
    """
    java("java")
    master = os.environ.get("SPARK_MASTER", "local[*]")
    class_path = os.pathsep.join(map(str, jar_paths()))
    conf = {"spark.master": master, **_PROCESS, **_SESSION, "spark.driver.extraClassPath": class_path}
    conf["spark.driver.extraJavaOptions"] = f"{_JAVA_OPTIONS} -Dderby.system.home={_scratch()}"
    conf["spark.sql.warehouse.dir"] = str(_scratch() / "warehouse")
    if master.startswith("local"):
        conf |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    else:
        conf["spark.jars"] = ",".join(map(str, jar_paths()))
    return conf | _s3_conf() if lake.is_remote else conf


def _scratch() -> Path:
    return Path(os.environ.get("BITACORA_HOME", "var")).resolve() / "spark"


def _s3_conf() -> dict[str, str]:
    """s3a from the standard AWS_* variables; keys stay in the environment, where the SDK finds them."""
    conf = {
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
            if "AWS_ACCESS_KEY_ID" in os.environ
            else "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
        ),
        "spark.hadoop.fs.s3a.input.stream.type": "classic",
        "spark.hadoop.fs.s3a.fast.upload.buffer": "bytebuffer",
    }
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        conf["spark.hadoop.fs.s3a.endpoint.region"] = region
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        if "://" not in endpoint:
            raise Misconfigured(f"AWS_ENDPOINT_URL={endpoint!r}: expected a URL such as http://127.0.0.1:7070.")
        conf["spark.hadoop.fs.s3a.endpoint"] = endpoint
        conf["spark.hadoop.fs.s3a.path.style.access"] = "true"
        conf["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(endpoint.startswith("https://")).lower()
    return conf
