"""A network of TransNetV2's inputs and outputs that can be checked by hand.

It says that a shot ends with a frame when the next one is brighter or darker by more than `STEP`
levels: the logistic function of (|difference of means| - STEP).
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from curation.measure.shots.transnet import HEIGHT, WIDTH, WINDOW

STEP = 6.0


def expected(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What the network says of frames [N, 27, 48, 3]: the last has no next one to differ from."""
    means = frames.reshape(len(frames), -1).mean(axis=1, dtype=np.float64)
    steps = np.append(np.abs(np.diff(means)), 0.0)
    return np.asarray(1 / (1 + np.exp(STEP - steps)))


def write(
    path: Path,
    *,
    channels: tuple[int, ...] = (0, 1, 2),
    rows: tuple[int, ...] = tuple(range(HEIGHT)),
    number: str = "UINT8",
    frames: int = WINDOW,
    logits: bool = False,
    scale: float = 1.0,
    weights_beside: bool = False,
) -> Path:
    """Write it as ONNX, looking at some channels or rows only, or as one that must be refused."""

    def constant(name: str, *values: float, kind: Any = np.int64) -> Any:
        return numpy_helper.from_array(np.array(values, kind), name)

    def node(kind: str, *inputs: str, to: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [to], **attributes)

    nodes = [
        helper.make_node("Cast", ["input"], ["float"], to=TensorProto.FLOAT),
        node("Gather", "float", "channels", to="seen", axis=4),
        node("Gather", "seen", "rows", to="strip", axis=2),
        node("ReduceMean", "strip", "picture", to="mean", keepdims=0),
        node("Slice", "mean", "one", "end", "time", to="after"),
        node("Slice", "mean", "zero", "minus_one", "time", to="before"),
        node("Sub", "after", "before", to="change"),
        node("Abs", "change", to="size"),
        node("Pad", "size", "padding", to="steps"),
        node("Sub", "steps", "step", to="over"),
        node("Unsqueeze", "over", "two", to="output" if logits else "logits"),
        *([] if logits else [node("Sigmoid", "logits", to="share")]),
        *([] if logits else [node("Mul", "share", "scale", to="output")]),
    ]
    kind = getattr(TensorProto, number)
    graph = helper.make_graph(
        nodes,
        "steps",
        [helper.make_tensor_value_info("input", kind, [None, frames, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, frames, 1])],
        [
            constant("channels", *channels),
            constant("rows", *rows),
            constant("picture", 2, 3, 4),
            constant("one", 1),
            constant("zero", 0),
            constant("minus_one", -1),
            constant("end", 1 << 30),
            constant("time", 1),
            constant("two", 2),
            constant("padding", 0, 0, 0, 1),
            constant("step", STEP, kind=np.float32),
            constant("scale", scale, kind=np.float32),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    if weights_beside:
        beside = f"{path.name}.data"
        onnx.save_model(model, path, save_as_external_data=True, location=beside, size_threshold=0)
        return path
    path.write_bytes(model.SerializeToString())
    return path
