"""The weights of an earlier moment of a training: what its checkpoints and snapshots kept of it."""

from pathlib import Path

from unnoise.config import UserError
from unnoise.tensor import Tensor
from unnoise.train import checkpoint
from unnoise.train.checkpoint import Checkpoint


def earlier(now: Checkpoint, snapshots: Path, items: int, width: float | None = None) -> dict[str, Tensor]:
    """The weights after so many items, by name.

    now: the newest checkpoint, beside which the others lie; width: of the weights' average, 0 the weights themselves;
    the widest that was kept if None. A snapshot holds in half precision what is trained; what is not, such as fixed
    directions, is as it is now.
    """
    kept = [path for place in (now.path.parent, snapshots) for path in checkpoint.listed(place)]
    there = [checkpoint.read(path) for path in kept if int(path.name) == items]
    if not there:
        known = ", ".join(str(count) for count in sorted({int(path.name) for path in kept}))
        raise UserError(f"no weights were kept after {items} items; there are those after {known}")
    held = {name.removesuffix(".safetensors"): one for one in reversed(there) for name in one.state["files"]}
    averages = sorted((name for name in held if name.startswith("ema-")), key=lambda name: float(name[4:]))
    name = (averages or ["net"])[-1] if width is None else f"ema-{width:g}" if width else "net"
    if name not in held:
        raise UserError(f"after {items} items {', '.join(averages)} were kept, no average of width {width:g}")
    then = held[name].tensors(name)
    return {k: then[k].to(tensor.dtype) if k in then else tensor for k, tensor in now.tensors("net").items()}


__all__ = ["earlier"]
