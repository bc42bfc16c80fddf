"""What decoding costs, by data type and format, beside parsers that give untyped dicts; and what SIMPLE saves.

Every contender decodes the same batches of frames, about what one read of a busy socket brings. All of them run in
turns within one process, in an order that changes from round to round, so that a machine that changes its speed changes
it for all. What counts is the ratio to another contender of the same round; the tables have the median over the rounds.
Time is that of this process, without what others take of the machine; the garbage collector runs as in any program.

Ours is the whole of ``Decoder.decode``: typed events, each stamped with its epoch and receive time. The slow path is
the same batch with one field that the table does not know in every frame.

The goal: a frame of your own orders and balances costs at most three times orjson, whose floats lose digits of its
amounts. A row that misses the goal says so.
"""

import argparse
import json
import random
import statistics
import time
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import orjson

from upbit_streams import (
    AnnouncementEvent,
    Asset,
    DataType,
    Epoch,
    Event,
    Format,
    IndicatorEvent,
    IndicatorParams,
    IndicatorSignalEvent,
    IndicatorValue,
    MyAssetEvent,
    MyOrderEvent,
    OrderbookEvent,
    OrderbookUnit,
    SignalParams,
    TickerEvent,
    TradeEvent,
)
from upbit_streams.testing import MarketSimulation
from upbit_streams.wire.decode import Decoder
from upbit_streams.wire.encode import encode

BATCH = 25
START_MS = 1_795_000_000_000
FORMATS = (Format.DEFAULT, Format.SIMPLE)
PRIVATE = ("myOrder", "myAsset")
MOST_PRIVATE = 3.0
SIMULATED = ("ticker", "trade", "orderbook", "candle.1s")

Contender = Callable[[], object]


def ticker(number: int) -> Event:
    return TickerEvent(
        code="KRW-BTC",
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        opening_price=115_902_000.0,
        high_price=117_380_000.0,
        low_price=115_411_000.0,
        trade_price=116_539_000.0 + 1000 * number,
        prev_closing_price=115_898_000.0,
        acc_trade_price=96_734_120_533.18263 + 90_575.3 * number,
        change="RISE",
        change_price=641_000.0 + 1000 * number,
        signed_change_price=641_000.0 + 1000 * number,
        change_rate=0.0055307253,
        signed_change_rate=0.0055307253,
        ask_bid="BID",
        trade_volume=0.0007772,
        acc_trade_volume=830.47155803 + 0.0007772 * number,
        trade_date="20261118",
        trade_time="071640",
        trade_timestamp=START_MS + 37 * number - 24,
        acc_ask_volume=402.16410027,
        acc_bid_volume=428.30745776 + 0.0007772 * number,
        highest_52_week_price=179_869_000.0,
        highest_52_week_date="2026-03-09",
        lowest_52_week_price=81_110_000.0,
        lowest_52_week_date="2026-08-05",
        market_state="ACTIVE",
        is_trading_suspended=False,
        delisting_date=None,
        market_warning="NONE",
        acc_trade_price_24h=185_330_201_442.70415,
        acc_trade_volume_24h=1594.02317744,
    )


def trade(number: int) -> Event:
    return TradeEvent(
        code="KRW-BTC",
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        trade_date="2026-11-18",
        trade_time="07:16:40",
        trade_timestamp=START_MS + 37 * number - 24,
        trade_price=116_539_000.0 + 1000 * number,
        trade_volume=0.0007772,
        ask_bid="BID",
        prev_closing_price=115_898_000.0,
        change="RISE",
        change_price=641_000.0 + 1000 * number,
        sequential_id=(START_MS + 37 * number) * 10_000 + number,
        best_ask_price=116_540_000.0 + 1000 * number,
        best_ask_size=0.03172466,
        best_bid_price=116_539_000.0 + 1000 * number,
        best_bid_size=0.11849013,
    )


def orderbook(number: int) -> Event:
    units = tuple(
        OrderbookUnit(
            ask_price=116_540_000.0 + 1000 * (number + rank),
            bid_price=116_539_000.0 + 1000 * (number - rank),
            ask_size=round(0.03172466 + 0.01730981 * rank, 8),
            bid_size=round(0.11849013 + 0.00911377 * rank, 8),
        )
        for rank in range(30)
    )
    return OrderbookEvent(
        code="KRW-BTC",
        timestamp=START_MS + 100 * number,
        stream_type="REALTIME",
        total_ask_size=round(sum(unit.ask_size for unit in units), 8),
        total_bid_size=round(sum(unit.bid_size for unit in units), 8),
        orderbook_units=units,
        level=0.0,
    )


def candle(number: int) -> Event:
    return DataType.CANDLE_1M.event(
        code="KRW-BTC",
        timestamp=START_MS + 1000 * number,
        stream_type="REALTIME",
        candle_date_time_utc="2026-11-18T07:16:00",
        candle_date_time_kst="2026-11-18T16:16:00",
        opening_price=116_502_000.0,
        high_price=116_571_000.0,
        low_price=116_488_000.0,
        trade_price=116_539_000.0 + 1000 * number,
        candle_acc_trade_volume=0.61733205,
        candle_acc_trade_price=71_935_206.8213004 + 90_575.3 * number,
    )


