"""How every command of ours starts and ends: argparse with exit 64, errors as one line on stderr, sysexits."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lake.errors import BitacoraError


class Parser(argparse.ArgumentParser):
    """argparse whose usage errors exit 64."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(os.EX_USAGE)


def parser(program: str, doc: str | None) -> Parser:
    """A parser that shows the module's docstring as help."""
    return Parser(prog=f"python -m {program}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a command's main and exit with its code, or with the error's."""
    try:
        code = main()
    except BitacoraError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    raise SystemExit(code)
