"""The built-in scenarios, one module per family of requirements."""
