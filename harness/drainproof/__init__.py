"""drainproof: a chaos and conformance harness for model servers (the engine).

Writers of scenarios find all that they need in `drainproof.scenario`.
"""

__version__ = "0.1.0"
