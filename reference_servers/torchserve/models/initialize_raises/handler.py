"""A model that cannot be loaded: its `initialize` raises, each time."""


class Broken:
    """As models/echo, but for its `initialize`."""

    def initialize(self, context):
        raise RuntimeError("cannot load the model echo: its weights are missing")

    def handle(self, data, context):
        """Never called."""
        return [None for _ in data]
