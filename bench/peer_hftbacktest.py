"""The market maker of docs/examples/market_maker.py in hftbacktest; run by bench/l2_backtest.py in the peers' Python.

argv: events.npy (hftbacktest's event_dtype), runs, replay|maker, distance, lots, most, tick, lot. Prints one JSON line.
"""

import json
import sys
import time

import numpy as np
from hftbacktest import BUY, GTX, LIMIT, BacktestAsset, ROIVectorMarketDepthBacktest
from numba import njit


@njit
def replay(hbt, distance, lots, most, lot):  # type: ignore[no-untyped-def]
    """Play the events and do nothing."""
    code = 0
    while code == 0:
        code = hbt.elapse(100_000_000)
    return 0, code


@njit
def maker(hbt, distance, lots, most, lot):  # type: ignore[no-untyped-def]
    """The same decisions every 100 ms as MarketMaker's step."""
    number = 0
    while True:
        code = hbt.elapse(100_000_000)
        if code != 0:
            return number, code
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        tick = depth.tick_size
        if depth.best_bid_tick <= 0 or depth.best_ask_tick >= 10**8:
            continue
        held = round(hbt.position(0) / lot)
        bid, ask = depth.best_bid_tick - distance, depth.best_ask_tick + distance
        has_bid, has_ask = held + lots > most, held - lots < -most
        values = hbt.orders(0).values()
        while values.has_next():
            order = values.get()
            is_bid = order.side == BUY
            wanted = bid if is_bid else ask
            if order.cancellable and order.price_tick != wanted:
                hbt.cancel(0, order.order_id, False)
            has_bid = has_bid or is_bid
            has_ask = has_ask or not is_bid
        if not has_bid:
            number += 1
            hbt.submit_buy_order(0, number, bid * tick, lots * lot, GTX, LIMIT, False)
        if not has_ask:
            number += 1
            hbt.submit_sell_order(0, number, ask * tick, lots * lot, GTX, LIMIT, False)


def main() -> None:
    """Build the same conditions: power queue model 3, 5 ms each way, no fees.

    Orders fill whole: its partial fills stop this run with an invalid order status.
    """
    file, runs, which = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    distance, lots, most = (int(value) for value in sys.argv[4:7])
    tick, lot = float(sys.argv[7]), float(sys.argv[8])
    events = np.load(file)
    prices = events["px"][events["px"] > 0]
    rates, result = [], {}
    for run in range(runs + 1):
        asset = (
            BacktestAsset().data(events).linear_asset(1.0).constant_order_latency(5_000_000, 5_000_000)
            .power_prob_queue_model3(3.0).no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
            .tick_size(tick).lot_size(lot).roi_lb(float(prices.min())).roi_ub(float(prices.max()))
        )  # fmt: skip
        hbt = ROIVectorMarketDepthBacktest([asset])
        began = time.process_time()
        orders, code = (replay if which == "replay" else maker)(hbt, distance, lots, most, lot)
        spent = time.process_time() - began
        if code != 1:  # 1 is the end of the data
            raise SystemExit(f"hftbacktest stopped with {code}")
        state = hbt.state_values(0)
        result = {
            "orders": int(orders), "fills": int(state.num_trades), "position": round(state.position / lot),
            "balance": round(float(state.balance), 4),
        }  # fmt: skip
        hbt.close()
        if run:  # the first one compiles
            rates.append(len(events) / spent / 1e6)
    print(json.dumps({"rates": rates, **result}))


if __name__ == "__main__":
    main()
