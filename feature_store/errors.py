"""What the feature store refuses.

BitacoraError
├── UsageError
│   └── UnknownService        no service of that name
├── ContractViolated
│   └── BadInput
│       └── BarsRefused       unsorted, off the grid, not finite or of the wrong shape (a ValueError too)
└── Misconfigured
    └── KernelRefused         a view whose kernel cannot be hashed: fix the view's code
"""

from lake.errors import BadInput, Misconfigured, UsageError


class UnknownService(UsageError):
    pass


class BarsRefused(BadInput, ValueError):
    pass


class KernelRefused(Misconfigured):
    pass
