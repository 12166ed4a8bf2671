"""A server beside unnoise's in serving.py: LitServe, with batches of requests for diffusers' pipeline.

python serving_litserve.py RUN PORT DEADLINE
"""

import base64
import io
import os
import sys
from typing import Any

import litserve as ls
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DPMSolverMultistepScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d import UNet2DOutput

import unnoise as un


class Net(ModelMixin, ConfigMixin):
    """The same network, as diffusers asks for one."""

    @register_to_config
    def __init__(self, sample_size: int = 8, in_channels: int = 1):
        super().__init__()
        run = un.open(os.environ["SERVED_RUN"])
        self.inner, self.null = run.denoiser.net, len(run.recipe.classes)
        abar = DDIMScheduler().alphas_cumprod
        self.register_buffer("noise", (0.5 * torch.log((1 - abar) / abar)).clamp(-12, 12))

    def forward(self, x: torch.Tensor, t: Any) -> UNet2DOutput:
        level = self.noise[int(t)].expand(len(x))
        return UNet2DOutput(sample=self.inner(x, level, {"label": torch.full((len(x),), self.null)}))


class API(ls.LitAPI):
    """Requests that wait are a batch. A call of a pipeline has one scheduler and one number of steps: so each setting
    in a batch is a call of its own."""

    def setup(self, device: str) -> None:
        torch.set_num_threads(1)
        net, made = Net(), {"ddim": DDIMScheduler(), "dpmpp_2m": DPMSolverMultistepScheduler()}
        self.pipelines = {name: DDPMPipeline(net, scheduler) for name, scheduler in made.items()}
        for pipeline in self.pipelines.values():
            pipeline.set_progress_bar_config(disable=True)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def predict(self, asked: list[dict[str, Any]]) -> list[str]:
        groups: dict[tuple[str, int], list[int]] = {}
        for place, one in enumerate(asked):
            groups.setdefault((one["sampler"], one["steps"]), []).append(place)
        made = [""] * len(asked)
        for (sampler, steps), places in groups.items():
            dice = [torch.Generator().manual_seed(asked[place]["seed"]) for place in places]
            with torch.no_grad():
                found = self.pipelines[sampler](len(places), dice, num_inference_steps=steps).images
            for place, picture in zip(places, found, strict=True):
                file = io.BytesIO()
                picture.save(file, "PNG")
                made[place] = base64.b64encode(file.getvalue()).decode()
        return made

    def encode_response(self, output: str) -> dict[str, str]:
        return {"b64_json": output}


if __name__ == "__main__":
    os.environ["SERVED_RUN"] = sys.argv[1]
    api = API(max_batch_size=64, batch_timeout=0.02)
    server = ls.LitServer(api, accelerator="cpu", timeout=float(sys.argv[3]))
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
