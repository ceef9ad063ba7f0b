"""lightmatchingengine over the traffic of bench/matching.py: `peer_lightmatchingengine.py OPERATIONS.npy RUNS`.

Runs in the peers' environment. Columns of the file: kind (0 add, 1 cancel, 2 take), side, offset, lots, pick, middle.
Its book has no immediate orders, so what is left of a take is cancelled.
"""

import contextlib
import json
import sys
import time

import lightmatchingengine.lightmatchingengine as peer
import numpy as np

RING = 1024


def play(operations: list[list[int]]) -> int:
    """Run the traffic; returns the lots traded."""
    engine, ring, at, traded = peer.LightMatchingEngine(), [0] * RING, 0, 0
    for kind, side, offset, lots, pick, middle in operations:
        if kind == 1:
            if ring[pick]:
                with contextlib.suppress(AssertionError):  # so it says that the order was filled before
                    engine.cancel_order(ring[pick], "X")
            continue
        towards = offset if kind == 2 else -offset
        order, trades = engine.add_order(
            "X", middle + (towards if side == 0 else -towards), lots, peer.Side.BUY if side == 0 else peer.Side.SELL
        )
        traded += sum(trade.trade_qty for trade in trades if trade.order_id == order.order_id)
        if order.leaves_qty and kind == 2:
            engine.cancel_order(order.order_id, "X")
        elif order.leaves_qty:
            ring[at % RING], at = order.order_id, at + 1
    return traded


def main() -> None:
    operations = np.load(sys.argv[1]).tolist()
    rates, traded = [], 0
    for _ in range(int(sys.argv[2])):
        began = time.thread_time()
        traded = play(operations)
        rates.append(len(operations) / (time.thread_time() - began) / 1e6)
    print(json.dumps({"rates": rates, "lots_traded": traded, "operations": len(operations)}))


if __name__ == "__main__":
    main()
