"""For a pytest run of this repository that names no paths of its own."""

collect_ignore = ["reference_servers", "benchmarks", "docs"]
"""Servers, benchmarks and generators are programs, and no tests."""
