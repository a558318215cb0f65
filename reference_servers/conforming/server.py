"""The conforming model server: what every requirement asks for, on uvicorn, with one worker or several.

    python server.py --port 8000 --workers 2

The code is in `model_server/`, beside this file; the servers in `../broken/` are this one with one thing changed.
"""

from model_server import main

if __name__ == "__main__":
    main()
