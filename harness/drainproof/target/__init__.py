"""The server under test: what `drainproof.toml` says of it, and how one instance of it is started and ended."""