def my_order(number: int) -> Event:
    return MyOrderEvent(
        code="KRW-BTC",
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        uuid="ac2dc2a3-fce9-40a2-a4f6-5987c25c438f",
        ask_bid="BID",
        order_type="limit",
        state="trade",
        trade_uuid="68315169-fba4-4175-ade3-aff14a616657",
        price=Decimal(116539000),
        avg_price=Decimal("116538411.76470588"),
        volume=Decimal("0.00170014"),
        remaining_volume=Decimal("0.01829986"),
        executed_volume=Decimal("0.00170014"),
        trades_count=number,
        reserved_fee=Decimal("1165.389294117647059"),
        remaining_fee=Decimal("1066.323761029411765"),
        paid_fee=Decimal("99.065533088235294"),
        locked=Decimal("2133714.245819852941176"),
        executed_funds=Decimal("198131.066176470588235"),
        time_in_force=None,
        trade_fee=Decimal("99.065533088235294"),
        is_maker=True,
        identifier="grid-17",
        smp_type="cancel_maker",
        prevented_volume=Decimal(0),
        prevented_locked=Decimal(0),
        trade_timestamp=START_MS + 37 * number - 24,
        order_timestamp=START_MS - 12_000,
    )


def my_asset(number: int) -> Event:
    return MyAssetEvent(
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        asset_uuid="e635f223-1609-4969-8fb6-4376937baad6",
        assets=(
            Asset(
                currency="KRW", balance=Decimal("1386929.37231066771348207123"), locked=Decimal("10329.670127489598")
            ),
            Asset(currency="BTC", balance=Decimal("0.00170014"), locked=Decimal(0)),
        ),
        asset_timestamp=START_MS + 37 * number - 8,
    )


def announcement(number: int) -> Event:
    return AnnouncementEvent(
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        event_type="CREATED",
        uuid=f"{562_593_104 + number}",
        title="[거래] 신규 거래 지원 안내 (KRW, BTC, USDT 마켓)",
        category="trade",
        url=f"https://www.upbit.com/service_center/notice?id={562_593_104 + number}&view=share",
        first_listed_at="2026-11-18T16:16:40+09:00",
        listed_at="2026-11-18T16:16:40+09:00",
    )


def indicator(number: int) -> Event:
    return IndicatorEvent(
        code="KRW-BTC",
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        timeframe="5m",
        indicator="macd",
        params=IndicatorParams(fast=12, slow=26, signal_period=9),
        candle_date_time_utc="2026-11-18T07:10:00",
        value=IndicatorValue(macd=33554.85769535 + number, macd_signal=55795.38214693, histogram=-22240.52445158),
    )


def indicator_signal(number: int) -> Event:
    return IndicatorSignalEvent(
        code="KRW-BTC",
        timestamp=START_MS + 37 * number,
        stream_type="REALTIME",
        timeframe="5m",
        indicator="rsi",
        params=IndicatorParams(period=14),
        trigger="overbought",
        event_params=SignalParams(threshold=70.0),
        candle_date_time_utc="2026-11-18T07:10:00",
        value=IndicatorValue(rsi=71.30455219 + number / 100),
    )


MAKERS: dict[str, Callable[[int], Event]] = {
    "ticker": ticker,
    "trade": trade,
    "orderbook": orderbook,
    "candle.1m": candle,
    "myOrder": my_order,
    "myAsset": my_asset,
    "announcement": announcement,
    "indicator": indicator,
    "indicator_signal": indicator_signal,
}


def contenders(events: Sequence[Event]) -> dict[str, Contender]:
    """Everything that is timed for one data type, by name."""
    epoch = Epoch(connection="bench", number=1, started_at=0.0, wall_offset=0.0, reason="first connect")
    untyped = msgspec.json.Decoder().decode
    found: dict[str, Contender] = {}
    for spelling in FORMATS:
        frames = [encode(event, spelling) for event in events]
        drifted = [frame[:-1] + b',"news":1}' for frame in frames]
        fast, slow = Decoder(spelling), Decoder(spelling)

        def ours(decoder: Decoder = fast, frames: list[bytes] = frames) -> object:
            return decoder.decode(frames, epoch, 1.0)

        def tolerant(decoder: Decoder = slow, frames: list[bytes] = drifted) -> object:
            return decoder.decode(frames, epoch, 1.0)

        decoded, replies = fast.decode(frames, epoch, 1.0)
        assert len(decoded) == len(frames)
        assert not replies
        assert not fast.drift.records(), "the fast path is what is measured"
        assert len(slow.decode(drifted, epoch, 1.0)[0]) == len(frames)
        found[f"ours {spelling}"] = ours
        found[f"slow {spelling}"] = tolerant
        for name, loads in (("json", json.loads), ("orjson", orjson.loads), ("msgspec", untyped)):
            found[f"{name} {spelling}"] = _loop(loads, frames)
    return found


