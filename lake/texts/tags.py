"""Which assets a text names, by the table of `aliases` alone."""

import re
from functools import cache

from lake.texts.aliases import ALIASES, HIDES


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], dict[str, str], dict[str, str]]:
    """(signed or bare tickers, names, ticker to asset, name to asset); one pass of each over a text."""
    tickers = {ticker: alias.asset for alias in ALIASES for ticker in (alias.asset, *alias.tickers)}
    bare = [ticker for alias in ALIASES if alias.bare for ticker in (alias.asset, *alias.tickers)]
    signed = re.compile(rf"[$#]({_any(tickers)})\b|\b((?-i:{_any(bare)}))\b", re.IGNORECASE)
    names = {name: alias.asset for alias in ALIASES for name in alias.names}
    by_name = names | dict.fromkeys(HIDES, "")
    return signed, re.compile(rf"\b({_any(by_name)})\b", re.IGNORECASE), tickers, by_name


def _any(words: dict[str, str] | list[str]) -> str:
    """An alternation, the longest first: `bitcoin cash` before `bitcoin`."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def assets_named(text: str) -> list[str]:
    """Asset codes in alphabetical order, each once; empty where the table knows none of the text's words."""
    signed, names, tickers, by_name = _patterns()
    found = {tickers[(hit[0] or hit[1]).upper()] for hit in signed.findall(text)}
    found |= {by_name[hit.lower()] for hit in names.findall(text)}
    return sorted(found - {""})
