"""What can go wrong, told by what the caller does next.

    BitacoraError                 exit code
    ├── UsageError                64   call it again, corrected
    │   └── UnknownInstrument
    ├── ContractViolated          65   stop: the data breaks its declaration
    │   ├── BadInput              65   a file or payload that does not parse
    │   ├── BundleRejected        65   a model bundle that fails its manifest
    │   └── JournalCorrupted      65   a record in the middle of a journal is damaged
    ├── Unavailable               69   a service is down or missing
    │   └── NothingStored         69   a table or interval that holds no rows yet
    ├── TryAgain                  75   transient: the DAGs retry only this
    │   ├── RateLimited           75
    │   ├── Overtaken             75   another run committed first: read again
    │   └── LeaseLost             75   another run took over the table while this one slept
    └── Misconfigured             78   fix a setting, a key or the machine
        └── CredentialsRefused    78

Every message names the thing, what was expected, what was found and the next step.
"""

import os


class BitacoraError(Exception):
    """Base of all errors a user may see; `exit_code` follows sysexits."""

    exit_code = os.EX_SOFTWARE


class UsageError(BitacoraError):
    exit_code = os.EX_USAGE


class UnknownInstrument(UsageError):
    pass


class ContractViolated(BitacoraError):
    exit_code = os.EX_DATAERR


class BadInput(ContractViolated):
    pass


class BundleRejected(ContractViolated):
    pass


class JournalCorrupted(ContractViolated):
    pass


class Unavailable(BitacoraError):
    exit_code = os.EX_UNAVAILABLE


class NothingStored(Unavailable):
    pass


class TryAgain(BitacoraError):
    exit_code = os.EX_TEMPFAIL


class RateLimited(TryAgain):
    pass


class Overtaken(TryAgain):
    pass


class LeaseLost(TryAgain):
    pass


class Misconfigured(BitacoraError):
    exit_code = os.EX_CONFIG


class CredentialsRefused(Misconfigured):
    pass
