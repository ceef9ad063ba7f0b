"""Read request parameters, with Binance's errors where they are missing or do not read."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from market.candles import INTERVALS
from market.errors import Refused, illegal, missing

_DECIMAL = "^([0-9]{1,20})(\\.[0-9]{1,20})?$"
_CLIENT_ID = "^[\\.A-Z\\:/a-z0-9_-]{1,36}$"
_WHOLE = "^[0-9]{1,20}$"
DAY_MS = 86_400_000


class Parameters:
    """The parameters of one request."""

    def __init__(self, values: Mapping[str, str], symbols: Mapping[str, int]) -> None:
        self._values, self._symbols = values, symbols

    def names(self) -> set[str]:
        """Of everything that was sent."""
        return set(self._values)

    def text(self, name: str) -> str | None:
        """The parameter, or None where it was not sent; -1105 where it is empty."""
        value = self._values.get(name)
        if value == "":
            raise Refused(-1105, f"Parameter '{name}' was empty.")
        return value

    def needed(self, name: str) -> str:
        value = self._values.get(name)
        if not value:
            raise missing(name)
        return value

    def whole(self, name: str, least: int = 0) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(_WHOLE, value, re.ASCII) or int(value) < least or int(value) >= 2**63:
            raise illegal(name, _WHOLE)
        return int(value)

    def limit(self, default: int, most: int) -> int:
        found = self.whole("limit", 1)
        return min(default if found is None else found, most)

    def decimal(self, name: str) -> Decimal | None:
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(_DECIMAL, value, re.ASCII):
            raise illegal(name, _DECIMAL)
        if len(value.partition(".")[2].rstrip("0")) > 8:
            raise Refused(-1111, f"Parameter '{name}' has too much precision.")
        return Decimal(value)

    def symbol(self) -> int:
        """The instrument's number."""
        return self._symbol(self.needed("symbol"))

    def optional_symbol(self) -> int | None:
        value = self.text("symbol")
        return None if value is None else self._symbol(value)

    def _symbol(self, value: str) -> int:
        try:
            return self._symbols[value]
        except KeyError:
            raise Refused(-1121, "Invalid symbol.") from None

    def symbols(self) -> list[int]:
        """Of `symbol`, of the JSON list `symbols`, or all."""
        several = self.text("symbols")
        if several is not None:
            return [self._symbol(name) for name in re.findall(r'"([^"]*)"', several)]
        one = self.optional_symbol()
        return list(self._symbols.values()) if one is None else [one]

    def interval(self) -> str:
        value = self.needed("interval")
        if value not in INTERVALS:
            raise Refused(-1120, "Invalid interval.")
        return value

    def span(self) -> tuple[int | None, int | None]:
        """`startTime` and `endTime`, at most a day apart."""
        start, end = self.whole("startTime"), self.whole("endTime")
        if start is not None and end is not None and not 0 <= end - start <= DAY_MS:
            raise Refused(-1127, "More than 24 hours between startTime and endTime.")
        return start, end

    def client_id(self, name: str) -> str | None:
        value = self.text(name)
        if value is not None and not re.fullmatch(_CLIENT_ID, value, re.ASCII):
            raise illegal(name, _CLIENT_ID)
        return value

    def order_ids(self, name: str = "orderId", client_name: str = "origClientOrderId") -> tuple[int | None, str | None]:
        """`orderId` and `origClientOrderId`, at least one of them."""
        order_id, client_id = self.whole(name), self.text(client_name)
        if order_id is None and client_id is None:
            raise Refused(-1102, f"Param '{client_name}' or '{name}' must be sent, but both were empty/null!")
        return order_id, client_id

    def response_type(self, default: str) -> str:
        value = self.text("newOrderRespType") or default
        if value not in ("ACK", "RESULT", "FULL"):
            raise Refused(
                -1100, "Illegal characters found in parameter 'newOrderRespType'; legal range is 'ACK,RESULT,FULL'."
            )
        return value

    def word(self, name: str, words: Sequence[str], refusal: Refused) -> str:
        value = self.needed(name)
        if value not in words:
            raise refusal
        return value
