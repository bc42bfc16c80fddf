"""Decisions as pure functions of (state, input, now): no I/O, no clock, no scheduler."""
