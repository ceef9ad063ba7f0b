"""A state machine over the engine: whatever is asked in whatever order, its rules hold and the naive engine agrees."""

from engine_duel import ACTIONS, Duel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

IDLE = {
    "i": 0, "owner": 1, "side": 0, "kind": 0, "tif": 0, "price": 100, "lots": 1, "stop": 100, "trail": 100,
    "display": 0, "reduces": 0, "stp": 0, "expiry": 0, "source": 0, "pick": 0,
}  # fmt: skip
INSTRUMENT, OWNER, SIDE = st.integers(0, 1), st.integers(1, 5), st.integers(0, 1)
PRICE, LOTS, PICK = st.integers(96, 104), st.integers(1, 30), st.integers(0, 59)


class EngineMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.duel, self.time = Duel(), 0

    def do(self, action: str, **values: int) -> None:
        self.time += 1
        self.duel.step(self.time, {**IDLE, "action": ACTIONS.index(action), **values})

    @rule(
        i=INSTRUMENT, owner=OWNER, side=SIDE, price=PRICE, lots=LOTS, tif=st.integers(0, 4), stp=st.integers(0, 3),
        display=st.sampled_from([0, 0, 2]), reduces=st.sampled_from([0, 0, 1]), expiry=st.sampled_from([0, 6]),
    )  # fmt: skip
    def limit(self, **values: int) -> None:
        self.do("submit", kind=0, **values)

    @rule(i=INSTRUMENT, owner=OWNER, side=SIDE, lots=LOTS, stp=st.integers(0, 3))
    def market(self, **values: int) -> None:
        self.do("submit", kind=1, **values)

    @rule(
        i=INSTRUMENT, owner=OWNER, side=SIDE, kind=st.integers(2, 6), price=PRICE, stop=PRICE, lots=LOTS, pick=PICK,
        trail=st.sampled_from([100, 300]), source=st.integers(0, 1), tif=st.integers(0, 4),
    )  # fmt: skip
    def waiting(self, **values: int) -> None:
        self.do("submit", **values)

    @rule(i=INSTRUMENT, pick=PICK)
    def cancel(self, **values: int) -> None:
        self.do("cancel", **values)

    @rule(i=INSTRUMENT, pick=PICK, price=PRICE, lots=LOTS)
    def amend(self, **values: int) -> None:
        self.do("amend", **values)

    @rule(owner=OWNER, i=INSTRUMENT, pick=PICK)
    def cancel_all(self, **values: int) -> None:
        self.do("cancel_all", **values)

    @rule(i=INSTRUMENT, price=PRICE)
    def mark(self, **values: int) -> None:
        self.do("mark", **values)

    @rule()
    def let_time_pass(self) -> None:
        self.do("time")

    @invariant()
    def state_agrees(self) -> None:
        self.duel.check_state()


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=25, stateful_step_count=60, deadline=None, derandomize=True)
