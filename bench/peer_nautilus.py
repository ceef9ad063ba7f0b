"""A tick backtest in NautilusTrader; run by bench/l2_backtest.py in the peers' Python.

argv: ticks.npy [n, 6] (ns, is_trade, bid or price, bid or trade quantity, ask, ask quantity), runs, counting|maker,
distance, lots, most, tick, lot. Prints one JSON line.
"""

import json
import sys
import time
from decimal import Decimal

import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel, LatencyModel
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType, OrderSide
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy


class Maker(Strategy):
    """Counts ticks; as a maker it quotes the touch every 100 ms."""

    def __init__(self, instrument, quoting, distance, lots, most):  # type: ignore[no-untyped-def]
        super().__init__(StrategyConfig())
        self.instrument, self.quoting = instrument, quoting
        self.distance, self.lots, self.most = distance, lots, most
        self.count, self.fills, self.tick = 0, 0, None

    def on_start(self):  # type: ignore[no-untyped-def]
        self.subscribe_quote_ticks(self.instrument.id)
        self.subscribe_trade_ticks(self.instrument.id)
        if self.quoting:
            self.clock.set_timer("quote", pd.Timedelta(milliseconds=100), callback=self.quote)

    def on_quote_tick(self, tick):  # type: ignore[no-untyped-def]
        self.count += 1
        self.tick = tick

    def on_trade_tick(self, tick):  # type: ignore[no-untyped-def]
        self.count += 1

    def on_order_filled(self, event):  # type: ignore[no-untyped-def]
        self.fills += 1

    def quote(self, event):  # type: ignore[no-untyped-def]
        if self.tick is None:
            return
        step, size = self.instrument.price_increment, self.instrument.size_increment
        held = round(float(self.portfolio.net_position(self.instrument.id)) / float(size))
        prices = {
            OrderSide.BUY: self.tick.bid_price.as_double() - self.distance * float(step),
            OrderSide.SELL: self.tick.ask_price.as_double() + self.distance * float(step),
        }
        full = {OrderSide.BUY: held + self.lots > self.most, OrderSide.SELL: held - self.lots < -self.most}
        for order in self.cache.orders_open(strategy_id=self.id) + self.cache.orders_inflight(strategy_id=self.id):
            full[order.side] = True
            if abs(float(order.price) - prices[order.side]) > 1e-9 and order.is_open and not order.is_pending_cancel:
                self.cancel_order(order)
        for side, price in prices.items():
            if not full[side]:
                quantity = self.instrument.make_qty(self.lots * float(size))
                self.submit_order(
                    self.order_factory.limit(
                        self.instrument.id, side, quantity, self.instrument.make_price(price), post_only=True
                    )
                )


def ticks_of(rows, instrument):  # type: ignore[no-untyped-def]
    """Quote and trade ticks out of the rows."""
    out = []
    for n, (at, is_trade, price, quantity, ask, ask_quantity) in enumerate(rows):
        ns = int(at)
        if is_trade:
            side = AggressorSide.BUYER if ask > 0 else AggressorSide.SELLER
            out.append(
                TradeTick(instrument.id, instrument.make_price(price), instrument.make_qty(quantity), side,
                          TradeId(str(n)), ns, ns)
            )  # fmt: skip
        else:
            out.append(
                QuoteTick(instrument.id, instrument.make_price(price), instrument.make_price(ask),
                          instrument.make_qty(quantity), instrument.make_qty(ask_quantity), ns, ns)
            )  # fmt: skip
    return out


def main() -> None:
    file, runs, which = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    distance, lots, most = (int(value) for value in sys.argv[4:7])
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    ticks = ticks_of(np.load(file), instrument)
    rates, result = [], {}
    for _ in range(runs):
        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
        engine.add_venue(
            Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USDT)], base_currency=USDT,
            default_leverage=Decimal(100), fill_model=FillModel(prob_fill_on_limit=0.2),
            latency_model=LatencyModel(5_000_000),
        )  # fmt: skip
        engine.add_instrument(instrument)
        engine.add_data(ticks)
        strategy = Maker(instrument, which == "maker", distance, lots, most)
        engine.add_strategy(strategy)
        began = time.process_time()
        engine.run()
        rates.append(len(ticks) / (time.process_time() - began) / 1e6)
        result = {"counted": strategy.count, "fills": strategy.fills, "orders": engine.cache.orders_total_count()}
        engine.dispose()
    print(json.dumps({"rates": rates, **result}))


if __name__ == "__main__":
    main()
