"""A small model on KServe's ModelServer: echoes what it is sent, at once, after some seconds, or never.

One file serves every release from 0.11 on. KServe itself reads `--http_port`, `--grpc_port` and `--workers`.

* V1 over HTTP: `POST /v1/models/echo:predict` with `{"instances": [{"token": "a", "seconds": 1.0}]}` is answered after
  one second with `{"predictions": ["a"], "pid": 4711}`. `seconds` may be left out (0), or be `"endless"`.
* V2 over HTTP and gRPC (`ModelInfer`): the BYTES tensor named `token` comes back; an FP64 tensor named `seconds`
  delays it.

`ECHO_LOAD=raises` makes the model fail to load with an exception; `ECHO_LOAD=not_ready` makes its `load` return
without the model being ready, as `kserve.Model.load` may; `ECHO_LOAD=slow` spends two seconds on loading.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from typing import Any

import kserve
from kserve import InferOutput, InferRequest, InferResponse, model_server
from kserve.errors import InvalidInput


class Echo(kserve.Model):
    """Answers with the tokens that it was sent."""

    def load(self) -> bool:
        """Loads nothing; fails in the way that ECHO_LOAD asks for."""
        how = os.environ.get("ECHO_LOAD", "")
        if how == "raises":
            raise RuntimeError("cannot load the model echo: its weights are missing (ECHO_LOAD=raises)")
        if how == "slow":
            time.sleep(2.0)
        self.ready = how != "not_ready"
        return self.ready

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Echoes a V1 payload (a dict), or a V2 request of either protocol.

        Releases before 0.15 do not pass `response_headers`.
        """
        if isinstance(payload, InferRequest):
            tensors = {tensor.name: tensor for tensor in payload.inputs}
            if "seconds" in tensors:
                await _work(float(tensors["seconds"].as_numpy().ravel()[0]))
            token = tensors["token"]
            output = InferOutput(name="token", shape=list(token.shape), datatype="BYTES", data=token.data)
            return InferResponse(response_id=payload.id or "", model_name=self.name, infer_outputs=[output])
        for instance in _instances(payload):
            await _work(instance.get("seconds", 0.0))
        return {"predictions": [instance["token"] for instance in payload["instances"]], "pid": os.getpid()}


def _instances(payload: Any) -> list[dict[str, Any]]:
    """The instances of a payload. Raises InvalidInput (KServe answers 400): what is in it is ours to check."""
    instances = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(instances, list) or not all(isinstance(each, dict) and "token" in each for each in instances):
        raise InvalidInput('expected {"instances": [{"token": …}]}')
    return instances


async def _work(seconds: float | str) -> None:
    if seconds == "endless":
        await asyncio.Event().wait()
    elif not isinstance(seconds, (int, float)):
        raise InvalidInput('expected seconds to be a number, or "endless"')
    elif seconds:
        await asyncio.sleep(float(seconds))


if __name__ == "__main__":
    # The guard matters: with several workers, KServe from 0.15 on spawns them, which imports this file again.
    argparse.ArgumentParser(parents=[model_server.parser]).parse_args()
    model = Echo("echo")
    model.load()
    kserve.ModelServer().start([model])
