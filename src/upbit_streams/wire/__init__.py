"""Bytes to values and back, sans-IO: nothing here waits, reads a clock, or raises on what the exchange sent."""
