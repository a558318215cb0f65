"""Its image starts it in shell form: the shell is PID 1, and passes the stop signal on to nobody (CONT-1)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

if __name__ == "__main__":
    model_server.main()
