"""The reasons why frames could not be read are kept for one epoch, and they are bounded."""

from upbit_streams.engine.spoiled import Spoiled


def test_the_last_reason_of_each_market_is_kept_until_the_next_epoch() -> None:
    spoiled = Spoiled()
    for why in ("no price", "no volume"):
        spoiled.note("trade", "KRW-BTC", why)
    spoiled.note("", "KRW-ETH", "no type")
    assert spoiled.why("trade", "KRW-BTC") == spoiled.why("trade", "") == "no volume"
    assert spoiled.why("trade", "KRW-ETH") == spoiled.why("ticker", "") == spoiled.why("", "KRW-ETH") == ""
    spoiled.clear()
    assert spoiled.why("trade", "KRW-BTC") == ""


def test_b1_a_hundred_reasons_are_kept() -> None:
    spoiled = Spoiled()
    for number in range(200):
        spoiled.note("trade", f"KRW-{number}", "no price")
    spoiled.note("trade", "KRW-0", "no volume")
    kept = [number for number in range(200) if spoiled.why("trade", f"KRW-{number}")]
    assert kept == list(range(100))
    assert spoiled.why("trade", "KRW-0") == "no volume"
