"""An HTML gallery of images, self-contained: what the encoder is going to see, to look at."""

import base64
import html
import io
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from lake.errors import UsageError

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Images of candles</title>
<style>body{{font:14px system-ui;margin:2rem;background:#111;color:#ddd}}section{{margin-bottom:1.5rem}}
figure{{display:inline-block;margin:0 1rem 0 0}}img{{width:192px;height:192px;image-rendering:pixelated;
border:1px solid #444}}figcaption{{color:#999}}</style><h1>Images of candles</h1>
<p>{count} windows; time runs to the right, in the fields also downwards. See feature_store/images.py.</p>
{sections}</html>
"""


def gallery(rows: pl.DataFrame) -> str:
    """A page of the windows in `rows` (columns of images_5m_v1), one section each, oldest first."""
    sections = []
    for (instrument, close), part in rows.sort("event_time", "instrument").group_by(
        "instrument", "event_time", maintain_order=True
    ):
        figures = "".join(_figure(*row) for row in part.select("kind", "size", "image").sort("kind").iter_rows())
        sections.append(f"<section><h2>{html.escape(str(instrument))} until {close}</h2>{figures}</section>")
    return _PAGE.format(count=len(sections), sections="\n".join(sections))


def write_gallery(rows: pl.DataFrame, out: Path) -> None:
    """Raises:
    UsageError: the file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(gallery(rows))
    except OSError as error:
        raise UsageError(f"--out {out}: cannot write it: {error}") from None


def _figure(kind: str, size: int, pixels: bytes) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(size, size)).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    name = html.escape(kind)
    return f'<figure><img alt="{name}" src="data:image/png;base64,{data}"><figcaption>{name}</figcaption></figure>'
