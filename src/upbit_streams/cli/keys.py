"""The API key of whoever runs the program. It comes from the environment: everybody can see a command line."""

import click

from upbit_streams import Credentials, MissingCredentialsError

__all__ = ["key_of_user", "need_key_of_user"]


def key_of_user() -> Credentials | None:
    """The key in the environment; None if there is none. Raises ``InvalidConfigError`` if it cannot be one."""
    try:
        return Credentials.from_environment()
    except MissingCredentialsError:
        return None


def need_key_of_user() -> Credentials:
    """The key in the environment. Raises ``ClickException`` if there is none, ``InvalidConfigError`` as above."""
    key = key_of_user()
    if key is None:
        raise click.ClickException(
            "orders, balances and announcements need an API key; set UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY in the "
            "environment, or watch a simulated account with --simulate"
        )
    return key
