"""A market in a box, from the price process to the backtest report; nothing in it knows of lakes, jobs or models.

the past       scenario process worlds regimes · basis futures_past · replay recording bars
the kernel     kernel book accounts fees margin · engine admission order_entry triggers waiting_orders requests
               clearing · contracts amm (docs/market-kernel.md)
who trades     agents crowd crowd_flow leadlag strain adversity* (docs/market-scenarios.md)
the exchange   exchange bookkeeping orders filters candles trades tickers · venue second_venue replay_venue lockstep
               clock · rest parameters signing reports · listeners streams sockets websockets user_events · admin server
               (docs/market.md)
derivatives    derivatives futures_* option* volatility_index deribit (docs/market-derivatives.md)
trouble        faults fault_* gate limits errors (docs/market-faults.md)
strategies     strategy strategy_file tick_strategy policy · runner order_intake turns (docs/strategy.md)
backtests      backtest* simulation execution conditions · l2* feed desk queues latency impact tick_* · venue_backtest
               attribution (docs/backtest.md)
learning       env env_bars env_book (docs/environment.md)
measures       metrics significance round_trips results critique facts*
"""
