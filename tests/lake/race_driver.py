"""One Spark driver of the race: `python race_driver.py LAKE NAME COMMITS [STORE]` appends that many one-row commits.

STORE is the class of a log store other than ours.
"""

import sys

import pyarrow as pa

from lake import spark_conf
from lake.spark import spark_session
from lake.storage import Lake


def main(root: str, name: str, commits: int, log_store: str = spark_conf.LOG_STORE) -> None:
    spark_conf._PROCESS["spark.delta.logStore.s3a.impl"] = log_store
    session = spark_session(Lake(root), name)
    print("ready", flush=True)
    sys.stdin.readline()
    for at in range(commits):
        rows = session.createDataFrame(pa.table({"who": [name], "number": pa.array([at], pa.int64())}))
        rows.coalesce(1).write.format("delta").mode("append").save(f"{root}/race")
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
