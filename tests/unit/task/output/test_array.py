"""Arrays and images come back, or are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out


def _round_trip(value: Any, type_: Any, out: Out, folder: Path) -> Any:
    codec = codec_of(out, type_)
    codec.write(value, folder / "x")
    return codec.read(folder / "x")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), dtype="f2")),
        np.array([("a", 1)], dtype=[("name", "U3"), ("n", "i1")]),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
        np.zeros((0, 4)),
        np.array(3.5),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_come_back(array: Any, tmp_path: Path) -> None:
    back = _round_trip(array, np.ndarray, Out(), tmp_path)

    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    np.testing.assert_array_equal(array, back)


def test_dicts_of_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "a/b": np.ones((2, 2)), "empty": np.zeros(0)}

    back = _round_trip(arrays, dict[str, np.ndarray], Out(), tmp_path)

    assert list(arrays) == list(back)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, back[name])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.array([object()]), "holds Python objects"),
        (np.ma.array([1], mask=[True]), "'MaskedArray', which would not come back"),
    ],
)
def test_what_would_not_come_back_is_refused(value: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        _round_trip(value, np.ndarray, Out(), tmp_path)
    with pytest.raises(DataError, match=f"Array 'a'.*{words}"):
        _round_trip({"a": value}, dict, Out("npz"), tmp_path)


@pytest.mark.parametrize(
    ("type_", "out"),
    [(np.ndarray, Out("npy")), (dict, Out("npz")), (np.ndarray, Out("png")), (bytes, Out("jpg"))],
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x89PNG\r\n\x1a\n..."])
def test_a_damaged_file_is_a_data_error(
    type_: Any, out: Out, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(content)

    with pytest.raises(DataError, match="cannot be read as"):
        codec_of(out, type_).read(tmp_path / "x")


class TestImage:
    """PNG and JPEG, with Pillow and matplotlib where they are installed."""

    @pytest.fixture(autouse=True)
    def _pillow(self) -> None:
        pytest.importorskip("PIL", reason="Pillow is not installed")

    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (4, 5, 3), (4, 5, 4)])
    def test_png_keeps_every_pixel(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)

        np.testing.assert_array_equal(pixels, _round_trip(pixels, np.ndarray, Out("png"), tmp_path))

    def test_png_keeps_grey_of_16_bits(self, tmp_path: Path) -> None:
        pixels = np.array([[0, 65535], [300, 7]], dtype=np.uint16)

        np.testing.assert_array_equal(pixels, _round_trip(pixels, np.ndarray, Out("png"), tmp_path))

    def test_jpg_keeps_the_shape(self, tmp_path: Path) -> None:
        pixels = np.full((4, 5, 3), 200, dtype=np.uint8)

        back = _round_trip(pixels, np.ndarray, Out("jpg"), tmp_path)

        assert np.abs(back.astype(int) - pixels).max() < 4

    @pytest.mark.parametrize(
        ("format_", "pixels"),
        [
            ("png", np.zeros((2, 2, 3), "f4")),
            ("png", np.zeros((2, 2, 5), "u1")),
            ("png", np.zeros(2, "u1")),
            ("jpg", np.zeros((2, 2), "u2")),
            ("jpg", np.zeros((2, 2, 4), "u1")),
        ],
    )
    def test_other_arrays_are_refused(self, format_: str, pixels: Any, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot be kept as"):
            _round_trip(pixels, np.ndarray, Out(format_), tmp_path)

    def test_pictures_and_bytes_come_back(self, tmp_path: Path) -> None:
        from PIL import Image

        picture = Image.new("RGB", (3, 2), "red")

        back = _round_trip(picture, Image.Image, Out("png"), tmp_path)
        data = (tmp_path / "x").read_bytes()

        assert picture.tobytes() == back.tobytes()
        assert data == _round_trip(data, bytes, Out("png"), tmp_path)
        with pytest.raises(DataError, match="no jpg file"):
            _round_trip(data, bytes, Out("jpg"), tmp_path)
        with pytest.raises(DataError, match="cannot be kept as jpg"):
            _round_trip(Image.new("RGBA", (3, 2)), Image.Image, Out("jpg"), tmp_path)

    @pytest.mark.parametrize("format_", ["png", "jpg"])
    def test_figures_come_back_as_pictures(self, format_: str, tmp_path: Path) -> None:
        figure = pytest.importorskip("matplotlib.figure", reason="no matplotlib").Figure((1, 1))
        figure.add_subplot().plot([1, 2])

        assert (100, 100) == _round_trip(figure, type(figure), Out(format_), tmp_path).size


def test_names_of_arrays_do_not_collide(tmp_path: Path) -> None:
    arrays = {"x.npy": np.array([2]), "x": np.array([1]), "a/b": np.array([3]), "": np.array([4])}

    back = _round_trip(arrays, dict, Out("npz"), tmp_path)

    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in back.items()
    }


@pytest.mark.parametrize("name", ["a\0b", "k" * 65_532, "\ud800"])
def test_a_name_that_an_archive_cannot_hold_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="npz cannot hold the name"):
        _round_trip({name: np.ones(1)}, dict, Out("npz"), tmp_path)
