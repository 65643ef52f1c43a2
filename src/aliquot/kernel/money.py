"""Money as text: a plain decimal number, without exponent and without trailing zeros."""

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer


def money_text(amount: Decimal) -> str:
    """`0`, `0.000012`, `12.5`: one spelling per amount, whatever arithmetic or a database column made of its zeros."""
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


# An amount in an HTTP answer.
Money = Annotated[Decimal, PlainSerializer(money_text, return_type=str, when_used="json")]
