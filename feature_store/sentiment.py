"""From a text to one number in [-1, 1], by a lexicon or by a classifier; the two are used alike.

A text can say nothing else to a strategy: whatever it asks for, quotes or hides, what comes out is this number, and
where a model fails it is 0, neutral. Words are weighed, never obeyed, and never logged.
"""

import math
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from feature_store.lexicon import AMPLIFIERS, NEGATIONS, WEIGHTS

Scores = NDArray[np.float64]

NORMALISER = 15.0
"""alpha of x/sqrt(x² + alpha): VADER's (Hutto and Gilbert, ICWSM 2014, section 3)."""
NEGATED = -0.74
"""What a negation makes of a word's weight: VADER's N_SCALAR."""
NEGATION_REACH = 3
"""Words before a word among which a negation is looked for."""
READ_CHARACTERS = 4_000
"""Beyond this much the mood of a text is known; a longer one gains no weight."""

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_LONGEST_PHRASE = max(len(phrase.split()) for phrase in WEIGHTS)


class Sentiment(Protocol):
    """A model of mood."""

    name: str
    """Kept beside every score."""

    def scores(self, texts: Sequence[str]) -> Scores:
        """One number in [-1, 1] per text, in order; 0 where nothing can be said."""


class Lexicon:
    """Sums the weights of a text's words (`lexicon.py`), with VADER's rules for negation and for the bound."""

    name = "lexicon-1"

    def scores(self, texts: Sequence[str]) -> Scores:
        return np.array([lexicon_score(text) for text in texts], dtype=np.float64)


def lexicon_score(text: str) -> float:
    """x/sqrt(x² + 15), x the sum of the weights of the words and phrases found; 0 without any.

    A word after a negation (within three words) counts -0.74 times, one after an amplifier a bit more or less.
    """
    words = _WORD.findall(text[:READ_CHARACTERS].lower().replace("'", "").replace("’", ""))
    total, at = 0.0, 0
    while at < len(words):
        weight, length = _weight(words, at)
        if weight:
            weight *= AMPLIFIERS.get(words[at - 1], 1.0) if at else 1.0
            negated = any(word in NEGATIONS for word in words[max(0, at - NEGATION_REACH) : at])
            total += weight * (NEGATED if negated else 1.0)
        at += length
    return total / math.sqrt(total * total + NORMALISER)


def _weight(words: Sequence[str], at: int) -> tuple[float, int]:
    """Weight of the longest entry that begins here, and how many words it takes."""
    for length in range(min(_LONGEST_PHRASE, len(words) - at), 0, -1):
        entry = " ".join(words[at : at + length])
        if entry in WEIGHTS:
            return float(WEIGHTS[entry]), length
    return 0.0, 1


def bounded(scores: Scores) -> Scores:
    """Into [-1, 1]; what is not a number is neutral."""
    return np.clip(np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
