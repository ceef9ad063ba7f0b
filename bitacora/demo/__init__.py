"""The main job, embedded and bounded: `bitacora demo`, which is `make demo`.

run.py        the stages in order, and what happens when one breaks
progress.py   one line per stage: elapsed time and what is being waited for
follow.py     a DAG's run, watched over Airflow's REST API
trade.py      live for some minutes
settle.py     live's journal into the lake, bars and features built again
checks.py     whether the whole chain held
"""
