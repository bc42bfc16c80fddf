"""Coverage-guided fuzzing of the wire: whatever comes off the socket, it has to become a bounded value.

``nox -s fuzz`` runs it for 20 seconds, ``nox -s fuzz -- --seconds 600`` for longer. It needs atheris. With files as
arguments it runs just these inputs, for instance the one that a finding left behind, and needs nothing but the package.

The first byte of an input chooses the format of the connection, and whether the frame is text; the rest is the frame.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

WORKER = "--worker"
SAMPLES = Path(__file__).parents[2].parent / "shared" / "protocol" / "samples"

atheris: Any = importlib.import_module("atheris") if WORKER in sys.argv else None

# What is instrumented guides the search; the frame's way goes through these rooms only.
with atheris.instrument_imports(include=["upbit_streams.wire", "upbit_streams.model"]) if atheris else nullcontext():
    from upbit_streams import Epoch, Event, Format, UsageError, convert
    from upbit_streams.wire.decode import Decoder
    from upbit_streams.wire.encode import encode
    from upbit_streams.wire.fields import TABLE, Field, Kind
    from upbit_streams.wire.replies import BadFrame, ErrorReply, Reply, StatusReply, SubscriptionsReply

MOST_SAMPLE = 200
MOST_DRIFT = 101
MOST_WHY = 1000
MOST_PAYLOAD = 16 * 1024
LONGEST_INPUT = 8192

FORMATS = tuple(Format)
EPOCH = Epoch(connection="fuzz", number=1, started_at=0.0, wall_offset=0.0, reason="first connect")
# Each lives as long as the run, so that what it remembers has time to grow.
DECODERS = {format: Decoder(format) for format in FORMATS}

CONTROLS = (
    b'{"error":{"name":"INVALID_PARAM","message":"no"}}',
    b'{"error":"no"}',
    b'{"status":"UP"}',
    b'{"method":"LIST_SUBSCRIPTIONS","result":[{"type":"orderbook","codes":["KRW-BTC"],"level":0}],"ticket":"t"}',
    b'{"mthd":"LIST_SUBSCRIPTIONS","rslt":[{"ty":"trade","cds":["KRW-BTC"]}],"tckt":"t"}',
    b'{"type":"liquidation","timestamp":1}',
    b'[[{"type":"trade"}],{},null]',
    b'{"type":"x","timestamp":1' + b"0" * 400 + b"}",
    b'{"type":"trade","code":"KRW-BTC","timestamp":1.7E12,"trade_price":"1","trade_volume":1e0,"x":"\\ud800"}',
    b"[" * 3000,
    b'[{"type":"trade","' + b"x" * 3000 + b'":1},{}]',
    b'{"error":{"name":"' + b"x" * 3000 + b'"}}',
)


def try_input(data: bytes) -> None:
    """One input. An exception out of it is a finding."""
    if not data:
        return
    format, frame = FORMATS[data[0] % 4], _frame(data)
    decoder = DECODERS[format]
    events, replies = decoder.decode([frame], EPOCH, 2.0)
    assert events or replies, "a frame came to nothing"
    for event in events:
        assert isinstance(event, Event)
        assert event.epoch is EPOCH, "an event is not stamped"
        assert event.received_at == 2.0, "an event is not stamped"
        if event.type in TABLE:
            check_numbers(event, TABLE[event.type])
    for reply in replies:
        check_reply(reply)
    if data[-1] % 32 == 0:  # it only grows, so a look now and then is enough
        check_drift(decoder)
    try:
        converted = convert(frame, format)
    except UsageError:
        return
    assert convert(converted, format) == converted, "converting to the same format changes something"


def _frame(data: bytes) -> bytes | str:
    return data[1:].decode("utf-8", "surrogateescape") if data[0] & 4 else data[1:]


def check_reply(reply: Reply) -> None:
    """What is kept of a reply, to be shown to a person, is bounded."""
    match reply:
        case BadFrame(why, sample, type_name, code, payload):
            assert len(sample) <= MOST_SAMPLE, "the sample of a bad frame is too long"
            assert len(type_name) <= MOST_SAMPLE, "the type of a bad frame is too long"
            assert len(code) <= MOST_SAMPLE, "the code of a bad frame is too long"
            assert len(payload) <= MOST_PAYLOAD, "the payload of a bad frame is too long"
            assert len(why) <= MOST_WHY, "the reason of a bad frame is too long"
        case ErrorReply(name, message):
            assert len(name) <= MOST_SAMPLE, "the name of an error is too long"
            assert len(message) <= MOST_SAMPLE, "the message of an error is too long"
        case StatusReply(status):
            assert len(status) <= MOST_SAMPLE, "a status is too long"
        case SubscriptionsReply(ticket):
            assert len(ticket) <= MOST_SAMPLE, "a ticket is too long"


def check_numbers(value: Any, kind: Kind) -> None:
    """A number is one that can be computed with, or None where the table allows that."""
    for field in kind.fields:
        content = getattr(value, field.name)
        if field.type is Decimal:
            assert content.is_finite() if isinstance(content, Decimal) else field.null and content is None
            assert len(f"{content or 0:,.8f}") < 500, "an amount is too long to be shown"
        elif field.type is int:
            assert -1 <= content < 2**63 if isinstance(content, int) and field.is_time else True, "no time"
            assert abs(content or 0) <= 2**63, "a whole number is too large"
        elif field.type is str:
            assert (content or "").encode() is not None, "a text that cannot be encoded"
        elif isinstance(field.type, Kind) and content is not None:
            for part in content if field.array else [content]:
                check_numbers(part, field.type)


def check_drift(decoder: Decoder) -> None:
    """What is remembered of drift is bounded."""
    records = decoder.drift.records()
    assert len(records) <= MOST_DRIFT, "too many kinds of drift are remembered"
    assert all(len(drift.where) <= MOST_SAMPLE for drift in records), "the place of a drift is too long"
    assert all(len(drift.sample) <= MOST_SAMPLE for drift in records), "the sample of a drift is too long"


def seeds() -> Iterator[bytes]:
    """An event of every type with and without its optional fields, every control frame, and the samples if they are
    here; in every format."""
    events = [_example(kind, whole=whole) for kind in TABLE.values() for whole in (True, False)]
    for choice, format in enumerate(FORMATS):
        for event in events:
            yield bytes([choice]) + encode(event, format)
            yield bytes([choice]) + encode(event, format)[:-1] + (b',"news":1}' if not format.is_list else b",{}]")
            yield bytes([choice]) + encode(event, format).replace(b"0.10", b'"NaN"')
        for frame in CONTROLS:
            yield bytes([choice]) + frame
            yield bytes([choice | 4]) + b"[" + frame + b"]"
        for sample in SAMPLES.glob("*.json"):
            yield bytes([choice]) + sample.read_bytes()


def _example(kind: Kind, *, whole: bool) -> Any:
    return kind.event(**{field.name: _content(field, whole) for field in kind.fields if whole or not field.optional})


def _content(field: Field, whole: bool) -> Any:
    if isinstance(field.type, Kind):
        example = _example(field.type, whole=whole)
        return (example, example) if field.array else example
    if field.values:
        return field.values[-1]
    return {float: 1.165e8, int: 17877285547970000, str: "2026", bool: True, Decimal: Decimal("0.10")}.get(field.type)


def dictionary() -> str:
    """The words of the protocol, for the fuzzer to put in."""
    words = {"error", "name", "message", "status", "method", "mthd", "result", "rslt", "ticket", "tckt", "codes", "cds"}
    words |= {"type", "ty", "level", "lv", *TABLE}

    def collect(kind: Kind) -> None:
        for field in kind.fields:
            words.update((field.name, field.simple, *field.values))
            if isinstance(field.type, Kind):
                collect(field.type)

    for kind in TABLE.values():
        collect(kind)
    return "".join(f'"\\"{word}\\""\n' for word in sorted(words))


def fuzz(seconds: int, findings: Path) -> int:
    """Run the worker for a while, show what it says, and sum it up. Returns its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(sorted(set(seeds()))):
            (corpus / f"seed-{number:04}").write_bytes(seed)
        (folder / "words").write_text(dictionary(), encoding="utf-8")
        findings.mkdir(parents=True, exist_ok=True)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST_INPUT}",
            f"-dict={folder / 'words'}",
            f"-artifact_prefix={findings}/",
            "-timeout=20",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]
        worker = subprocess.Popen(
            [sys.executable, __file__, WORKER, *options, str(corpus)],
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert worker.stdout is not None
        with worker:
            return summed_up(worker, worker.stdout)


def summed_up(worker: "subprocess.Popen[str]", lines: Iterator[str]) -> int:
    """Pass on what is worth reading, and say in the end what was done."""
    status, executions = "", "0"
    seen_quiet = re.compile(r"#\d+\s+(NEW|REDUCE|RELOAD|pulse)|stat::|INFO: (Instrumenting|Using)|\s*$|###|\"")
    for line in lines:
        if found := re.match(r"#\d+\s+\w+\s+(cov: \d+ ft: \d+ corp: \d+)", line):
            status = found[1]
        if found := re.match(r"stat::number_of_executed_units:\s*(\d+)", line):
            executions = found[1]
        if not seen_quiet.match(line):
            print(line, end="")
    code = worker.wait()
    print(f"{executions} executions; {status or 'no coverage'} (branches, features and inputs of the corpus)")
    print(f"a finding, exit code {code}; its input is in the file named above" if code else "no finding")
    return code


def work() -> None:
    """The worker: libFuzzer runs it, and ends the process."""
    atheris.Setup([argument for argument in sys.argv if argument != WORKER], try_input)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="how long to look")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "upbit-streams-fuzz")
    parser.add_argument("inputs", type=Path, nargs="*", help="run these inputs instead")
    arguments = parser.parse_args()
    for path in arguments.inputs:
        try_input(path.read_bytes())
    return 0 if arguments.inputs else fuzz(arguments.seconds, arguments.findings)


if __name__ == "__main__":
    if atheris is not None:
        work()
    sys.exit(main())
