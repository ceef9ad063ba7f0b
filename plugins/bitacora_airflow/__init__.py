"""What the DAGs are made of: assets, defaults, the operators that start jobs, and the approval.

assets.py     one asset per table and per model alias
defaults.py   owner, retries, pools: once
summary.py    a job's last line, and how it becomes the asset event's extra
exits.py      a job's exit code, and what Airflow does next
job.py        `python -m …` as a task
spark_job.py  the same through spark-submit
approval.py   a person's yes, or the policy's
links.py      a task's MLflow run
launch.py     runs a module where only a file can be given
"""
