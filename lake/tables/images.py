"""Gold images of five-minute candles, for convolutional encoders; `feature_store.images` draws them."""

import pyarrow as pa

from lake.intervals import HOUR
from lake.table import TIME, Check, Column, Table

IMAGES_5M = Table(
    name="images_5m_v1",
    layer="gold",
    description="Windows of 64 five-minute candles as square images, one window ending at each full hour.",
    owner="ml",
    columns=(
        Column("instrument", pa.string(), "Instrument id."),
        Column("kind", pa.string(), "gasf, gadf, recurrence or candles: see feature_store/images.py."),
        Column("event_time", TIME, "Close of the window's last bar."),
        Column("available_time", TIME, "When the last of its bars, corrections included, was known."),
        Column("size", pa.int64(), "Width and height.", "pixels"),
        Column("image", pa.binary(), "Row by row, one byte a pixel, 0 to 255."),
        Column("month", pa.string(), "YYYY-MM of event_time."),
    ),
    key=("instrument", "kind", "event_time"),
    time_column="event_time",
    freshness=3 * HOUR,
    partition=("month",),
    checks=(Check("an image holds size × size bytes", "length(image) = size * size"),),
)
