"""Shannon entropy of the signs of returns: how far from any pattern the last moves were; in bits.

`sign_entropy_60` counts falls, rests and rises of 60 changes (0 to log2 3); `sign_pattern_entropy_3_120` the eight
patterns that three successive changes make, rise or not, over 120 of them (0 to 3 bits). NaN until warm. Source:
Shannon (1948), -Σ p log2 p over observed shares.

State: 0 bars seen; 1 last close; 2 last pattern; 3… counts of signs (3 places); 6… of patterns (8); 14… ring of 60
signs; 74… ring of 120 patterns.
"""

import math

from feature_store.view import CLOSE, NAN, FeatureView, Floats, Output, kernel

SIGNS, PATTERNS = 60, 120
BITS = 3
KINDS = 1 << BITS
LAST, PATTERN, SIGN_COUNTS = 1, 2, 3
PATTERN_COUNTS = SIGN_COUNTS + 3
SIGN_RING = PATTERN_COUNTS + KINDS
PATTERN_RING = SIGN_RING + SIGNS


@kernel
def entropy(state: Floats, ring: int, length: int, counts: int, kinds: int, seen: int, kind: int) -> float:
    """Count the seen-th kind (from 0) in and the one `length` before out; bits of the last `length`, NaN before."""
    place = ring + seen % length
    if seen >= length:
        state[counts + int(state[place])] -= 1.0
    state[counts + kind] += 1.0
    state[place] = kind
    if seen + 1 < length:
        return NAN
    bits = 0.0
    for i in range(counts, counts + kinds):
        if state[i] > 0.0:
            bits -= state[i] / length * math.log(state[i] / length)
    return bits / math.log(2.0)


@kernel
def update(state: Floats, bar: Floats, out: Floats) -> None:
    count = int(state[0])
    last, close = state[LAST], bar[CLOSE]
    state[LAST] = close
    state[0] = count + 1.0
    out[0] = out[1] = NAN
    if count == 0:
        return
    sign = 2 if close > last else 1 if close == last else 0
    out[0] = entropy(state, SIGN_RING, SIGNS, SIGN_COUNTS, 3, count - 1, sign)
    pattern = (2 * int(state[PATTERN]) + (1 if close > last else 0)) % KINDS
    state[PATTERN] = pattern
    if count >= BITS:
        out[1] = entropy(state, PATTERN_RING, PATTERNS, PATTERN_COUNTS, KINDS, count - BITS, pattern)


SIGN_ENTROPY = FeatureView(
    name="sign_entropy",
    version=1,
    inputs=("close",),
    warm_up=PATTERNS + BITS,
    state_size=PATTERN_RING + PATTERNS,
    update=update,
    outputs=(
        Output(f"sign_entropy_{SIGNS}", "bits", f"Entropy of falls, rests and rises among {SIGNS} changes."),
        Output(
            f"sign_pattern_entropy_{BITS}_{PATTERNS}",
            "bits",
            f"Entropy of {PATTERNS} patterns of {BITS} successive changes, rise or not.",
        ),
    ),
)
