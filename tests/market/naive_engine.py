"""The rules of the engine in the plainest Python: one list of orders, sorted whenever somebody asks. Shares no code.

Spot money is kept to the unit; of a perpetual only positions are kept, its owners are rich enough for any margin.
"""

from dataclasses import dataclass, field

BUY, SELL = 0, 1
LIMIT, MARKET, STOP_MARKET, STOP_LIMIT, PROFIT_MARKET, PROFIT_LIMIT, TRAILING = range(7)
GTC, IOC, FOK, GTD, POST_ONLY = range(5)
TRIGGERED, RESTED, EXPIRED, CANCELED = range(1, 5)
INFINITE = 2**62
SPOT = 0


@dataclass(eq=False)
class Order:
    id: int
    i: int
    owner: int
    side: int
    price: int
    left: int
    tif: int = GTC
    display: int = 0
    reduces: bool = False
    stp: int = 0
    expiry: int = 0
    kind: int = LIMIT
    stop: int = 0
    trail: int = 0
    source: int = 0
    rises: bool = False
    shown: int = 0
    arrival: int = 0
    state: str = "new"  # new, resting, waiting, trailing, fired, gone
    peak: int = 0
    locked: bool = False


Trade = tuple[int, int, int, int, int, int, int, int, int, int, bool]
Event = tuple[int, int, int, int, int, int, int, int, int, int]


