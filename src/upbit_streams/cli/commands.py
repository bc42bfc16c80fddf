"""The commands and their options. What they do is in the modules beside."""

import math
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import click

from upbit_streams import REGIONS, Config, DataType, Endpoint, UpbitStreamsError, visible

from .exchange import run_exchange
from .simulation import Simulation
from .watch import Watch

__all__ = ["run"]


_Command = Callable[[], Awaitable[int]]


def run() -> int:
    """Parse the arguments and do what they say. Returns the exit status; a mistake gets one sentence on stderr.

    Raises ``BrokenPipeError`` if whoever read our output has gone.
    """
    try:
        parsed: tuple[_Command, str] | int = _upbit_streams.main(prog_name="upbit-streams", standalone_mode=False)
        if isinstance(parsed, int):  # --help and --version are done by now
            return parsed
        # Not within click, which would take a closed pipe for its own affair.
        command, backend = parsed
        return anyio.run(command, backend=backend)
    except click.UsageError as mistake:
        where = mistake.ctx.command_path if mistake.ctx else "upbit-streams"
        return _fail(f"{mistake.format_message()} Try '{where} --help'.", mistake.exit_code)
    except click.ClickException as mistake:
        return _fail(mistake.format_message(), mistake.exit_code)
    except UpbitStreamsError as why:
        return _fail(str(why), 1)
    except BrokenPipeError:
        raise
    except OSError as why:
        return _fail(f"input or output failed: {why.strerror or why}", 1)


def _fail(sentence: str, status: int) -> int:
    click.echo(f"upbit-streams: {visible(' '.join(sentence.split()))}", err=True)
    return status


def _to_speed(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    if value == "max":
        return math.inf
    try:
        speed = float(value)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise click.BadParameter(f"{value!r} is neither a number above 0 nor 'max'.", ctx, param)
    return speed


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(package_name="upbit-streams")
def _upbit_streams() -> None:
    """Live data of the Upbit exchange."""


_replay = click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Play a recording instead of a simulated market: one JSON object a line, with 'recv' and 'frame'.",
)
_speed = click.option(
    "--speed", callback=_to_speed, metavar="X|max", help="How much faster than recorded to play.  [default: 1]"
)
_types = [kind.name for kind in DataType.all(Endpoint.PUBLIC)]


@_upbit_streams.command()
@click.argument("codes", nargs=-1, metavar="[CODE...]")
@click.option(
    "--type", "types", multiple=True, type=click.Choice(_types), metavar="TYPE",
    help=f"What to watch; may be given more than once. One of {', '.join(_types)}.  [default: ticker]",
)  # fmt: skip
@click.option("--my-orders", is_flag=True, help="Watch your orders: in these markets, or in all if none is named.")
@click.option("--my-assets", is_flag=True, help="Watch your balances.")
@click.option("--announcements", is_flag=True, help="Watch the exchange's announcements.")
@click.option("--simulate", is_flag=True, help="Watch an exchange that is simulated in this process.")
@click.option("--url", metavar="URL", help="The endpoint to watch, like ws://127.0.0.1:8765/websocket/v1.")
@click.option("--region", type=click.Choice(list(REGIONS)), help="The live exchange to watch.  [default: kr]")
@_replay
@_speed
@click.option("--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True)
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="End after so many seconds.")
def watch(
    codes: tuple[str, ...],
    types: tuple[str, ...],
    my_orders: bool,
    my_assets: bool,
    announcements: bool,
    simulate: bool,
    url: str | None,
    region: str | None,
    replay: Path | None,
    speed: float | None,
    backend: str,
    output: str,
    count: int | None,
    duration: float | None,
) -> tuple[_Command, str]:
    """Show live data of the markets CODE..., like KRW-BTC, and of your account.

    In a table that updates in place, or as JSON lines: the exchange's field names, and 'epoch' and 'received_at'.

    Orders, balances and announcements need an API key: set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY in the environment.
    """
    asked = {DataType.MY_ORDER: my_orders, DataType.MY_ASSET: my_assets, DataType.ANNOUNCEMENT: announcements}
    private = [kind for kind, is_asked in asked.items() if is_asked]
    if not codes and types:
        raise click.UsageError("--type is about markets; name some, like KRW-BTC.")
    if not codes and not private:
        raise click.UsageError(
            "Missing argument 'CODE...': name markets, like KRW-BTC, or give --my-orders, --my-assets or "
            "--announcements."
        )
    if sum([simulate, url is not None, region is not None]) > 1:
        raise click.UsageError("--simulate, --url and --region each say which exchange; give one of them.")
    if replay is not None and not simulate:
        raise click.UsageError("--replay plays to a simulated exchange; add --simulate.")
    _check_speed(speed, replay)
    markets = tuple(dict.fromkeys(code.strip().upper() for code in codes))
    watching = Watch(
        public=[DataType.from_name(name) for name in dict.fromkeys(types or ["ticker"])] if codes else [],
        private=private,
        codes=markets,
        config=Config(url=url or REGIONS[region or "kr"]),
        simulation=Simulation(codes=markets, replay=replay, speed=speed or 1.0) if simulate else None,
        json=output == "json",
        count=count,
        duration=duration,
    )
    return watching.run, backend


@_upbit_streams.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 picks a free one.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same market.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True, max=10_000), default=100.0, show_default=True,
    metavar="MSGS_PER_SECOND", help="Tickers, trades and order books together, over all markets.",
)  # fmt: skip
@_replay
@_speed
def exchange(
    host: str, port: int, seed: int, rate: float, replay: Path | None, speed: float | None
) -> tuple[_Command, str]:
    """Serve a simulated exchange until interrupted.

    With UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY in the environment there is an account to log in to with that key.
    """
    _check_speed(speed, replay)
    simulation = Simulation(seed=seed, rate=rate, replay=replay, speed=speed or 1.0)
    return partial(run_exchange, simulation, host, port), "asyncio"


def _check_speed(speed: float | None, replay: Path | None) -> None:
    if speed is not None and replay is None:
        raise click.UsageError("--speed is the speed of a recording; add --replay FILE.")