def _loop(loads: Callable[[bytes], Any], frames: list[bytes]) -> Contender:
    return lambda: [loads(frame) for frame in frames]


def measure(contenders: dict[str, Contender], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds a frame of each contender in each round. ``seconds`` is about how long one takes its turn."""
    repeats = {}
    for name, run in contenders.items():
        run()
        started = time.process_time()
        run()
        repeats[name] = max(1, round(seconds / (time.process_time() - started)))
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            run, repeat = contenders[name], range(repeats[name])
            started = time.process_time()
            for _ in repeat:
                run()
            costs[name].append((time.process_time() - started) / len(repeat) / BATCH)
    return costs


def ratio(costs: dict[str, list[float]], one: str, other: str) -> float:
    """The median over the rounds of one contender's cost divided by another's."""
    return statistics.median(a / b for a, b in zip(costs[one], costs[other], strict=True))


def report_costs(rounds: int, seconds: float) -> None:
    print(f"decode cost, batches of {BATCH} frames, median of {rounds} rounds")
    print("below 1: ours, typed and stamped, costs less than the untyped parser")
    print()
    head = f"{'type':17}{'format':9}{'us/frame':>9}{'ours/json':>11}{'ours/orjson':>13}{'ours/msgspec':>14}"
    print(f"{head}{'slow/fast':>11}{'SIMPLE/DEFAULT':>16}")
    for type_name, make in MAKERS.items():
        costs = measure(contenders([make(number) for number in range(BATCH)]), rounds, seconds)
        for spelling in FORMATS:
            ours = f"ours {spelling}"
            line = f"{type_name:17}{spelling.value:9}{statistics.median(costs[ours]) * 1e6:9.2f}"
            line += f"{ratio(costs, ours, f'json {spelling}'):11.2f}"
            line += f"{ratio(costs, ours, f'orjson {spelling}'):13.2f}"
            line += f"{ratio(costs, ours, f'msgspec {spelling}'):14.2f}"
            line += f"{ratio(costs, f'slow {spelling}', ours):11.1f}"
            if spelling.is_simple:
                line += f"{ratio(costs, ours, f'ours {Format.DEFAULT}'):16.2f}"
            if type_name in PRIVATE and ratio(costs, ours, f"orjson {spelling}") > MOST_PRIVATE:
                line += f"  more than {MOST_PRIVATE:g} x orjson"
            print(line)


def report_bytes(frames: int) -> None:
    print()
    print("bytes a frame; SIMPLE/DEFAULT in brackets")
    print(f"deflated: with context takeover, over {frames} frames of a simulated market, each type by itself and mixed")
    print()
    print(f"{'type':17}{'DEFAULT':>9}{'SIMPLE':>9}{'':8}{'DEFAULT deflated':>18}{'SIMPLE deflated':>17}")
    for type_name in (*SIMULATED, "all four mixed"):
        events = simulated([type_name] if type_name in SIMULATED else SIMULATED, frames)
        plain, packed = sizes(events), [deflated([encode(event, spelling) for event in events]) for spelling in FORMATS]
        print(f"{_sizes(type_name, *plain)}{packed[0]:18.0f}{packed[1]:17.0f}  ({packed[1] / packed[0]:.2f})")
    for type_name, make in MAKERS.items():
        if type_name not in ("candle.1m", *SIMULATED):
            print(_sizes(type_name, *sizes([make(number) for number in range(BATCH)])))


def _sizes(type_name: str, default: float, simple: float) -> str:
    return f"{type_name:17}{default:9.0f}{simple:9.0f}  ({simple / default:.2f})"


def sizes(events: Sequence[Event]) -> list[float]:
    return [statistics.mean(len(encode(event, spelling)) for event in events) for spelling in FORMATS]


def simulated(type_names: Sequence[str], frames: int) -> list[Event]:
    """What the simulated exchange's twelve markets send to one who asked for these types."""
    market, now_ms, events = MarketSimulation(seed=1, start_ms=START_MS), START_MS, list[Event]()
    while len(events) < frames:
        now_ms += 1000
        events += [event for event in market.advance(now_ms) if event.type in type_names]
    return events[:frames]


def deflated(frames: Sequence[bytes]) -> float:
    """Bytes a frame after permessage-deflate, as a server that keeps its context would send them."""
    compressor = zlib.compressobj(wbits=-15, memLevel=5)
    total = 0
    for frame in frames:
        packed = compressor.compress(frame) + compressor.flush(zlib.Z_SYNC_FLUSH)
        total += len(packed) - 4  # the end of every flush is the same, and not sent
    return total / len(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more rounds and longer ones")
    arguments = parser.parse_args()
    rounds, seconds = (101, 0.004) if arguments.full else (21, 0.002)
    report_costs(rounds, seconds)
    report_bytes(5_000 if arguments.full else 2_000)


if __name__ == "__main__":
    main()
