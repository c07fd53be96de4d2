import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.features.sparse import SparseRows
from tadka.scoring import libffm
from tadka.scoring.libffm import read_model, read_rows, write_model, write_rows

IS_BUILT = importlib.util.find_spec("tadka.scoring.trainer") is not None
NAMES = ("starts", "slots", "values", "features")


@pytest.fixture(params=["native", "reference"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file to write, to be parsed by each of the two parsers."""
    if request.param == "reference":
        monkeypatch.setenv("TADKA_NATIVE", "0")
    elif not IS_BUILT:
        pytest.skip("the extension is not built")
    return tmp_path / "rows.txt"


def equal(left: SparseRows, right: SparseRows) -> bool:
    return all(
        getattr(left, name).tobytes() == getattr(right, name).tobytes() for name in NAMES
    ) and (left.num_slots, left.num_features) == (right.num_slots, right.num_features)


def random_rows(seed: int, num_rows: int = 200) -> tuple[SparseRows, npt.NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 6, num_rows)
    num = int(lengths.sum())
    rows = SparseRows(
        np.r_[0, np.cumsum(lengths)],
        generator.integers(0, 1000, num).astype(np.int32),
        (generator.normal(size=num) * 10.0 ** generator.integers(-30, 30, num)).astype(np.float32),
        generator.integers(0, 9, num).astype(np.uint16),
        1000,
        9,
    )
    return rows, generator.integers(0, 2, num_rows).astype(np.float32)


def test_lines_of_libffm_are_read(path: Path) -> None:
    path.write_bytes(b"1 0:7:0.5 1:12:1\n\n 0\t2:3:-1e-2  # a comment 5:5:5\r\n-1.0\n+1 0:0:+.5")

    rows, labels = read_rows(path)

    assert [1, 0, -1, 1] == labels.tolist()
    assert [0, 2, 3, 3, 4] == rows.starts.tolist()
    assert [7, 12, 3, 0] == rows.slots.tolist()
    assert [0, 1, 2, 0] == rows.features.tolist()
    assert np.array([0.5, 1, -0.01, 0.5], np.float32).tolist() == rows.values.tolist()
    assert (13, 3) == (rows.num_slots, rows.num_features)


def test_lines_of_libsvm_are_rows_of_one_field(path: Path) -> None:
    path.write_text("-1 451:1 3:0.25\n1 9:2\n", encoding="utf-8")

    rows, labels = read_rows(path)

    assert [-1, 1] == labels.tolist()
    assert [451, 3, 9] == rows.slots.tolist()
    assert [0, 0, 0] == rows.features.tolist()
    assert (452, 1) == (rows.num_slots, rows.num_features)


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
@pytest.mark.parametrize("has_fields", [True, False])
def test_rows_come_back_to_the_same_bits(path: Path, suffix: str, has_fields: bool) -> None:
    rows, labels = random_rows(1)
    file = path.with_suffix(suffix)
    write_rows(file, rows, labels, has_fields=has_fields)

    again, again_labels = read_rows(file, num_slots=1000, num_features=9)

    if not has_fields:
        rows = SparseRows(
            rows.starts, rows.slots, rows.values, np.zeros(len(rows.slots), np.uint16), 1000, 9
        )
    assert equal(rows, again)
    np.testing.assert_array_equal(labels, again_labels)


def test_pieces_and_threads_change_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = random_rows(2)
    write_rows(path, rows, labels)
    monkeypatch.setattr(libffm, "_PIECE_BYTES", 37)

    again, again_labels = read_rows(path, num_slots=1000, num_features=9, threads=3)

    assert equal(rows, again)
    np.testing.assert_array_equal(labels, again_labels)


@settings(deadline=None, max_examples=200)
@given(st.from_regex(rb"[+-]?[0-9]{0,25}\.?[0-9]{0,25}([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_both_parsers_read_the_same_number_or_none(text: bytes) -> None:
    if not IS_BUILT:
        pytest.skip("the extension is not built")
    line = b"1 0:1:" + text + b"\n"
    native = libffm._parse_native(line, has_fields=True)
    reference = libffm._parse_reference(line, has_fields=True)

    assert reference.bad == native.bad
    assert reference.values.tobytes() == native.values.tobytes()


@settings(deadline=None, max_examples=300)
@given(st.text("01:. #\n\t\r-e", max_size=30), st.booleans())
def test_both_parsers_agree_on_any_text(text: str, has_fields: bool) -> None:
    if not IS_BUILT:
        pytest.skip("the extension is not built")
    native = libffm._parse_native(text.encode(), has_fields=has_fields)
    reference = libffm._parse_reference(text.encode(), has_fields=has_fields)

    assert reference.bad == native.bad
    assert reference.labels.tobytes() == native.labels.tobytes()
    if reference.bad is None:
        for name in NAMES:
            assert getattr(reference, name).tobytes() == getattr(native, name).tobytes()


@pytest.mark.parametrize(
    ("line", "token"),
    [
        ("x 0:1:1", "'x'"),
        ("nan 0:1:1", "'nan'"),
        ("1e39 0:1:1", "'1e39'"),
        ("0:1:1 0:1:1", "'0:1:1'"),
        ("1 0:1", "'0:1'"),
        ("1 0:1:1:1", "'0:1:1:1'"),
        ("1 0:1:", "'0:1:'"),
        ("1 :1:1", "':1:1'"),
        ("1 0:-1:1", "'0:-1:1'"),
        ("1 0:1:nan", "'0:1:nan'"),
        ("1 0:1:inf", "'0:1:inf'"),
        ("1 0:1:1e39", "'0:1:1e39'"),
        ("1 0:1:0x1", "'0:1:0x1'"),
        ("1 65536:1:1", "'65536:1:1'"),
        ("1 0:2147483647:1", "'0:2147483647:1'"),
        ("1 0:99999999999999999999999:1", "'0:99999999999999999999999:1'"),
        ("1 a", "'a'"),
    ],
)
def test_a_bad_token_is_named_with_file_and_line(path: Path, line: str, token: str) -> None:
    path.write_text(f"1 0:1:1\n\n0 1:2:1\n{line}\n1 0:1:1\n", encoding="utf-8")

    with pytest.raises(DataError) as caught:
        read_rows(path)

    assert f"{str(path)!r}, line 4: {token} is not" in str(caught.value)


def test_a_line_of_another_piece_keeps_its_number(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("1 0:1:1\n" * 100 + "1 0:1:z\n", encoding="utf-8")
    monkeypatch.setattr(libffm, "_PIECE_BYTES", 30)

    with pytest.raises(DataError, match=r"line 101: '0:1:z'"):
        read_rows(path)


def test_a_file_of_both_formats_is_refused(path: Path) -> None:
    path.write_text("1 1:1\n1 0:1:1\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"line 2: '0:1:1' is not INDEX:VALUE"):
        read_rows(path)


def test_entries_beyond_the_given_numbers_are_left_out(path: Path) -> None:
    path.write_text("1 0:1:1 0:9:1 5:1:1\n0 5:9:1\n1 1:0:2\n", encoding="utf-8")

    rows, labels = read_rows(path, num_slots=5, num_features=2)

    assert [0, 1, 1, 2] == rows.starts.tolist()
    assert [1, 0] == rows.slots.tolist()
    assert [1, 2] == rows.values.tolist()
    assert 3 == len(labels)


@pytest.mark.parametrize("text", [b"", b"\n\n", b"  \r\n"])
def test_a_file_without_rows_is_refused(path: Path, text: bytes) -> None:
    path.write_bytes(text)

    with pytest.raises(DataError, match="has no rows"):
        read_rows(path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        read_rows(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="directory"):
        read_rows(tmp_path)
    (tmp_path / "plain.gz").write_bytes(b"1 0:1:1\n")
    with pytest.raises(DataError, match="no gzip file"):
        read_rows(tmp_path / "plain.gz")
    (tmp_path / "short.gz").write_bytes(gzip.compress(b"1 0:1:1\n" * 100)[:-12])
    with pytest.raises(DataError, match="cut short"):
        read_rows(tmp_path / "short.gz")


@pytest.mark.parametrize(
    "given", [{"num_slots": 0}, {"num_features": 65537}, {"threads": 0}, {"num_slots": 1 << 31}]
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, given: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="it must be from 1 to"):
        read_rows(tmp_path / "rows.txt", **given)


def test_rows_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    rows = SparseRows(
        np.array([0, 1]),
        np.zeros(1, np.int32),
        np.array([np.nan], np.float32),
        np.zeros(1, np.uint16),
        1,
        1,
    )
    with pytest.raises(DataError, match="value is nan"):
        write_rows(tmp_path / "rows.txt", rows, [1])
    with pytest.raises(DataError, match="1 rows and labels of shape"):
        write_rows(tmp_path / "rows.txt", rows, [1, 0])
    assert not list(tmp_path.iterdir())


@pytest.mark.needs_data("libffm-sample")
@pytest.mark.parametrize("name", ["bigdata.tr.txt", "bigdata.te.txt"])
def test_libffms_own_sample_is_read(path: Path, data: Path, name: str) -> None:
    rows, labels = read_rows(data / "libffm-sample" / name)
    write_rows(path, rows, labels)
    again, _ = read_rows(path, num_slots=rows.num_slots, num_features=rows.num_features)

    assert (200, 18) == (len(rows), rows.num_features)
    assert [0, 1] == np.unique(labels).tolist()
    assert equal(rows, again)


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("suffix", [".model", ".model.gz"])
@pytest.mark.parametrize("shape", [(3, 2, 4), (5, 3, 1), (7, 1, 6), (5000, 2, 4)])
def test_a_model_comes_back_to_the_same_bits(
    tmp_path: Path, shape: tuple[int, int, int], suffix: str, is_binary: bool
) -> None:
    latent = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    file = tmp_path / f"ffm{suffix}"
    write_model(file, {"latent": latent}, normalize=True, is_binary=is_binary)

    parameters, normalize = read_model(file)

    assert latent.tobytes() == parameters["latent"].tobytes()
    assert normalize
    assert [0] == parameters["bias"].tolist()
    assert not parameters["linear"].any()
    assert shape[:1] == parameters["linear"].shape


def test_a_models_text_is_libffms(tmp_path: Path) -> None:
    file = tmp_path / "model.txt"
    write_model(
        file,
        {"latent": np.array([[[0.5, 1], [-2, 1e-7]]], np.float32), "bias": np.zeros(1)},
        normalize=False,
    )

    assert "n 1\nm 2\nk 2\nnormalization 0\nw0,0 0.5 1 \nw0,1 -2 1e-07 \n" == file.read_text()


@pytest.mark.parametrize("lanes", [1, 4])
def test_both_layouts_of_binary_models_are_read(tmp_path: Path, lanes: int) -> None:
    latent = np.arange(-8, 16, dtype=np.float32).reshape(3, 2, 4)
    groups = latent.reshape(3, 2, 4 // lanes, 1, lanes)
    cells = np.concatenate([groups, np.full_like(groups, 1.5)], axis=3)
    file = tmp_path / "model.bin"
    file.write_bytes(struct.pack("<iiib", 3, 2, 4, 1) + cells.tobytes())

    parameters, normalize = read_model(file)

    np.testing.assert_array_equal(latent, parameters["latent"])
    assert normalize


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n x\nm 1\n", r"line 1: 'n x' is not 'n' and a number"),
        ("n 1\nk 1\n", r"line 2: 'k 1' is not 'm' and a number"),
        ("n 1\nm 1\nk 1\nnormalization 2\n", r"line 4: .* from 0 to 1"),
        ("n 1\nm 2\nk 1\nnormalization 1\nw0,0 1\n", r"line 6: the end of the file"),
        ("n 1\nm 1\nk 2\nnormalization 1\nw0,0 1\n", r"line 5: 'w0,0 1' is not 'w0,0' and 2"),
        ("n 1\nm 1\nk 1\nnormalization 1\nw0,1 1\n", r"line 5: 'w0,1 1' is not 'w0,0'"),
        ("n 1\nm 1\nk 1\nnormalization 1\nw0,0 nan\n", r"line 5: 'w0,0 nan'"),
        ("n 1\nm 1\nk 1\nnormalization 1\nw0,0 z\n", r"line 5: 'w0,0 z'"),
        ("n 1\nm 1\nk 1\nnormalization 1\nw0,0 1\nw1,0 1\n", r"'w1,0 1' follows the last"),
        ("hello, world, this is text", r"neither the text nor the binary"),
        ("", r"neither the text nor the binary"),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "model.txt"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        read_model(file)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2, 3, 4, 1, 1, 1], "cut short"),
        ([1, 2, 3, 4, 1, 1, 1, 1, 9], "goes on"),
        ([1, 2, 3, 4, 0, 0, 0, 0], "below 1"),
        ([1, 2, 3, np.nan, 1, 1, 1, 1], "NaN"),
    ],
)
def test_a_broken_binary_model_is_named(tmp_path: Path, numbers: list[float], message: str) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(struct.pack("<iiib", 1, 1, 4, 0) + np.array(numbers, "<f4").tobytes())

    with pytest.raises(DataError, match=message):
        read_model(file)


def test_a_model_that_claims_more_than_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(struct.pack("<iiib", 2**31 - 1, 2**31 - 1, 2**31 - 1, 0))

    with pytest.raises(DataError, match="more than fit into memory"):
        read_model(file)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bias": np.ones(1), "latent": np.ones((1, 1, 1), np.float32)}, "'bias'"),
        ({"linear": np.ones(1), "latent": np.ones((1, 1, 1), np.float32)}, "linear=False"),
        ({"latent": np.ones((1, 1), np.float32)}, "shape"),
        ({"latent": np.ones((1, 1, 1), np.float16)}, "float16"),
        ({"latent": np.full((1, 1, 1), np.nan, np.float32)}, "NaN"),
        ({}, "shape"),
    ],
)
def test_what_libffm_cannot_hold_is_refused(tmp_path: Path, parameters, message) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with pytest.raises(DataError, match=message):
        write_model(tmp_path / "model.txt", parameters, normalize=True)
