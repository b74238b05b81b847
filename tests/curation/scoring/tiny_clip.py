"""A CLIP model of a few layers with random weights, as files that open_clip itself can load."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

CONFIG = {
    "embed_dim": 768,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}


def write_tiny_clip(folder: Path) -> tuple[Path, Path, Path]:
    """Write a model config, a backbone and a head; returns their files."""
    config, backbone, head = folder / "tiny.json", folder / "tiny.safetensors", folder / "head.pth"
    config.write_text(json.dumps(CONFIG))
    torch.manual_seed(7)
    open_clip.add_model_config(config)
    save_file(open_clip.create_model("tiny").state_dict(), backbone)
    torch.save(torch.nn.Linear(768, 1).state_dict(), head)
    return config, backbone, head
