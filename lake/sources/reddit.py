"""Reddit: the newest posts of a subreddit, by OAuth. The key is `client_id:client_secret` of a registered script.

POST https://www.reddit.com/api/v1/access_token (client_credentials) gives an hour's token; GET /r/<name>/new on
oauth.reddit.com, 100 a page, `after` is the next page's cursor, up to about 1,000 posts. Score, comments, ratio
and subscribers are counted when the page is crawled: the parser does not look at them.
"""

from collections.abc import Generator, Iterator
from typing import Any

from lake.errors import CredentialsRefused
from lake.intervals import HOUR, SECOND, Interval
from lake.sources.generated import noise
from lake.sources.source import Call, Key, Pages, Raw, Refusal, Request, Source
from lake.texts.samples import EVERY, newest
from lake.texts.text import Text, text_time

REAL, TOKENS = "https://oauth.reddit.com", "/api/v1/access_token"
SUBREDDITS = {"Bitcoin": "BTC", "ethereum": "ETH", "solana": "SOL", "CryptoCurrency": "BTC"}
GONE = {"[removed]", "[deleted]"}


def authorized(key: str, address: str) -> Any:
    """An httpx.Auth that trades the key for a token at the first request; a run is shorter than the token's hour."""
    import httpx

    tokens = ("https://www.reddit.com" if address == REAL else address) + TOKENS
    client, _, secret = key.partition(":")

    class Token(httpx.Auth):
        requires_response_body = True
        token = ""

        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            if not self.token:
                asked = httpx.Request("POST", tokens, data={"grant_type": "client_credentials"})
                response = yield next(httpx.BasicAuth(client, secret).auth_flow(asked))
                if response.status_code != 200:
                    raise CredentialsRefused(f"reddit: no token, HTTP {response.status_code}. See SOURCES_REDDIT_KEY.")
                self.token = response.json()["access_token"]
            request.headers["Authorization"] = f"Bearer {self.token}"
            yield request

    return Token()


def pages(entity: str, interval: Interval) -> Pages:
    asked: dict[str, Any] = {"limit": 100, "raw_json": 1}
    while True:
        listing = (yield Request("new", f"/r/{entity}/new", asked)).json()["data"]
        oldest = min((post["data"]["created_utc"] for post in listing["children"]), default=0)
        if not listing["after"] or oldest * SECOND < interval.start:
            return
        asked = asked | {"after": listing["after"]}


def parse(raw: Raw) -> Iterator[Text]:
    for post in (child["data"] for child in raw.json()["data"]["children"]):
        body = "" if post["selftext"] in GONE else post["selftext"]
        yield Text(f"r/{post['subreddit']}", "post", text_time(post["created_utc"]), post["title"], body)


def answer(call: Call) -> Any:
    if call.path == TOKENS:
        return {"access_token": "a token of the loopback server", "token_type": "bearer", "expires_in": 3600}
    if not call.headers.get("authorization", "").startswith("Bearer a token"):
        raise Refusal(401, {"message": "Unauthorized"})
    name, before = call.path.split("/")[2], int(call.params.get("after", f"t3_{call.now}")[3:])
    counted = {"author": "somebody", "score": int(50 * (noise(name, call.now) + 1)), "num_comments": 3}
    found = [
        {"kind": "t3", "data": counted | {
            "name": f"t3_{at}", "subreddit": name, "title": text, "selftext": "", "created_utc": at / SECOND,
        }} for at, text in newest("reddit", SUBREDDITS.get(name, name), before, int(call.params["limit"]))
    ]  # fmt: skip
    after = found[-1]["data"]["name"] if found and before > call.now - 1000 * EVERY else None  # type: ignore[index]
    return {"kind": "Listing", "data": {"after": after, "children": found}}


SOURCE = Source(
    name="reddit", kind="text", title="Reddit: newest posts of subreddits", address=REAL,
    docs="https://www.reddit.com/dev/api", entities=tuple(SUBREDDITS), pages=pages, parse=parse, answer=answer,
    key=Key(header="Authorization"), authorize=authorized, requests_per_minute=60, first_days=7, overlap=HOUR,
)  # fmt: skip
