"""The commands of `drainproof` that work on results alone."""
