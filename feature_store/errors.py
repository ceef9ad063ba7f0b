"""What the feature store refuses.

BitacoraError
├── UsageError
│   └── UnknownService        no service of that name
├── ContractViolated
│   ├── LeakFound             a feature that knew the future: fix it, nothing of it may be trained on
│   ├── HashMismatch          rows of other code than ours: materialize this version
│   ├── NotReproduced         a training set that its recipe no longer gives
│   └── BadInput
│       ├── FileRefused       a file that does not read, or lacks a column
│       ├── PushRefused       a row that does not fit its online view
│       ├── LeakCheckRefused  a pipeline or table that cannot be checked for leaks
│       ├── JoinRefused       two frames that cannot be joined as they are
│       └── BarsRefused       unsorted, off the grid, not finite, of the wrong shape (a ValueError too)
└── Misconfigured
    └── KernelRefused         a view whose kernel cannot be hashed: fix the view's code
"""

from lake.errors import BadInput, ContractViolated, Misconfigured, UsageError


class UnknownService(UsageError):
    pass


class LeakFound(ContractViolated):
    pass


class HashMismatch(ContractViolated):
    pass


class NotReproduced(ContractViolated):
    pass


class PushRefused(BadInput):
    pass


class FileRefused(BadInput):
    pass


class JoinRefused(BadInput):
    pass


class LeakCheckRefused(BadInput):
    pass


class BarsRefused(BadInput, ValueError):
    pass


class KernelRefused(Misconfigured):
    pass
