"""Words that move a market's mood, with their weight: -3 (disaster) to 3 (triumph).

Source: this project's own list, picked by hand from the vocabulary of market reports and crypto forums; no third
party's list is copied. It is short on purpose: every line can be read and argued with. A phrase counts before its
words.
"""

_POSITIVE = {
    3: "all-time-high moon mooning skyrocket skyrockets skyrocketed skyrocketing parabolic",
    2: """adopt adopts adopted adoption approval approve approved approves boom booming breakthrough breakout bull
        bullish outperform outperformed outperforms profit profitable profits rally rallied rallies rallying record
        recover recovered recovers recovery soar soared soaring soars surge surged surges surging upgrade upgraded
        upgrades win wins winning""",
    1: """accelerate accumulate accumulating accumulation advance advances backed backing beat beats benefit benefits
        boost boosted boosts buy buying climb climbed climbs confidence confident demand expand expands expansion gain
        gained gains good great green grow growing growth halving high higher hodl improve improved improvement
        improves inflow inflows innovation institutional invest launch launched launches legit milestone opportunity
        optimism optimistic partner partnership popular positive progress promising rebound rebounds rebounded resilient
        rise rises rising rose safe secure solid stable strength strong stronger success successful support supported
        supports top undervalued up upside upward""",
}
_NEGATIVE = {
    3: """bankrupt bankruptcy collapse collapsed collapses crash crashed crashes crashing exploit exploited fraud hack
        hacked hackers hacks insolvent insolvency ponzi rugpull scam scammed scammer scams stolen""",
    2: """ban banned banning bans bear bearish breach capitulate capitulation charges crackdown crisis delist delisted
        dump dumped dumping fear fears halt halted halts lawsuit liquidated liquidation liquidations lose loses losing
        loss losses manipulation outage panic plummet plummeted plummets plunge plunged plunges plunging recession
        selloff sell-off slump slumped slumps sue sued suffer suffers suspend suspended tank tanked tanking theft worst
        worthless wreck""",
    1: """bad bleed bleeding bubble caution cautious concern concerned concerns cut cuts decline declined declines
        declining delay delayed dip dips down downgrade downgraded downside downturn downward drop dropped dropping
        drops fail failed fails failure fall fallen falling falls fell fud illegal investigate investigation lawsuits
        low lower negative outflow outflows overvalued pressure problem problems reject rejected rejects resistance
        risk risks risky sell selling shrink slow slowdown slows struggle struggled struggles struggling trouble
        uncertain uncertainty unstable volatile warn warned warning warnings warns weak weaken weakness worried worries
        worry worse""",
}
_PHRASES = {
    "all time high": 3,
    "all time highs": 3,
    "to the moon": 3,
    "rug pull": -3,
    "death cross": -2,
    "golden cross": 2,
    "dead cat bounce": -2,
    "short squeeze": 1,
    "buy the dip": 1,
    "price target": 0,
    "lows": -1,
    "highs": 1,
    "record low": -2,
    "record high": 2,
    "new low": -2,
    "new high": 2,
    "bear trap": 1,
    "bull trap": -1,
    "high risk": -2,
    "low risk": 1,
    "profit taking": -1,
    "loss of": -2,
    "stop loss": 0,
    "up to": 0,
    "top up": 0,
    "sign up": 0,
    "set up": 0,
    "high school": 0,
}

WEIGHTS: dict[str, int] = (
    {word: weight for weight, words in _POSITIVE.items() for word in words.split()}
    | {word: -weight for weight, words in _NEGATIVE.items() for word in words.split()}
    | _PHRASES
)
"""Word or phrase, in lower case, to weight."""

NEGATIONS = frozenset(
    """no not never none nobody nothing neither nor without hardly barely isnt arent wasnt werent dont doesnt didnt wont
    wouldnt cant cannot couldnt shouldnt hasnt havent hadnt aint""".split()  # noqa: SIM905
)
"""Turn the words after them."""

AMPLIFIERS = {
    "very": 1.3,
    "extremely": 1.5,
    "massive": 1.4,
    "massively": 1.4,
    "huge": 1.4,
    "hugely": 1.4,
    "sharply": 1.4,
    "slightly": 0.6,
    "somewhat": 0.7,
    "barely": 0.6,
}
"""Stretch or shrink the word after them."""
