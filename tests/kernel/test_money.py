"""One spelling per amount of money."""

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from aliquot.kernel.money import money_text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=0, max_value=10**6))
@example(Decimal("0E-9"))
@example(Decimal("0.000000000"))
@example(Decimal("-0.0"))
@example(Decimal("1E+3"))
def test_an_amount_has_one_spelling(amount: Decimal) -> None:
    text = money_text(amount)
    assert Decimal(text) == amount
    assert text == money_text(amount * Decimal("1.000")) == money_text(amount.normalize())
    assert "E" not in text
    assert text == "0" or not text.startswith("-")
