"""When silence is suspicious: measured against the habit of what has fallen silent.

A busy market that says nothing for half a minute is cut off; one that trades once an hour is not. So each is compared
with itself. Nobody has to look at every event for that: whoever looks every few seconds sees how long the silences are.
"""

import attrs

__all__ = ["Habit"]

# Less is no silence, however busy a market is: the exchange pauses for some seconds now and then.
_SHORTEST = 30.0
# So many times the longest silence that was usual. Over a market whose events come by chance, n of them, the longest
# gap is about ln(n) times the mean one, and one four times as long comes by about once in n ** 4 events.
_FACTOR = 4.0
# Habits are learnt from so many looks that found something new.
_LOOKS = 10
# Nights are calmer than days: with a look every 5 s the longest silence counts for half after an hour.
_FADING = 0.999


@attrs.define
class Habit:
    """How long something is usually silent. Times are seconds of any one clock."""

    heard_at: float
    """When it was last heard, or asked for."""
    usual: float = 0.0
    """The longest silence so far, where those of long ago count less."""
    looks: int = 0
    """How many looks found something new."""
    alarms: int = 0
    """How many silences were suspicious since it was last heard."""
    _silence: float = attrs.field(default=0.0, init=False)
    """How long it had been silent at the last look."""

    def look(self, now: float, heard_at: float) -> float | None:
        """Look whether there was anything new; ``heard_at`` is when it was last heard. Returns for how long it has been
        silent, if that is suspicious.

        As long as it is not heard, each alarm doubles the patience: what just has nothing to say is suspected ever more
        rarely. If it is heard soon after it was asked for anew, nothing has become usual by the alarm.
        """
        if heard_at > self.heard_at:
            self.usual = max(self.usual * _FADING, self._silence)
            self.heard_at = heard_at
            self.looks += 1
            self.alarms = 0
        self._silence = max(now - self.heard_at, 0.0)
        if self.looks < _LOOKS or self._silence <= max(_SHORTEST, self.usual * _FACTOR) * 2.0 ** min(self.alarms, 32):
            return None
        self.alarms += 1
        return self._silence

    def asked(self, now: float) -> None:
        """It is asked for anew: the silence begins now, even if the clock was set back since it was heard."""
        self.heard_at = now
        self._silence = 0.0
