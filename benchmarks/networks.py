"""Our U-Net beside two others': forward and training, float32 and bfloat16, in alternation, as ratios.

    python benchmarks/networks.py [--repeats 9]

Runs in the environment of benchmarks/requirements.txt, with src on PYTHONPATH.

diffusers: UNet2DModel with its weights copied into ours; the outputs must agree to 1e-5 before anything is timed.
denoising-diffusion-pytorch: its Unet against ours of equal parameter count (within 1 %).
Each side runs in its best setting, found by a short trial over its documented ones: contiguous or
channels-last, cast or autocast, its attention fused or not. A ratio is the peer's time over ours, one for each
alternation: the median, and the spread from the least to the greatest.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import harness
import torch
from torch import Tensor, nn

from unnoise.nets import UNet
from unnoise.nets.layers import Double
from unnoise.nets.unet import Stage

Call = Callable[[nn.Module, Tensor, Tensor], Tensor]


# ---- the peers, and ours made like them


def diffusers_unet(widths: tuple[int, ...], looks: tuple[bool, ...], size: int, channels: int, groups: int) -> Any:
    """diffusers' network at its defaults but for the sizes."""
    from diffusers import UNet2DModel

    down = tuple("AttnDownBlock2D" if look else "DownBlock2D" for look in looks)
    up = tuple("AttnUpBlock2D" if look else "UpBlock2D" for look in reversed(looks))
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        down_block_types=down,
        up_block_types=up,
        norm_num_groups=groups,
    )


def like_diffusers(peer: Any) -> UNet:
    """Our U-Net of the same structure, with the peer's weights."""
    config = peer.config
    widths = tuple(config.block_out_channels)
    levels = [level for level, kind in enumerate(config.down_block_types) if kind.startswith("Attn")]
    half = widths[0] // 2
    net = UNet(
        (config.in_channels, config.sample_size, config.sample_size),
        widths=widths,
        blocks=config.layers_per_block,
        attention=(*levels, *([len(widths)] if config.add_attention else [])),
        head_width=config.attention_head_dim,
        modulation="add" if config.resnet_time_scale_shift == "default" else "scale_shift",
        frequencies=(1.0, 10_000 ** (-(half - 1) / (half - config.freq_shift))),
        groups=config.norm_num_groups,
        epsilon=config.norm_eps,
    )
    resnets: list[Any] = []
    with torch.no_grad():
        put(net.embedding.first, peer.time_embedding.linear_1)
        put(net.embedding.second, peer.time_embedding.linear_2)
        put(net.first, peer.conv_in)
        parts = iter(net.encoder)
        for block in peer.down_blocks:
            resnets += put_level(parts, block)
            if block.downsamplers:
                put(next(parts), block.downsamplers[0].conv)
        resnets += put_level(iter(net.middle), peer.mid_block)
        parts = iter(net.decoder)
        for block in peer.up_blocks:
            resnets += put_level(parts, block)
            if block.upsamplers:
                double = next(parts)
                assert isinstance(double, Double)
                put(double.conv, block.upsamplers[0].conv)
        put(net.norm, peer.conv_norm_out)
        put(net.last, peer.conv_out)
        put(net.modulate, *(resnet.time_emb_proj for resnet in resnets))
    return net


def put_level(parts: Iterator[nn.Module], level: Any) -> list[Any]:
    looks = getattr(level, "attentions", None) or []
    for i, resnet in enumerate(level.resnets):
        stage = next(parts)
        assert isinstance(stage, Stage)
        for name in ("norm1", "conv1", "norm2", "conv2"):
            put(getattr(stage.block, name), getattr(resnet, name))
        if stage.block.skip is not None:
            put(stage.block.skip, resnet.conv_shortcut)
        if stage.attention is not None:
            look = looks[i]
            put(stage.attention.norm, look.group_norm)
            put(stage.attention.project_in, look.to_q, look.to_k, look.to_v)
            put(stage.attention.project_out, look.to_out[0])
    return list(level.resnets)


def put(ours: Any, *theirs: Any) -> None:
    """Weights of one layer from one of theirs, or from several that are one of ours."""
    ours.weight.copy_(torch.cat([layer.weight for layer in theirs]))
    ours.bias.copy_(torch.cat([layer.bias for layer in theirs]))


def lucid_unet(fused: bool) -> nn.Module:
    """denoising-diffusion-pytorch's network."""
    harness.stub_unused()
    from denoising_diffusion_pytorch import Unet

    net = Unet(dim=64, dim_mults=(1, 2, 2), flash_attn=fused)
    # Its sinusoids come in float32 whatever the weights are; without this it could not be cast at all.
    net.time_mlp[1].register_forward_pre_hook(lambda layer, given: (given[0].to(layer.weight.dtype),))
    return net


# ---- timing


def settings(net: nn.Module, call: Call, x: Tensor, level: Tensor, half: bool, train: bool) -> dict[str, Any]:
    """What to time, by setting: name → a function of no arguments."""
    made: dict[str, Any] = {}
    casts = ["autocast"] if train else ["cast", "autocast"]
    for layout in ("contiguous", "channels-last"):
        for cast in casts if half else ["float32"]:
            model = copy.deepcopy(net).train(train)
            inputs = x
            if cast == "cast":
                model, inputs = model.to(torch.bfloat16), x.to(torch.bfloat16)
            if layout == "channels-last":
                model = model.to(memory_format=torch.channels_last)
                inputs = inputs.to(memory_format=torch.channels_last)
            work = step if train else forward
            made[f"{layout}, {cast}"] = bind(work, model, call, inputs, level, cast == "autocast")
    return made


