"""How much memory Wan's autoencoder takes as clips get longer, without weights and without waiting.

The network runs on the meta device, where tensors have sizes and no contents, and the bytes of all
storages that are alive at once are counted. What a device's own libraries take besides (workspaces
of convolutions, fragmentation) is not in it.

    python -m benchmarks.codec --size 832x480 --frames 21 81 241 481
"""

import argparse
import dataclasses
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no annotations
    """Counts the bytes of the tensors that are made inside it, and how many live at once.

    Args:
        apart: tensors from outside, weights mostly, that do not count where something inside is a
            view of them.
    """

    def __init__(self, apart: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.peak = 0
        self._apart = {tensor.untyped_storage()._cdata for tensor in apart}
        self._live: dict[int, int] = {}
        self._watched: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch calls it with whatever it runs
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - and hands on what that gives
        """Run it, and look at what comes out."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._watch(leaf.untyped_storage())
        self.peak = max(self.peak, sum(self._live.values()))
        return out

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._live or key in self._apart:
            return
        self._live[key] = storage.nbytes()

        def forget(_: object) -> None:
            del self._live[key], self._watched[key]

        self._watched[key] = weakref.ref(storage, forget)


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the largest moment, weights and what goes in left out."""

    frames: int
    encode: int
    decode: int
    clip: int
    """Of the video alone, in the network's dtype."""


def memory_of(
    encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor], video: Tensor
) -> Memory:
    """Encode and decode a video `[1,3,F,H,W]`, and count."""
    with LiveBytes() as encoding:
        latents = encode(video)
    with LiveBytes() as decoding:
        decode(latents)
    size = video.untyped_storage().nbytes()
    return Memory(video.shape[2], encoding.peak, decoding.peak, size)


@torch.no_grad()
def measured(vae: AutoencoderKLWan, video: Tensor) -> Memory:
    """Of the network alone, as `model.codec.WanCodec` runs it."""
    return memory_of(
        lambda clip: vae.encode(clip).latent_dist.mode(), lambda z: vae.decode(z).sample, video
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="832x480")
    parser.add_argument("--frames", type=int, nargs="+", default=[21, 81, 241, 481])
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    dtype = DTYPES[arguments.dtype]
    with torch.device("meta"), torch.no_grad():
        vae = AutoencoderKLWan()
        for parameter in vae.parameters():
            parameter.data = parameter.data.to(dtype)
    print(f"Wan's autoencoder at {width}x{height}, {arguments.dtype}; GB at most, weights left out")
    for frames in arguments.frames:
        video = torch.zeros(1, 3, frames, height, width, device="meta", dtype=dtype)
        memory = measured(vae, video)
        print(
            f"  {frames:5} frames: encode {memory.encode / 1e9:6.2f}, decode "
            f"{memory.decode / 1e9:6.2f}, the clip itself {memory.clip / 1e9:6.2f}"
        )


if __name__ == "__main__":
    main()
