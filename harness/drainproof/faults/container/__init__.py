"""Faults that only a container can have: its limits, its freezer, its network, its user. One module per kind."""
