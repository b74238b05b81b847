"""Names for what networks compute, so that stored latents and embeddings find their maker again.

Hashing 11 GB of weights would take longer than using them once, so a few values of each tensor are
hashed. Another checkpoint, another size or another dtype is noticed; an edit of single numbers in
the middle of a large tensor is not.
"""

import hashlib
import json

import torch
from torch import Tensor, nn

_SAMPLES = 256
"""Values that are hashed of each tensor, evenly spread over it."""

_NOTES = ("architectures", "dtype", "torch_dtype", "transformers_version")
"""What libraries write into a config when they save it; it does not change what is computed."""


def module_fingerprint(module: nn.Module, *settings: str) -> str:
    """32 hex digits of a module's class, config, dtypes and weights.

    Args:
        module: a diffusers or transformers model, or any module.
        settings: whatever else decides what is computed.
    """
    digest = hashlib.sha256()
    config = getattr(module, "config", {})
    described = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    kept = {
        key: value
        for key, value in described.items()
        if not key.startswith("_") and key not in _NOTES
    }
    digest.update(json.dumps([type(module).__name__, kept, settings], default=str).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_sample(tensor))
    return digest.hexdigest()[:32]


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().flatten()
    chosen = torch.linspace(0, max(flat.numel() - 1, 0), min(_SAMPLES, flat.numel())).long()
    # float64 holds every narrower type exactly; bfloat16 has no bytes in NumPy.
    return bytes(flat[chosen.to(flat.device)].cpu().double().numpy().tobytes())
