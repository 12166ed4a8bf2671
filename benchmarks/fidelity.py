"""Features and distances beside torch-fidelity, pytorch-fid and lpips, on equal random weights: results/fidelity.json.

Run in an environment with the three (see requirements.txt); tests/test_features.py draws the same weights and pictures
again and compares with what is recorded here. No trained weights are needed: that two networks are one is seen on any.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

RESULT = Path(__file__).parent / "results" / "fidelity.json"
COUNT, SIDES, WIDE = 4, (40, 56), 64  # pictures a set, their height and width; the side of those for LPIPS


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of a weight: a function of its name and shape alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.Generator(np.random.Philox(key=seed))
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("bn.weight"):
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    if len(shape) == 1:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    if name.startswith("lin"):
        return rng.uniform(0, 1, shape).astype(np.float32)
    gain = 4.0 if name == "fc.weight" else 2.0**0.5  # logits far enough apart that classes are told
    return (gain / np.prod(shape[1:]) ** 0.5 * rng.standard_normal(shape)).astype(np.float32)


def pictures(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """(N, 3, H, W) uint8: a few waves of any colour, their contrast growing with the seed."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    out = np.full((count, 3, height, width), 128.0)
    for item in out:
        for _ in range(4):
            way, phase, colour = rng.normal(0, 6, 2), rng.uniform(0, 6.28), rng.normal(0, 20 + 15 * seed, 3)
            item += colour[:, None, None] * np.sin(way[0] * y + way[1] * x + phase)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def told(features: np.ndarray) -> dict[str, Any]:
    """What tells one set of features from another: some numbers, and a fixed random projection of all."""
    way = np.random.Generator(np.random.Philox(key=1)).standard_normal(features.shape[1])
    plain = features.astype(np.float64)
    return {"first": plain[0, :8].tolist(), "projected": (plain @ way).tolist(), "mean": plain.mean(axis=1).tolist()}


def state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Drawn weights of these names and shapes."""
    import torch

    return {name: torch.from_numpy(drawn(name, shape)) for name, shape in shapes.items()}


def inception() -> dict[str, Any]:
    """Drawn weights under the names of the published file, with the counters of batches that stand in it."""
    import torch

    from unnoise.metrics.inception import InceptionNet

    shapes = {name: tuple(tensor.shape) for name, tensor in InceptionNet().state_dict().items()}
    counters = {name: torch.tensor(0) for name in shapes if name.endswith("num_batches_tracked")}
    return {**state({name: shape for name, shape in shapes.items() if name not in counters}), **counters}


def of_torch_fidelity() -> dict[str, Any]:
    """Features, FID, KID of all pairs and Inception Score in one split."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    with tempfile.TemporaryDirectory() as folder:
        torch.save(inception(), f"{folder}/weights.pth")
        net = FeatureExtractorInceptionV3("equal", ["2048", "logits_unbiased"], f"{folder}/weights.pth")
    with torch.no_grad():
        (a, logits), (b, _) = (net(torch.from_numpy(pictures(seed, COUNT, *SIDES))) for seed in (0, 1))
    laws = map(fid_features_to_statistics, (a, b))
    all_pairs = {"kid_subsets": 1, "kid_subset_size": COUNT, "kid_kernel": "poly", "verbose": False}
    return {
        "features": told(a.numpy()),
        "logits": told(logits.numpy()),
        "frechet": fid_statistics_to_metric(*laws, verbose=False)["frechet_inception_distance"],
        "kid": kid_features_to_metric(a, b, **all_pairs)["kernel_inception_distance_mean"],
        "inception_score": isc_features_to_metric(logits, splits=1, shuffle=False)["inception_score_mean"],
    }


def of_pytorch_fid() -> dict[str, Any]:
    """Features and FID."""
    import torch
    from pytorch_fid import fid_score
    from pytorch_fid import inception as theirs

    theirs.load_state_dict_from_url = lambda *_, **__: inception()
    net = theirs.InceptionV3([3]).eval()
    with torch.no_grad():
        a, b = (
            net(torch.from_numpy(pictures(seed, COUNT, *SIDES)).float() / 255)[0][..., 0, 0].numpy() for seed in (0, 1)
        )
    laws = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b)]
    return {"features": told(a), "frechet": float(fid_score.calculate_frechet_distance(*laws[0], *laws[1]))}


def of_lpips(trunk: str) -> list[float]:
    """Distances of pictures pair by pair."""
    import lpips
    import torch

    net = lpips.LPIPS(pretrained=False, net=trunk, pnet_rand=True, verbose=False).eval()
    ours = {name: re.sub(r"^net\.slice\d\.", "features.", name) for name in net.state_dict()}
    held = net.state_dict()
    for name, ordinary in ours.items():
        if name.startswith(("net.slice", "lin")) and not name.startswith("lins"):
            held[name].copy_(torch.from_numpy(drawn(ordinary, tuple(held[name].shape))))
    x, y = (torch.from_numpy(pictures(seed, COUNT // 2, WIDE, WIDE)).float() / 127.5 - 1 for seed in (0, 1))
    with torch.no_grad():
        return net(x, y).flatten().tolist()


def main() -> None:
    from importlib.metadata import version

    import harness
    import torch

    harness.no_options(__doc__)

    # The wheel of torchvision registers these with a library that fits another build of torch; nothing here calls them.
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.set_num_threads(1)
    peers = ("torch-fidelity", "pytorch-fid", "lpips")
    record = {
        "what": "values of other programs on equal random weights and pictures (benchmarks/fidelity.py draws both)",
        "versions": {name: version(name) for name in ("torch", "torchvision", *peers)},
        "torch-fidelity": of_torch_fidelity(),
        "pytorch-fid": of_pytorch_fid(),
        "lpips": {trunk: of_lpips(trunk) for trunk in ("alex", "vgg")},
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
