"""What can go wrong in live, told by what the operator does next (exit codes of `lake.errors`).

    ContractViolated
    └── BooksDiffer          65   venue and journal disagree on what we own: look before trading
    Unavailable
    └── VenueUnavailable     69   the venue does not answer: start again when it does
    TryAgain
    ├── AlreadyRunning       75   another process writes this journal: stop it or wait
    └── NotQuiet             75   stopped with orders whose outcome is not proven yet: start again to settle them
    Misconfigured
    └── RealVenueRefused     78   the address is not loopback and a switch is missing
    JournalFailed            74   the disk refused a record: nothing is sent until a restart on a sound disk

A refused order is no exception but a value (`live.risk.Refusal`): deciding not to send is normal.
"""

import os

from lake.errors import BitacoraError, ContractViolated, Misconfigured, TryAgain, Unavailable


class BooksDiffer(ContractViolated):
    pass


class VenueUnavailable(Unavailable):
    pass


class AlreadyRunning(TryAgain):
    pass


class NotQuiet(TryAgain):
    pass


class RealVenueRefused(Misconfigured):
    pass


class JournalFailed(BitacoraError):
    exit_code = os.EX_IOERR
