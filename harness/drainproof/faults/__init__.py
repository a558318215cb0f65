"""Faults: each module injects one kind and returns the proof that it happened."""
