"""Classical optical flow, and frames foretold by it: in place of RAFT and of AMT-S.

DIS (Kroeger et al. 2016), OpenCV's, on pictures brought to a short side of 256: small ones are
enlarged, since OpenCV's DIS crashes on pictures with too few patches. Its preset ``fast`` finds
what ``medium`` finds, at a fifth of the cost. It follows textured motion of moderate speed; flat
areas stand still in it, and fast motion is lost, so the surrogate of dynamic degree undercounts and
that of smoothness punishes speed.
"""

import cv2
import numpy as np

from evaluation.metrics.arrays import F32, U8

SHORT_SIDE = 256


def dis_flow(first: U8, second: U8) -> F32:
    """Flow `[n,h,w,2]` from frames to others, in the pixels of the frames given."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flows = []
    for before, after in zip(first, second, strict=True):
        scale = _scale(before)
        flows.append(_flow(dis, _grey(before, scale), _grey(after, scale)) / np.float32(scale))
    return np.stack(flows)


def between(before: U8, after: U8) -> U8:
    """The frames in the middle of two, each end moved half of the way and both averaged."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return np.stack([_middle(dis, *pair) for pair in zip(before, after, strict=True)])


def _middle(dis: cv2.DISOpticalFlow, before: U8, after: U8) -> U8:
    height, width = before.shape[:2]
    scale = _scale(before)
    first, second = _grey(before, scale), _grey(after, scale)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    ends = []
    for end, flow in ((before, _flow(dis, first, second)), (after, _flow(dis, second, first))):
        half = (flow / np.float32(2 * scale)).astype(np.float32, copy=False)
        moved: F32 = cv2.resize(half, (width, height)).astype(np.float32, copy=False)
        # What stands at x in the middle stood at x - flow/2 here, if its neighbours move alike.
        ends.append(
            cv2.remap(
                end,
                (x - moved[..., 0]).astype(np.float32, copy=False),
                (y - moved[..., 1]).astype(np.float32, copy=False),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    return cv2.addWeighted(ends[0], 0.5, ends[1], 0.5, 0.0).astype(np.uint8, copy=False)


def _flow(dis: cv2.DISOpticalFlow, first: U8, second: U8) -> F32:
    start = np.zeros((*first.shape, 2), np.float32)
    return dis.calc(first, second, start).astype(np.float32, copy=False)


def _scale(frame: U8) -> float:
    return SHORT_SIDE / int(min(frame.shape[:2]))


def _grey(frame: U8, scale: float) -> U8:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return cv2.resize(grey, size, interpolation=how).astype(np.uint8, copy=False)
