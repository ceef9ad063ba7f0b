"""The transformer against its oracle, sentence-transformers, and a classifier by setting."""

from pathlib import Path

import numpy as np
import pytest

from feature_store.text import (
    Encoder,
    TextSettings,
    encoder_name,
    fingerprint,
    label_signs,
    packaged_encoder,
    sentiment,
    sentiment_name,
)
from lake.errors import Misconfigured

TEXTS = ["Bitcoin rallies", "", "Ether falls below support. " * 80, "gm 🚀", "比特币", "Bitcoin surges"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(packaged_encoder())


def test_vectors_equal_sentence_transformers(encoder: Encoder) -> None:
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(packaged_encoder(), device="cpu").encode(TEXTS, normalize_embeddings=True)
    ours = encoder.encode(TEXTS)
    assert ours.shape == (6, 384) and ours.dtype == np.float32
    assert abs(ours - oracle).max() < 2e-6
    assert np.linalg.norm(ours, axis=1) == pytest.approx(np.ones(6), abs=1e-6)
    assert float(ours[0] @ ours[5]) > 0.6 > float(ours[0] @ ours[2])


def test_a_vector_depends_on_its_text_alone(encoder: Encoder) -> None:
    together, alone = encoder.encode(TEXTS), np.vstack([encoder.encode([text]) for text in TEXTS])
    assert (together == alone).all()


def test_the_name_tells_the_weights(encoder: Encoder) -> None:
    assert encoder.name == encoder_name(TextSettings()) == f"all-MiniLM-L6-v2@{fingerprint(packaged_encoder())}"
    assert sentiment_name(TextSettings()) == "lexicon-1"


def test_a_classifier_is_used_by_setting(tmp_path: Path) -> None:
    """A small BERT with random weights: what it says is noise, how it is asked is real."""
    import torch
    import transformers

    torch.manual_seed(1)
    labels = {0: "Positive", 1: "negative", 2: "neutral"}
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, id2label=labels, num_labels=3
    )
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(packaged_encoder())
    tokenizer.save_pretrained(tmp_path)
    settings = TextSettings(classifier=str(tmp_path))
    scores = sentiment(settings).scores(TEXTS)
    with torch.inference_mode():
        chances = torch.softmax(model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0].double(), 0)
    assert scores[0] == pytest.approx(float(chances[0] - chances[1]))
    assert (abs(scores) <= 1).all()
    assert sentiment_name(settings) == f"{tmp_path.name}@{fingerprint(str(tmp_path))}"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="does not load"):
        Encoder(str(tmp_path))
    with pytest.raises(Misconfigured, match="positive and negative, found good, bad"):
        label_signs("m", {0: "good", 1: "bad"})
