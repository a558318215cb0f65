"""Probes: what can be seen of a running target from outside, without disturbing it."""
