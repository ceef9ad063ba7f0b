"""What a strategy hears of the embedded exchange in process: the trades and books that its streams would tell live."""

from lake.intervals import MILLISECOND
from market.book import (
    BUY,
    SELL,
    TAPE_BUYER_IS_MAKER,
    TAPE_ID,
    TAPE_INSTRUMENT,
    TAPE_LOTS,
    TAPE_PRICE,
    TAPE_TIME,
)
from market.exchange import Exchange
from market.reports import price_text, quantity_text
from market.runner import Runner
from market.strategy import Book, Trade
from market.strategy import Side as Taker
from market.turns import Heard

Side = tuple[tuple[float, float], ...]
"""Price and quantity, best first."""


class VenueNews:
    """Trades since the last look, and the books whose shown levels differ from those shown before."""

    def __init__(self, exchange: Exchange, runner: Runner, columns: dict[str, int]) -> None:
        """`columns` are the exchange's numbers of the runner's instruments."""
        self._exchange, self._columns = exchange, columns
        self._names = {i: name for name, i in columns.items()}
        self._levels = runner.strategy.book_levels if runner.wants_books else 0
        self._trades = runner.wants_trades
        self._seen = dict.fromkeys(columns, -1)
        self._shown: dict[str, tuple[Side, Side]] = dict.fromkeys(columns, ((), ()))

    def take(self) -> list[Heard]:
        """What is new where the market stands; the exchange's outbox is read, not emptied."""
        rows = self._exchange.outbox.trades if self._trades else ()
        heard = [self._trade(row) for row in rows if row[TAPE_INSTRUMENT] in self._names]
        for name, i in self._columns.items() if self._levels else ():
            update_id = self._exchange.update_id(i)
            if update_id != self._seen[name]:
                self._seen[name] = update_id
                heard += self._book(name, i, update_id)
        return heard

    def _trade(self, row: list[int]) -> Heard:
        exchange, i = self._exchange, row[TAPE_INSTRUMENT]
        price, quantity = price_text(exchange, i, row[TAPE_PRICE]), quantity_text(exchange, i, row[TAPE_LOTS])
        taker: Taker = "sell" if row[TAPE_BUYER_IS_MAKER] else "buy"
        trade = Trade(self._names[i], exchange.time, float(price), float(quantity), taker)
        return Heard(trade, row[TAPE_ID], row[TAPE_TIME] // MILLISECOND * MILLISECOND)

    def _book(self, name: str, i: int, update_id: int) -> list[Heard]:
        sides = self._side(i, BUY), self._side(i, SELL)
        if sides == self._shown[name]:
            return []
        self._shown[name] = sides
        return [Heard(Book(name, self._exchange.time, *sides), update_id, self._exchange.time)]

    def _side(self, i: int, side: int) -> Side:
        exchange = self._exchange
        return tuple(
            (float(price_text(exchange, i, price)), float(quantity_text(exchange, i, lots)))
            for price, lots in exchange.depth(i, side, self._levels).tolist()
        )
