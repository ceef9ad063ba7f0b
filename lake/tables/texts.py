"""Texts (silver), what models say of each (gold) and what that means per asset and window (gold).

Nobody's name, no score, like, comment or subscriber count is a column of any of them: the first is nobody's business,
the others are counted when a page is crawled, and would tell a row its own future.
"""

import pyarrow as pa

from lake.intervals import DAY, HOUR, MINUTE
from lake.table import TIME, Check, Column, Table
from lake.texts.clean import MAX_CHARACTERS

FEATURE_STEP = 5 * MINUTE
"""Windows end on this grid, the bars'."""
WINDOWS: dict[str, int] = {"1h": HOUR, "24h": DAY}
"""Lengths of the feature windows, by name."""

_AVAILABLE = Check("available before it was written", "coalesce(available_time >= event_time, false)")

TEXTS = Table(
    name="texts_v1",
    layer="silver",
    description="Posts, news and messages: cleaned, author-free, one row per content however often it was syndicated.",
    owner="data",
    columns=(
        Column("text_id", pa.string(), "SHA-256 of the words; copies of one text share it."),
        Column("source", pa.string(), "Which source showed it first: x, reddit, rss, …; archive:<name> for a file."),
        Column("channel", pa.string(), "Within the source: subreddit, feed, Telegram channel, outlet."),
        Column("kind", pa.string(), "post, comment, topic, news or message."),
        Column("language", pa.string(), "ISO 639-1, or und where the text is too short to tell."),
        Column("event_time", TIME, "When it was written, by the source that showed it first."),
        Column("available_time", TIME, "When we first saw it; an archive's row: written plus the archive's delay."),
        Column("seen_time", TIME, "When the answer that held it first reached us; an archive's row: the import."),
        Column("title", pa.string(), "Headline; empty where the source has none."),
        Column("text", pa.string(), f"Plain text, at most {MAX_CHARACTERS:,} characters."),
        Column("truncated", pa.bool_(), "Whether it was cut at that length."),
        Column("assets", pa.list_(pa.string()), "Asset codes it names (BTC, ETH), by the table of aliases."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
        Column("payload_hash", pa.string(), "The bronze answer it was first read from."),
    ),
    key=("text_id",),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("month",),
    checks=(
        _AVAILABLE,
        Check("available before it was seen, and no archive", "available_time >= seen_time OR source LIKE 'archive:%'"),
        Check("neither title nor text", "length(title) + length(text) > 0"),
        Check("longer than the limit", f"length(title) + length(text) <= {2 * MAX_CHARACTERS}"),
    ),
)


def _per_text(name: str, description: str, *outputs: Column, checks: tuple[Check, ...] = ()) -> Table:
    """A model's answer for each text."""
    return Table(
        name=name,
        layer="gold",
        description=description,
        owner="ml",
        columns=(
            Column("text_id", pa.string(), "The text."),
            Column("event_time", TIME, "When the text was written."),
            Column("available_time", TIME, "When the text was first seen."),
            Column("model", pa.string(), "Which model said so: its name and a hash of its files."),
            *outputs,
            Column("month", pa.string(), "YYYY-MM of event_time."),
        ),
        key=("text_id", "model"),
        time_column="event_time",
        partition=("month",),
        checks=checks,
    )


TEXT_EMBEDDINGS = _per_text(
    "text_embeddings_v1",
    "One vector per text and encoder.",
    Column("embedding", pa.list_(pa.float32()), "Mean-pooled, of length one (L2)."),
)

TEXT_SCORES = _per_text(
    "text_scores_v1",
    "One bounded number per text and sentiment model: all that a text can ever say to a strategy.",
    Column("score", pa.float64(), "Sentiment; 0 is neutral, and what a model that failed gives.", "[-1, 1]"),
    checks=(Check("score outside [-1, 1]", "coalesce(score >= -1 AND score <= 1, false)"),),
)

TEXT_FEATURES = Table(
    name="text_features_v1",
    layer="gold",
    description="What the texts seen in a window say of an asset: counts, decayed sentiment, decayed mean embedding.",
    owner="ml",
    columns=(
        Column("entity", pa.string(), "Asset code: BTC. An instrument's is the base of its symbol."),
        Column("window", pa.string(), f"How far back it looks: {', '.join(WINDOWS)}."),
        Column("event_time", TIME, "End of the window, on the five-minute grid."),
        Column("available_time", TIME, "End of the window: only then is it known that no further text came."),
        Column("texts", pa.int64(), "Texts first seen within the window."),
        Column("text_weight", pa.float64(), "Sum of their weights, which halve every quarter of the window."),
        Column("channels", pa.int64(), "Channels they stood in."),
        Column("sentiment", pa.float64(), "Weighted mean score, shrunk to neutral by one neutral text.", "[-1, 1]"),
        Column("sentiment_dispersion", pa.float64(), "Weighted standard deviation of the scores.", "[0, 1]"),
        Column("embedding", pa.list_(pa.float32()), "Weighted mean of the embeddings; empty without texts."),
        Column("model", pa.string(), "Encoder and sentiment model, joined by +."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
    ),
    key=("entity", "window", "event_time"),
    time_column="event_time",
    freshness=2 * HOUR,
    partition=("month",),
    checks=(
        Check("sentiment outside [-1, 1]", "coalesce(sentiment >= -1 AND sentiment <= 1, false)"),
        Check("known before the window ended", "coalesce(available_time >= event_time, false)"),
    ),
)
