"""What came and was not understood, by type and market, for texts that say why there is no data."""

__all__ = ["Spoiled"]

# The exchange chooses the names, so they are bounded.
_MOST = 100


class Spoiled:
    """The last reason of each type and market of which a frame was not understood."""

    def __init__(self) -> None:
        self._why: dict[tuple[str, str], str] = {}

    def note(self, type_name: str, code: str, why: str) -> None:
        """A frame of this type and market was not understood; either is empty where it could not be read."""
        if type_name and (len(self._why) < _MOST or (type_name, code) in self._why):
            self._why[type_name, code] = why

    def clear(self) -> None:
        """Another epoch begins."""
        self._why.clear()

    def why(self, type_name: str, code: str) -> str:
        """What was wrong with the last frame of this type and market; empty if there was none. An empty code stands for
        all markets."""
        if found := self._why.get((type_name, code)):
            return found
        return next((why for (name, _), why in self._why.items() if name == type_name and not code), "")
