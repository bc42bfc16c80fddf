"""What happened in a run, a line for each thing, and a running hash of every event that was delivered."""

from hashlib import blake2b
from io import TextIOBase

import anyio

__all__ = ["Journal"]


class Journal:
    """Two runs of the same seed write the same journal, byte for byte."""

    def __init__(self, file: TextIOBase) -> None:
        self._file = file
        self._hash = blake2b(digest_size=16)
        self.delivered = 0

    def write(self, text: str) -> None:
        self._file.write(f"{anyio.current_time():.6f} {text}\n")

    def hear(self, text: str) -> None:
        """An event was delivered: everything about it that its consumer can see, as text."""
        self._hash.update(text.encode())
        self.delivered += 1

    def write_hash(self, name: str) -> None:
        self.write(f"{name}: {self.delivered} events so far, hash {self._hash.hexdigest()}")
