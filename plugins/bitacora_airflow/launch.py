"""Run a module under spark-submit, which takes a file only: `spark-submit launch.py jobs.build_bars --start …`."""

import runpy
import sys

if __name__ == "__main__":
    sys.path[0] = ""  # as `python -m` has it; this folder's own names stay out of the module's way
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
