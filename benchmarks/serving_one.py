"""A server beside unnoise's in serving.py: the closed loop, for one request after the other.

python serving_one.py RUN PORT DEADLINE
"""

import asyncio
import base64
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

import unnoise as un


def serve(folder: str, port: int, deadline: float) -> None:
    """Each request by the loop that is specialised to its plan; who has waited too long gets 504."""
    torch.set_num_threads(1)
    run, app, thread = un.open(folder), FastAPI(), ThreadPoolExecutor(1)
    net = run.denoiser

    def draw(asked: dict[str, Any], begun: float) -> str | None:
        if time.monotonic() - begun > deadline:
            return None
        plan = run.plan(asked["sampler"], asked["steps"])
        x = un.sample(net, plan, run.recipe.shape, [asked["seed"]], run.cond(1))
        file = io.BytesIO()
        run.recipe.modality.decode(x)[0].save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()

    @app.post("/predict")
    async def predict(asked: dict[str, Any]) -> JSONResponse:
        made = await asyncio.get_running_loop().run_in_executor(thread, draw, asked, time.monotonic())
        return JSONResponse({"b64_json": made} if made else {}, 200 if made else 504)

    @app.get("/health")
    async def health() -> str:
        return "ok"

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
