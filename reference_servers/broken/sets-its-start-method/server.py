"""Sets its multiprocessing start method, and cannot where somebody has done so before (START-5)."""

import multiprocessing
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    model_server.main()
