"""Pictures as arrays of bytes: decoded, cut to one size, and varied for training.

Letters of shapes: B pictures of S x S pixels.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tadka.core.error import DataError
from tadka.core.extra import require

Pixels = npt.NDArray[np.uint8]


def decoded(files: Any, size: int) -> Pixels:
    """Pictures from the bytes of their files.

    Args:
        files: Arrow array or sequence of B pictures as JPEG, PNG or another format of Pillow.
        size: S; pictures of other sides are scaled to it.

    Returns:
        Red, green and blue, shape (B, 3, S, S).

    Raises:
        DataError: One is no picture: which.
        MissingExtra: Pillow is not installed.
    """
    image = require("PIL.Image", extra="image")
    found = np.empty((len(files), size, size, 3), np.uint8)
    for place, file in enumerate(files.to_pylist() if hasattr(files, "to_pylist") else files):
        try:
            with image.open(io.BytesIO(file)) as opened:
                picture = opened.convert("RGB")
        except (OSError, TypeError, ValueError) as error:
            raise DataError(
                f"Picture {place} of the batch cannot be decoded: {error}. Look at its file, or "
                "leave the row out."
            ) from error
        if picture.size != (size, size):
            picture = picture.resize((size, size), image.Resampling.BILINEAR)
        found[place] = np.asarray(picture)
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def varied(pixels: Pixels, rng: np.random.Generator, shift: int) -> Pixels:
    """The same pictures, half of them turned left to right, each moved a little.

    Args:
        pixels: Shape (B, 3, S, S).
        rng: Depends on seed and batch alone.
        shift: Most pixels to move by; what comes in at an edge mirrors what is there.

    Returns:
        Shape (B, 3, S, S).
    """
    num_pictures, _, size, _ = pixels.shape
    edge = (shift, shift)
    wide = np.pad(pixels, ((0, 0), (0, 0), edge, edge), mode="reflect")
    row_BS, column_BS = (
        rng.integers(0, 2 * shift + 1, (num_pictures, 1)) + np.arange(size) for _ in range(2)
    )
    is_turned_B = rng.random(num_pictures) < 0.5
    column_BS[is_turned_B] = column_BS[is_turned_B, ::-1]
    picture_B11 = np.arange(num_pictures)[:, None, None]
    found = wide[picture_B11, :, row_BS[:, :, None], column_BS[:, None, :]]
    return np.ascontiguousarray(found.transpose(0, 3, 1, 2))


def example(num_rows: int, seed: int = 0, size: int = 12) -> dict[str, pa.Table]:
    """Pictures whose upper half is bright or is not; see `Model.example`.

    Args:
        num_rows: Of `train`.
        seed: Of all of it.
        size: S.
    """
    image = require("PIL.Image", extra="image")
    rng = np.random.default_rng(seed)
    label_B = rng.integers(0, 2, num_rows)
    files = []
    for label in label_B:
        pixels = rng.integers(0, 150, (size, size, 3), dtype=np.uint8)
        pixels[: size // 2] += np.uint8(100 * label)
        with io.BytesIO() as file:
            image.fromarray(pixels).save(file, "PNG")
            files.append(file.getvalue())
    return {"train": pa.table({"image": pa.array(files, pa.binary()), "label": label_B})}
