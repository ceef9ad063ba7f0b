"""Texts about the instrument: how many and how they sound, over the last day.

As text_features_v1 tells them: counts and decayed mean scores of the window that ended last.

State: none.
"""

from feature_store.inputs import place
from feature_store.view import UNKNOWN, FeatureView, Floats, Output, kernel

TEXT_COUNT = place("text_count")
TEXT_SENTIMENT = place("text_sentiment")


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    out[0], out[1] = bar[TEXT_COUNT], bar[TEXT_SENTIMENT]


TEXTS = FeatureView(
    name="text_sentiment",
    version=1,
    inputs=("text_count", "text_sentiment"),
    warm_up=1,
    state_size=0,
    update=update,
    outputs=(
        Output("text_count_24h", "texts", "Texts first seen within a day.", UNKNOWN),
        Output("text_sentiment_24h", "-1 to 1", "Their mean sentiment.", UNKNOWN),
    ),
)
