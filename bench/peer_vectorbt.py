"""A million bars with a stop and costs in vectorbt; run by bench/backtest.py in the peers' Python.

argv: bars.npy [n, 5] (open, high, low, close, held), runs, fee, slippage, stop. Prints one JSON line.
"""

import json
import sys
import time

import numpy as np
import vectorbt as vbt


def main() -> None:
    file, runs = sys.argv[1], int(sys.argv[2])
    fee, slippage, stop = (float(value) for value in sys.argv[3:6])
    bars = np.load(file)
    opened, high, low, close, held = bars.T.copy()
    before = np.concatenate(([0.0], held[:-1]))
    # Signals of a close trade at the next bar's open.
    entries = np.concatenate(([False], ((held > 0) & (before == 0))[:-1]))
    exits = np.concatenate(([False], ((held == 0) & (before > 0))[:-1]))
    rates, result = [], {}
    for run in range(runs + 1):
        began = time.process_time()
        portfolio = vbt.Portfolio.from_signals(
            close, entries, exits, price=opened, open=opened, high=high, low=low, fees=fee, slippage=slippage,
            sl_stop=stop, init_cash=10_000.0, freq="5min",
        )  # fmt: skip
        value = portfolio.value()
        spent = time.process_time() - began
        result = {"fills": int(portfolio.orders.count()), "final": round(float(value.iloc[-1]), 2)}
        if run:  # the first one compiles
            rates.append(len(close) / spent / 1e6)
    print(json.dumps({"rates": rates, **result}))


if __name__ == "__main__":
    main()
