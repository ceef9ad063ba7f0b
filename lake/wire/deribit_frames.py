"""Deribit's frames: https://docs.deribit.com/#subscriptions, and rows of get_book_summary_by_currency stored as
rest:summary. A ticker of an option is an option quote, any other a quote, mark and open interest.
"""

import polars as pl

from lake.wire import symbols
from lake.wire.frames import LEVELS, Events, Feed, Kind, exploded, milliseconds

_S, _I, _F = pl.String(), pl.Int64(), pl.Float64()

_CHANNEL = pl.col("payload").str.extract(r'"channel"\s*:\s*"(\w+)')
_ANSWER = pl.when(pl.col("payload").str.contains(r'"(id|method)"\s*:')).then(pl.lit("answer"))
_SUMMARY = pl.when(pl.col("stream") == "rest:summary").then(pl.lit("summary"))
TAG = pl.coalesce(_SUMMARY, _CHANNEL, _ANSWER)
CLOCK = pl.col("payload").str.extract(r'"(?:timestamp|creation_timestamp|tick)"\s*:\s*(\d{13})').cast(pl.Int64) * 1_000
_IS_OPTION = pl.col("instrument_name").str.contains(r"-[CP]$").fill_null(False)


def _data(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("row", pl.col("params").struct.field("data")).unnest("data")


def _trades(rows: pl.DataFrame) -> Events:
    """Trades, and liquidations where a side of one was: M the maker's, T the taker's, MT both."""
    listed = rows.select("row", pl.col("params").struct.field("data"))
    trades = exploded(listed, "data").with_columns(symbol="instrument_name", time=milliseconds("timestamp"))
    maker = pl.col("direction").replace_strict({"buy": "sell", "sell": "buy"}, default=None)
    return {
        "trade": trades.select(
            "row", "position", "symbol", "time", "trade_id", "price", aggregate=False, quantity="amount",
            side="direction",
        ),
        "liquidation": trades.drop_nulls("liquidation").select(
            "row", "position", "symbol", "time", "price", quantity="amount",
            side=pl.when(pl.col("liquidation") == "M").then(maker).otherwise("direction"),
        ),
    }  # fmt: skip


def _book(rows: pl.DataFrame) -> Events:
    """Levels are [action, price, amount]; in grouped channels [price, amount], each frame the whole book."""

    def side(name: str) -> pl.Expr:
        return pl.col(name).list.eval(pl.element().list.tail(2))

    return {"book": _data(rows).select(
        "row", symbol="instrument_name", time=milliseconds("timestamp"), first_id="change_id", last_id="change_id",
        previous_id="prev_change_id", is_snapshot=pl.col("type").fill_null("snapshot") == "snapshot",
        bids=side("bids"), asks=side("asks"),
    )}  # fmt: skip


def _best(name: str, amount: str) -> pl.Expr:
    """A side without an order is sent as zero."""
    return pl.when(pl.col(amount) > 0).then(pl.col(name))


def _ticker(rows: pl.DataFrame) -> Events:
    ticker = _data(rows).with_columns(
        symbol="instrument_name", time=milliseconds("timestamp"), bid=_best("best_bid_price", "best_bid_amount"),
        ask=_best("best_ask_price", "best_ask_amount"),
    )  # fmt: skip
    other = ticker.filter(~_IS_OPTION)
    return {
        "option": ticker.filter(_IS_OPTION).select(
            "row", "symbol", "time", "underlying_price", "mark_price", "bid", "ask", "open_interest",
            mark_iv=pl.col("mark_iv") / 100, volume=pl.col("stats").struct.field("volume"),
        ),
        "quote": other.drop_nulls(["bid", "ask"]).select(
            "row", "symbol", "time", "bid", "ask", bid_quantity="best_bid_amount", ask_quantity="best_ask_amount"
        ),
        "mark": other.select(
            "row", "symbol", "time", "mark_price", "index_price", funding_rate="funding_8h"
        ),
        "open_interest": other.select("row", "symbol", "time", quantity="open_interest"),
    }  # fmt: skip


def _quote(rows: pl.DataFrame) -> Events:
    quote = _data(rows).with_columns(
        bid=_best("best_bid_price", "best_bid_amount"), ask=_best("best_ask_price", "best_ask_amount")
    )
    return {"quote": quote.drop_nulls(["bid", "ask"]).select(
        "row", "bid", "ask", symbol="instrument_name", time=milliseconds("timestamp"), bid_quantity="best_bid_amount",
        ask_quantity="best_ask_amount",
    )}  # fmt: skip


def _summary(rows: pl.DataFrame) -> Events:
    """One row of a chain. Older recordings have no mark_iv, and no mark_price where the venue had none."""
    return {"option": rows.select(
        "row", "underlying_price", "mark_price", "open_interest", "volume", symbol="instrument_name",
        time=milliseconds("creation_timestamp"), mark_iv=pl.col("mark_iv") / 100, bid="bid_price", ask="ask_price",
    )}  # fmt: skip


def _params(data: pl.DataType) -> dict[str, pl.DataType]:
    return {"params": pl.Struct({"data": data})}


_TICKER = {
    "instrument_name": _S, "timestamp": _I, "best_bid_price": _F, "best_bid_amount": _F, "best_ask_price": _F,
    "best_ask_amount": _F, "underlying_price": _F, "mark_price": _F, "mark_iv": _F, "index_price": _F,
    "open_interest": _F, "funding_8h": _F, "stats": pl.Struct({"volume": _F}),
}  # fmt: skip
_BOOK = {
    "type": _S, "instrument_name": _S, "timestamp": _I, "change_id": _I, "prev_change_id": _I, "bids": LEVELS,
    "asks": LEVELS,
}  # fmt: skip
_TRADE = {
    "instrument_name": _S, "timestamp": _I, "trade_id": _S, "price": _F, "amount": _F, "direction": _S,
    "liquidation": _S,
}  # fmt: skip
_SUMMARY_SHAPE = {
    "instrument_name": _S, "creation_timestamp": _I, "underlying_price": _F, "mark_price": _F, "mark_iv": _F,
    "bid_price": _F, "ask_price": _F, "open_interest": _F, "volume": _F,
}  # fmt: skip

KINDS: dict[str, Kind | None] = {
    "trades": Kind(_params(pl.List(pl.Struct(_TRADE))), _trades, "trade liquidation"),
    "book": Kind(_params(pl.Struct(_BOOK)), _book, "book"),
    "ticker": Kind(_params(pl.Struct(_TICKER)), _ticker, "option quote mark open_interest"),
    "quote": Kind(_params(pl.Struct(_TICKER)), _quote, "quote"),
    "summary": Kind(_SUMMARY_SHAPE, _summary, "option"),
    **dict.fromkeys(("answer", "chart", "deribit_volatility_index", "user", "deribit_price_index", "platform_state")),
}

DERIBIT = Feed("deribit", "deribit", TAG, KINDS, symbols.deribit, CLOCK)
