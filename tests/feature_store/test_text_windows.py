"""Windows over texts: the written formula, and no knowledge of what is seen later."""

import itertools
import math
import random

import numpy as np
import polars as pl
import pytest

from feature_store.text_windows import CHANNEL_CAP, capped, text_features
from lake.intervals import HOUR, MINUTE, Interval, to_datetime

T = 1_700_000_100_000_000 - 1_700_000_100_000_000 % (5 * MINUTE)


def texts(*rows: tuple[int, list[str], float, str]) -> pl.DataFrame:
    """(seen, assets, score, channel); the embedding is (score, 1)."""
    return pl.DataFrame(
        [
            {"text_id": f"{i:04}", "source": "x", "channel": c, "available_time": to_datetime(at), "assets": assets,
             "score": score, "embedding": [score, 1.0]}
            for i, (at, assets, score, c) in enumerate(rows)
        ],
        schema={"text_id": pl.String, "source": pl.String, "channel": pl.String,
                "available_time": pl.Datetime("us", "UTC"), "assets": pl.List(pl.String), "score": pl.Float64,
                "embedding": pl.List(pl.Float32)},
    )  # fmt: skip


def noisy(count: int, seed: int) -> pl.DataFrame:
    draw = random.Random(seed)
    rows = [
        (
            T + draw.randrange(30 * HOUR),
            draw.sample(["BTC", "ETH", "SOL"], draw.randrange(3)),
            draw.uniform(-1, 1),
            draw.choice("ab"),
        )
        for _ in range(count)
    ]
    return texts(*rows)


def test_one_window_by_hand() -> None:
    seen = texts((T, ["BTC"], 0.5, "a"), (T + 15 * MINUTE, ["BTC", "ETH"], -1.0, "b"))
    rows = text_features(seen, Interval(T, T + 2 * HOUR), "m").filter(
        pl.col("entity") == "BTC", pl.col("window") == "1h"
    )
    assert rows["event_time"].dt.epoch("us").to_list() == [T + n * 5 * MINUTE for n in range(16)]
    assert (rows["available_time"] == rows["event_time"]).all()
    assert rows["texts"].to_list() == [1] * 3 + [2] * 9 + [1] * 3 + [0]  # (t - 1 h, t]; the last one says: spent
    fourth = rows.row(3, named=True)
    weight = [0.5, 1.0]  # a quarter of an hour old, and just seen
    assert fourth["text_weight"] == pytest.approx(sum(weight))
    assert fourth["sentiment"] == pytest.approx((0.5 * 0.5 - 1.0) / 2.5)
    mean = fourth["sentiment"]
    variance = (0.5 * (0.5 - mean) ** 2 + (-1 - mean) ** 2 + mean**2) / 2.5
    assert fourth["sentiment_dispersion"] == pytest.approx(math.sqrt(variance))
    assert fourth["embedding"] == pytest.approx([(0.25 - 1.0) / 1.5, 1.0])
    assert (fourth["channels"], fourth["model"]) == (2, "m")
    spent = rows.row(15, named=True)
    assert (spent["sentiment"], spent["text_weight"], spent["embedding"]) == (0.0, 0.0, [])


def test_no_row_knows_what_was_seen_after_it() -> None:
    everything, span = noisy(150, 1), Interval(T, T + 31 * HOUR)
    whole = text_features(everything, span, "m")
    for cut in (T + 3 * HOUR + 1, T + 10 * HOUR, T + 25 * HOUR + 7 * MINUTE):
        known = text_features(everything.filter(pl.col("available_time") <= to_datetime(cut)), span, "m")
        upto = pl.col("available_time") <= to_datetime(cut)
        assert known.filter(upto).equals(whole.filter(upto))
        assert whole.filter(upto).height > 50


def test_the_pieces_of_a_span_are_the_span() -> None:
    everything = noisy(100, 2)
    whole = text_features(everything, Interval(T, T + 60 * HOUR), "m")
    cuts = [T, T + 7 * HOUR, T + 26 * HOUR + 1, T + 60 * HOUR]
    parts = []
    for a, b in itertools.pairwise(cuts):
        near = pl.col("available_time").is_between(to_datetime(a - 24 * HOUR - 5 * MINUTE), to_datetime(b))
        parts.append(text_features(everything.filter(near), Interval(a, b), "m"))
    key = ["entity", "window", "event_time"]
    assert pl.concat(parts).sort(key).equals(whole.sort(key))


def test_a_channel_that_posts_in_bulk_is_capped() -> None:
    weight = capped(np.ones(101), np.array(["spam"] * 100 + ["other"]))
    assert weight[:100].sum() == pytest.approx(CHANNEL_CAP)
    assert weight[100] == 1.0
    assert capped(np.ones(2), np.array(["a", "a"])).tolist() == [1.0, 1.0]


def test_without_texts_there_are_no_rows() -> None:
    assert text_features(texts(), Interval(T, T + HOUR), "m").is_empty()
    assert text_features(texts((T, [], 1.0, "a")), Interval(T, T + HOUR), "m").is_empty()