@dataclass
class NaiveEngine:
    """`lot_units` and `tick_units` of spot; `fees[owner]` is (maker, taker) in millionths."""

    lot_units: int
    tick_units: int
    fees: list[tuple[int, int]]
    balances: list[list[list[int]]]  # [owner][base, quote][free, locked]
    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    positions: dict[tuple[int, int], int] = field(default_factory=dict)
    next_id: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    mark: dict[int, int] = field(default_factory=dict)
    halted: set[int] = field(default_factory=set)
    arrivals: int = 0

    # -- looking ------------------------------------------------------------------------------------------------------

    def queue(self, i: int, side: int, price: int) -> list[Order]:
        """Resting orders that a taker of the other side would meet up to `price`, in the order it meets them."""
        held = [o for o in self.orders if o.i == i and o.side == side and o.state == "resting"]
        fit = [o for o in held if (o.price >= price if side == BUY else o.price <= price)]
        return sorted(fit, key=lambda o: (-o.price if side == BUY else o.price, o.arrival))

    def depth(self, i: int, side: int) -> list[list[int]]:
        totals: dict[int, int] = {}
        for o in self.queue(i, side, 0 if side == BUY else INFINITE):
            totals[o.price] = totals.get(o.price, 0) + o.shown
        return [[price, lots] for price, lots in totals.items()]

    def closable(self, i: int, owner: int, side: int) -> int:
        held = self.positions.get((i, owner), 0)
        return max(0, held if side == SELL else -held)

    def sweep(self, i: int, side: int, price: int, lots: int, budget: int) -> tuple[int, int]:
        """Lots and ticks × lots; a level counts as one order."""
        levels: dict[int, int] = {}
        for o in self.queue(i, 1 - side, price):
            levels[o.price] = levels.get(o.price, 0) + o.left
        got = cost = 0
        for level, there in levels.items():
            take = min(there, lots - got, (budget - cost) // level)
            got, cost = got + take, cost + take * level
            if take < there:
                break
        return got, cost

    # -- money of spot ------------------------------------------------------------------------------------------------

    def move(self, order: Order, lots: int, sign: int) -> None:
        """Lock (1) or free (-1) what so many lots of a resting or waiting order take."""
        if order.i == SPOT:
            asset, units = 0, lots * self.lot_units
            if order.side == BUY:
                asset, units = 1, lots * order.price * self.tick_units
            self.balances[order.owner][asset][0] -= sign * units
            self.balances[order.owner][asset][1] += sign * units

    def affords(self, order: Order, cost: int) -> bool:
        if order.i != SPOT:
            return True
        if order.side == BUY:
            return self.balances[order.owner][1][0] >= cost * self.tick_units
        return self.balances[order.owner][0][0] >= order.left * self.lot_units

    def trade(self, maker: Order, taker: Order, lots: int) -> None:
        maker.left -= lots
        maker.shown -= lots
        fees = [0, 0]
        buyer, seller = (maker, taker) if maker.side == BUY else (taker, maker)
        if maker.i == SPOT:
            base, quote = lots * self.lot_units, lots * maker.price * self.tick_units
            self.balances[buyer.owner][1][1 if buyer is maker else 0] -= quote
            self.balances[seller.owner][0][1 if seller is maker else 0] -= base
            for k, party in enumerate((maker, taker)):
                received, asset = (base, 0) if party is buyer else (quote, 1)
                fees[k] = received * self.fees[party.owner][k] // 1_000_000
                self.balances[party.owner][asset][0] += received - fees[k]
                self.balances[0][asset][0] += fees[k]
        else:
            for party, signed in ((buyer, lots), (seller, -lots)):
                key = maker.i, party.owner
                self.positions[key] = self.positions.get(key, 0) + signed
        self.trades.append((
            maker.i, maker.price, lots, maker.id, taker.id, maker.owner, taker.owner, fees[0], fees[1], maker.left,
            maker.side == BUY,
        ))  # fmt: skip
        if maker.left == 0:
            self.drop(maker)
        elif maker.shown == 0:
            maker.shown = min(maker.display, maker.left)
            self.arrivals += 1
            maker.arrival = self.arrivals

    def drop(self, order: Order) -> None:
        order.state = "gone"
        if order in self.orders:
            self.orders.remove(order)

    def log(self, kind: int, o: Order, left: int, time: int, reason: int) -> None:
        self.events.append((kind, o.i, o.id, o.owner, o.side, o.price, left, time, len(self.trades), reason))

    def end(self, o: Order, kind: int, reason: int, time: int) -> None:
        self.log(kind, o, o.left, time, reason)
        if o.state == "resting" or o.locked:
            self.move(o, o.left, -1)
        self.drop(o)

    # -- entering -----------------------------------------------------------------------------------------------------

    def refusal(self, o: Order) -> int:
        waits = o.tif not in (IOC, FOK)
        cost = o.price * o.left if waits else self.sweep(o.i, o.side, o.price, o.left, INFINITE)[1]
        if o.i in self.halted:
            return -6
        if o.tif == POST_ONLY and self.queue(o.i, 1 - o.side, o.price):
            return -2
        if o.reduces and self.closable(o.i, o.owner, o.side) == 0:
            return -3
        return 0 if self.affords(o, cost) else -1

    def fillable(self, o: Order, lots: int) -> bool:
        for maker in self.queue(o.i, 1 - o.side, o.price):
            if o.stp and maker.owner == o.owner:
                if o.stp != 2:
                    return False
            elif not maker.reduces:
                lots -= maker.left
                if lots <= 0:
                    return True
        return False

    def enter(self, o: Order, time: int) -> tuple[int, int, bool]:
        refused = self.refusal(o)
        if refused:
            return refused, 0, False
        if not o.id:
            o.id = self.next_id[o.i] = self.next_id.get(o.i, 0) + 1
        want = min(o.left, self.closable(o.i, o.owner, o.side)) if o.reduces else o.left
        waits, before, stopped, filled = o.tif not in (IOC, FOK), len(self.trades), False, 0
        if o.tif != FOK or self.fillable(o, want):
            filled, stopped = self.take(o, want, waits, time)
        if len(self.trades) > before:
            self.last[o.i] = self.trades[-1][1]
        o.left -= filled
        if o.left and waits and not stopped and not (o.reduces and filled == want):
            self.arrivals += 1
            o.arrival, o.state = self.arrivals, "resting"
            o.shown = min(o.left, o.display) if o.display else o.left
            if o not in self.orders:
                self.orders.append(o)
            self.move(o, o.left, 1)
            return o.id, filled, True
        self.drop(o)
        if o.left:
            reason = 4 if stopped else 3 if o.reduces and filled == want else 1
            self.log(EXPIRED, o, o.left, time, reason)
        return o.id, filled, False

    def take(self, o: Order, want: int, waits: bool, time: int) -> tuple[int, bool]:
        left = bound = want
        while left and bound:
            makers = self.queue(o.i, 1 - o.side, o.price)
            if not makers:
                break
            maker, special = makers[0], True
            if o.stp and maker.owner == o.owner:
                if o.stp != 1:
                    self.end(maker, EXPIRED, 5, time)
                if o.stp != 2:
                    return want - left, True
            elif maker.reduces:
                lots = min(bound, maker.shown, self.closable(o.i, maker.owner, maker.side))
                if lots:
                    self.trade(maker, o, lots)
                    left, bound = left - lots, bound - lots
                if maker.state == "resting" and self.closable(o.i, maker.owner, maker.side) == 0:
                    self.end(maker, EXPIRED, 3, time)
            else:
                special = False
                lots = min(bound, maker.shown)
                self.trade(maker, o, lots)
                left, bound = left - lots, bound - lots
            if special:
                bound = left
                if o.side == BUY and not waits and o.i == SPOT:
                    budget = self.balances[o.owner][1][0] // self.tick_units
                    bound = self.sweep(o.i, BUY, o.price, left, budget)[0]
        return want - left, False

    # -- waiting orders -----------------------------------------------------------------------------------------------

    def wait(self, o: Order) -> int:
        now = (self.mark if o.source else self.last).get(o.i, 0)
        trails = o.kind == TRAILING
        o.rises = o.stop > now if trails else (o.side == BUY) == (o.kind in (STOP_MARKET, STOP_LIMIT))
        if o.i in self.halted:
            return -6
        if not trails and now and (o.stop <= now if o.rises else o.stop >= now):
            return -4
        if trails and not now and not o.stop:
            return -10
        o.locked = o.i == SPOT and (o.side == SELL or o.price > 0)
        if o.locked and not self.affords(o, o.price * o.left):
            return -1
        o.id = self.next_id[o.i] = self.next_id.get(o.i, 0) + 1
        if o.locked:
            self.move(o, o.left, 1)
        o.state = "trailing" if trails and o.stop in (0, now) else "waiting"
        o.peak = now
        self.orders.append(o)
        return o.id

    def see(self, i: int, source: int, price: int) -> list[Order]:
        """Orders that this price sets off, in order."""
        fired = []
        for rises in (True, False):
            reached = [
                o for o in self.orders
                if o.i == i and o.source == source and o.state == "waiting" and o.rises == rises
                and (o.stop <= price if rises else o.stop >= price)
            ]  # fmt: skip
            for o in sorted(reached, key=lambda o: (o.stop if o.rises else -o.stop, o.id)):
                o.state, o.peak = ("trailing", price) if o.trail else ("fired", 0)
                fired += [] if o.trail else [o]
        for o in sorted(self.orders, key=lambda o: o.id):
            if o.i == i and o.source == source and o.state == "trailing":
                if o.side == SELL:
                    o.peak = max(o.peak, price)
                    fires = price * 10_000 <= o.peak * (10_000 - o.trail)
                else:
                    o.peak = min(o.peak, price)
                    fires = price * 10_000 >= o.peak * (10_000 + o.trail)
                if fires:
                    o.state = "fired"
                    fired.append(o)
        return fired

    def react(self, i: int, source: int, time: int) -> None:
        fired = self.see(i, source, (self.mark if source else self.last).get(i, 0))
        while fired:
            o, before = fired.pop(0), len(self.trades)
            self.log(TRIGGERED, o, o.left, time, 0)
            if o.locked:
                self.move(o, o.left, -1)
                o.locked = False
            own_price = o.price
            if own_price == 0:
                o.tif, o.price = IOC, INFINITE if o.side == BUY else 0
            lots = o.left
            answer, filled, rests = self.enter(o, time)
            if answer < 0:
                o.price = own_price
                self.drop(o)
                self.log(EXPIRED, o, lots, time, 100 - answer)
            elif rests:
                self.log(RESTED, o, lots - filled, time, 0)
            if len(self.trades) > before:
                fired += self.see(i, 0, self.last[i])

    # -- requests -----------------------------------------------------------------------------------------------------

    def submit(self, o: Order, time: int) -> tuple[int, int, bool]:
        if o.expiry and o.expiry <= time:
            return -8, 0, False
        if o.kind > MARKET:
            if o.kind in (STOP_MARKET, PROFIT_MARKET):
                o.price = 0
            answer = self.wait(o)
            return answer, 0, answer > 0
        if o.kind == MARKET:
            o.tif, o.price = IOC, INFINITE if o.side == BUY else 0
        before = len(self.trades)
        answer, filled, _ = self.enter(o, time)
        if len(self.trades) > before:
            self.react(o.i, 0, time)
        return answer, filled, o.state == "resting"

    def find(self, i: int, order_id: int) -> Order | None:
        return next((o for o in self.orders if o.i == i and o.id == order_id), None)

    def cancel(self, i: int, order_id: int) -> int:
        o = self.find(i, order_id)
        if o is None:
            return 0
        if o.state == "resting" or o.locked:
            self.move(o, o.left, -1)
        self.drop(o)
        return o.left

    def cancel_all(self, owner: int, i: int, time: int) -> int:
        mine = [o for o in self.orders if o.owner == owner and i in (-1, o.i)]
        for o in mine:
            self.end(o, CANCELED, 0, time)
        return len(mine)

    def amend(self, i: int, order_id: int, price: int, lots: int, time: int) -> tuple[int, int, bool]:
        o = self.find(i, order_id)
        if o is None or o.state != "resting":
            return -9, 0, False
        if i in self.halted:
            return -6, 0, False
        if price == o.price and lots <= o.left:
            self.move(o, o.left - lots, -1)
            hidden = o.left - o.shown
            o.shown -= max(0, o.left - lots - hidden)
            o.left = lots
            return o.id, 0, True
        self.move(o, o.left, -1)
        old = o.price, o.left, o.tif
        o.price, o.left, o.tif = price, lots, POST_ONLY if o.tif == POST_ONLY else GTC
        refused = self.refusal(o)
        if refused:
            o.price, o.left, o.tif = old
            self.move(o, o.left, 1)
            return refused, 0, False
        o.state, before = "new", len(self.trades)
        answer, filled, _ = self.enter(o, time)
        if len(self.trades) > before:
            self.react(i, 0, time)
        return answer, filled, o.state == "resting"

    def pass_time(self, time: int) -> None:
        due = [o for o in self.orders if o.expiry and o.expiry <= time]
        for o in sorted(due, key=lambda o: (o.i, o.expiry, o.id)):
            self.end(o, EXPIRED, 2, time)
