"""Build the sentiment of texts: one number in [-1, 1] per text, and nothing else a text might ask for.

Reads   silver texts_v1
Writes  gold text_scores_v1

TEXT_CLASSIFIER names a folder or Hugging Face id of a classifier with labels positive and negative; the default is the
lexicon of `feature_store/lexicon.py`. Texts that this model has read already are left out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from feature_store.sentiment import bounded
from feature_store.text import TextSettings, sentiment, sentiment_name
from jobs.command import Job, main, parser
from jobs.text_models import build
from lake.settings import read_settings
from lake.tables import TEXT_SCORES


def scores(settings: TextSettings, texts: Sequence[str]) -> list[Any]:
    """One bounded number per text, whatever the model says."""
    return bounded(sentiment(settings).scores(texts)).tolist()


def run(job: Job) -> dict[str, Any]:
    settings = read_settings(TextSettings)
    return build(job, TEXT_SCORES, sentiment_name(settings), partial(scores, settings))


if __name__ == "__main__":
    main("build_text_scores", run, parser("build_text_scores", __doc__))
