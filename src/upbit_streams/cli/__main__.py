"""``python -m upbit_streams.cli`` is ``upbit-streams``."""

from upbit_streams.cli import main

main()
