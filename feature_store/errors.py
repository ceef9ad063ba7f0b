"""What the feature store refuses.

BitacoraError
├── UsageError
│   └── UnknownService        no service of that name
├── ContractViolated
│   └── BadInput
│       ├── FileRefused       a file that does not read, or lacks a column
│       ├── JoinRefused       two frames that cannot be joined as they are
│       └── BarsRefused       unsorted, off the grid, not finite, of the wrong shape (a ValueError too)
└── Misconfigured
    └── KernelRefused         a view whose kernel cannot be hashed: fix the view's code
"""

from lake.errors import BadInput, Misconfigured, UsageError


class UnknownService(UsageError):
    pass


class FileRefused(BadInput):
    pass


class JoinRefused(BadInput):
    pass


class BarsRefused(BadInput, ValueError):
    pass


class KernelRefused(Misconfigured):
    pass
