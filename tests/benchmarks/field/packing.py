"""A number a row as text, small enough for a file that is kept with the code: half precision, base64."""

import base64

import numpy as np

LARGEST = 60000.0


def pack(values: np.ndarray) -> str:
    """Numbers to about three digits; beyond `LARGEST` they are cut."""
    return base64.b64encode(np.clip(values, -LARGEST, LARGEST).astype("<f2").tobytes()).decode("ascii")


def unpack(text: str) -> np.ndarray:
    """What `pack` wrote, in double precision."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float64)


def pack_whole(values: np.ndarray) -> str:
    """Whole numbers from 0 to 65535, exactly."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode("ascii")


def unpack_whole(text: str) -> np.ndarray:
    """What `pack_whole` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<u2").astype(np.int64)
