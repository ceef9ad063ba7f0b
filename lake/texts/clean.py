"""Text as a model may see it: plain, visible, author-free, of bounded length; and the id of its content.

What is taken out, and why:
- markup and entities: the same words arrive with and without them;
- control, format, private-use and unassigned characters (zero width, bidirectional overrides, the tag block), where
  instructions hide from people and not from models;
- names of accounts, e-mail addresses, and of an address all but its host: authors stay out of the lake;
- all beyond `MAX_CHARACTERS`.
Compatibility forms become plain letters (NFKC), so that 𝗕𝗶𝘁𝗰𝗼𝗶𝗻 in mathematical bold is Bitcoin to the tagger too.
"""

import hashlib
import html
import re
import unicodedata
from functools import cache
from html.parser import HTMLParser

MAX_CHARACTERS = 20_000
"""A longer text is cut here and marked."""
REFUSED_CHARACTERS = 1_000_000
"""A text longer than this is no text: it is refused unread."""

_BLOCKS = frozenset(
    ["p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr", "ul", "ol", "table"]
)
_SILENT = frozenset({"script", "style", "noscript", "template"})
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_URL = re.compile(r"\b(?:https?://|www\.)(?:[^\s/@]*@)?(?:www\.)?([^\s/?#:<>\"')]+)[^\s<>\"')]*", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_ACCOUNT = re.compile(r"(?<![\w@])@\w+|(?<![\w/])/?u/[\w-]+")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")


class _Visible(HTMLParser):
    """Collects the text a browser would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        if tag in _BLOCKS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def plain(markup: str) -> str:
    """The visible text of an HTML fragment; sources whose texts are HTML call it in their parser."""
    reader = _Visible()
    reader.feed(markup[: 8 * MAX_CHARACTERS])
    reader.close()
    return "".join(reader.parts).strip()


@cache
def _is_hidden(character: str) -> bool:
    variation = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return variation or unicodedata.category(character) in _HIDDEN_CATEGORIES


def visible(text: str) -> str:
    """Without characters that nobody sees; white space becomes single blanks."""
    spaced = _SPACE.sub(" ", text)
    if spaced.isascii() and spaced.isprintable():
        return spaced.strip()
    shown = "".join(c for c in unicodedata.normalize("NFKC", spaced) if not _is_hidden(c))
    return _SPACE.sub(" ", shown).strip()


def without_authors(text: str) -> str:
    """Accounts become @user or u/user, addresses their host, e-mail addresses @user."""
    text = _URL.sub(lambda found: found.group(1).lower(), text)
    text = _EMAIL.sub("@user", text)
    return _ACCOUNT.sub(lambda found: "@user" if "@" in found.group() else "u/user", text)


def cleaned(text: str) -> tuple[str, bool]:
    """The text for the table, and whether it was cut."""
    cut = len(text) > 4 * MAX_CHARACTERS
    result = without_authors(visible(html.unescape(text[: 4 * MAX_CHARACTERS])))
    return result[:MAX_CHARACTERS].rstrip(), cut or len(result) > MAX_CHARACTERS


def content_id(title: str, text: str) -> str:
    """SHA-256 (hex) of the words alone: case, punctuation, spacing and the split into title and text do not count.

    A text without a word (emoji only) is identified by its characters. Syndicated copies so share one id.
    """
    whole = f"{title} {text}".casefold()
    words = _WORD.findall(whole)
    return hashlib.sha256(" ".join(words or whole.split()).encode()).hexdigest()
