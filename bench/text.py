"""Texts a second of one core's time: the kernel of silver, the lexicon, our encoder beside sentence-transformers.

python bench/text.py [--texts 200] [--repeats 3]

The texts are headlines and first sentences as the loopback sources make them, or those of BITACORA_DATA where it is.
Encoder and peer read the same texts with the same weights on the same number of threads; ours one at a time, so that a
vector depends on its text alone, the peer in batches of 32.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from sentence_transformers import SentenceTransformer

from feature_store.sentiment import Lexicon
from feature_store.text import TextSettings, encoder, packaged_encoder
from lake.settings import HomeSettings
from lake.sources.source import Raw
from lake.texts.rows import archived, candidates, first_seen
from lake.texts.samples import newest

NOW = 1_710_000_000_000_000


def texts(count: int) -> list[str]:
    """Real headlines where there are any."""
    folder = HomeSettings().data or Path("../shared/data")
    file = folder / "text" / "cryptonews_2021-10_2022-04.csv"
    if not file.is_file():
        return [text for _, text in newest("bench", "BTC", NOW, count)]
    rows = pl.read_csv(file, separator=";", infer_schema=False).head(count)
    return rows.select(pl.concat_str("title", "text", separator=". ", ignore_nulls=True)).to_series().to_list()


def answers(said: list[str]) -> pl.DataFrame:
    """Bronze rows of an archive."""
    told = {"channel": "c", "kind": "news", "event_time": NOW, "title": ""}
    payloads = [json.dumps(told | {"text": text}) for text in said]
    names = {"source": "archive:bench", "endpoint": "e", "request": "{}", "entity": "n", "payload_hash": "h"}
    moment = pl.lit(NOW).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"payload": payloads}).with_columns(
        market_time=moment, **{name: pl.lit(value) for name, value in names.items()}
    )


def measured(what: str, count: int, repeats: int, work: Callable[[], Any]) -> float:
    """Print minimum, median and maximum of texts a second; return the median."""
    rates = []
    work()
    for _ in range(repeats):
        began = time.thread_time()
        work()
        rates.append(count / (time.thread_time() - began))
    print(f"{what:42} {min(rates):10,.0f} / {statistics.median(rates):10,.0f} / {max(rates):10,.0f} texts/s")
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    said, many = texts(asked.texts), texts(20 * asked.texts)
    raw, parsers = answers(many), {"archive:bench": archived}
    assert list(archived(Raw("n", "e", "{}", raw["payload"][0], NOW)))
    measured(
        "silver: parse, clean, language, tags", len(many), asked.repeats, lambda: first_seen(candidates(raw, parsers))
    )
    measured("sentiment by lexicon", len(many), asked.repeats, lambda: Lexicon().scores(many))
    ours = encoder(TextSettings())
    peer = SentenceTransformer(packaged_encoder(), device="cpu")
    torch.set_num_threads(1)
    own = measured("encoder, one thread", len(said), asked.repeats, lambda: ours.encode(said))
    other = measured(
        "sentence-transformers, one thread",
        len(said),
        asked.repeats,
        lambda: peer.encode(said, normalize_embeddings=True),
    )
    print(f"encoder over sentence-transformers: {own / other:.2f}")


if __name__ == "__main__":
    main()
