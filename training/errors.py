"""What can go wrong in training, told by what the caller does next.

BitacoraError
├── ContractViolated
│   └── PromotionRefused    65   the gate or a person said no: train something better
└── Unavailable
    ├── NotEnoughHistory    69   ingest more history, or lower the walk-forward's demands
    └── NoSuchVersion       69   the registry holds no such version: train and register one
"""

from lake.errors import ContractViolated, Unavailable


class PromotionRefused(ContractViolated):
    pass


class NotEnoughHistory(Unavailable):
    pass


class NoSuchVersion(Unavailable):
    pass
