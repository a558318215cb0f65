"""Ends with status 1 after a fatal error, for which its unit declares no restart (EXIT-2)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

# Nothing is wrong with the server: Restart=on-abnormal in its unit is for signals and timeouts only.

if __name__ == "__main__":
    model_server.main(model_server.Parts())