def bind(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    return lambda: work(*arguments)


@torch.no_grad()
def forward(net: nn.Module, call: Call, x: Tensor, level: Tensor, cast: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        call(net, x, level)


def step(net: nn.Module, call: Call, x: Tensor, level: Tensor, cast: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        answer = call(net, x, level)
    (answer.float() - x).square().mean().backward()
    for parameter in net.parameters():
        parameter.grad = None


def seconds(work: Callable[[], None], least: float) -> float:
    """Seconds a call, over as many calls as fill `least` seconds."""
    calls, start = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - start < least:
        work()
        calls += 1
    return (time.perf_counter() - start) / calls


def best(options: dict[str, Callable[[], None]]) -> str:
    """The quickest setting, by the least of three alternating trials."""
    for work in options.values():
        work()
    trials = {name: [0.0] * 3 for name in options}
    for i in range(3):
        for name, work in options.items():
            trials[name][i] = seconds(work, 0.1)
    return min(trials, key=lambda name: min(trials[name]))


def duel(
    ours: dict[str, Callable[[], None]], theirs: dict[str, Callable[[], None]], repeats: int, items: int
) -> dict[str, Any]:
    """Both in their best setting, in alternation."""
    one, two = best(ours), best(theirs)
    mine, others = [0.0] * repeats, [0.0] * repeats
    for i in range(repeats):
        mine[i] = seconds(ours[one], 0.3)
        others[i] = seconds(theirs[two], 0.3)
    return {
        "ratio": harness.ratio(mine, others),
        "items_per_second": {
            "ours": items / statistics.median(mine),
            "theirs": items / statistics.median(others),
        },
        "setting": {"ours": one, "theirs": two},
        "repeats": repeats,
    }


def ask_ours(net: nn.Module, x: Tensor, level: Tensor) -> Tensor:
    return net(x, level, {})


def ask_diffusers(net: nn.Module, x: Tensor, level: Tensor) -> Tensor:
    return net(x, level).sample


def ask_lucid(net: nn.Module, x: Tensor, level: Tensor) -> Tensor:
    return net(x, level.to(x.dtype))


# ---- the cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="alternations of each case")
    parser.add_argument("--name", default="networks", help="of the JSON under results/")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    results: dict[str, Any] = {}

    def case(name: str, ours: nn.Module, peers: dict[str, tuple[nn.Module, Call]], x: Tensor, level: Tensor):
        for train in (False, True):
            for half in (False, True):
                options = settings(ours, ask_ours, x, level, half, train)
                theirs = {
                    f"{label}, {setting}" if label else setting: work
                    for label, (net, call) in peers.items()
                    for setting, work in settings(net, call, x, level, half, train).items()
                }
                kind = f"{'training' if train else 'forward'}, {'bfloat16' if half else 'float32'}"
                result = duel(options, theirs, chosen.repeats, len(x))
                results.setdefault(name, {})[kind] = result
                ratio, speed = result["ratio"], result["items_per_second"]
                print(
                    f"{name:44s} {kind:20s} {ratio['median']:5.2f}  "
                    f"[{ratio['least']:.2f}, {ratio['largest']:.2f}]  "
                    f"{speed['ours']:8.1f} against {speed['theirs']:8.1f} items/s  "
                    f"({result['setting']['ours']} | {result['setting']['theirs']})",
                    flush=True,
                )

    # The same network, twice: at the size of small photographs, and at that of the digits.
    for title, sizes, batch in (
        (
            "diffusers, 32x32",
            {"widths": (64, 128, 128), "looks": (False, True, True), "size": 32, "channels": 3, "groups": 32},
            8,
        ),
        ("diffusers, 8x8", {"widths": (32, 64), "looks": (False, False), "size": 8, "channels": 1, "groups": 8}, 128),
    ):
        peer = diffusers_unet(**sizes)
        ours = like_diffusers(peer)
        x = torch.randn(batch, sizes["channels"], sizes["size"], sizes["size"])
        level = torch.rand(batch) * 999
        with torch.no_grad():
            error = float((ours(x, level, {}) - ask_diffusers(peer.eval(), x, level)).abs().max())
        assert error < 1e-5, f"{title}: outputs differ by {error}"
        name = f"{title}, {ours.parameter_count() / 1e6:.2f} M, weights copied"
        results[name] = {"greatest_difference": error}
        case(name, ours, {"": (peer, ask_diffusers)}, x, level)

    # Another network of as many parameters, ours as one would make it.
    lucid = {"fused": (lucid_unet(True), ask_lucid), "plain": (lucid_unet(False), ask_lucid)}
    ours = UNet((3, 32, 32), widths=(64, 72, 128), attention=(2, 3))
    count = sum(p.numel() for p in lucid["fused"][0].parameters())
    assert abs(ours.parameter_count() / count - 1) < 0.01, f"{ours.parameter_count()} parameters against {count}"
    x, level = torch.randn(8, 3, 32, 32), torch.rand(8) * 24 - 12
    case(f"denoising-diffusion-pytorch, 32x32, {count / 1e6:.2f} M", ours, lucid, x, level)

    harness.save(
        chosen.name,
        {
            "machine": harness.machine() | {"instructions": torch.backends.cpu.get_cpu_capability()},
            "ratio": "the peer's time over ours: the median of the alternations, the least and the largest",
            "cases": results,
        },
    )


if __name__ == "__main__":
    main()
