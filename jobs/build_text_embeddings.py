"""Build the embeddings of texts: one vector per text by a real transformer.

Reads   silver texts_v1
Writes  gold text_embeddings_v1

TEXT_ENCODER names a folder or Hugging Face id; the default is all-MiniLM-L6-v2 from its package, offline. Spark runs
one model per core (TEXT_THREADS=1); texts that this model has read already are left out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from feature_store.text import TextSettings, encoder, encoder_name
from jobs.command import Job, main, parser
from jobs.text_models import build
from lake.settings import read_settings
from lake.tables import TEXT_EMBEDDINGS


def vectors(settings: TextSettings, texts: Sequence[str]) -> list[Any]:
    """One vector of length one per text."""
    return encoder(settings).encode(texts).tolist()


def run(job: Job) -> dict[str, Any]:
    settings = read_settings(TextSettings)
    return build(job, TEXT_EMBEDDINGS, encoder_name(settings), partial(vectors, settings))


if __name__ == "__main__":
    main("build_text_embeddings", run, parser("build_text_embeddings", __doc__))
