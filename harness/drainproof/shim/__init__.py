"""The shim: what drainproof puts into the target's own interpreter (`inside/`), and the outside that steers it."""
