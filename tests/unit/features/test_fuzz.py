"""The fuzz target of tests/fuzz: its corpus and a short run, and that it sees an error at all."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.features import Features
from tadka.features.plan import Plan
from tadka.features.program import Code
from tests.unit.features.rows import Everything

ROOT = Path(__file__).resolve().parents[3]
FUZZ = ROOT / "tests" / "fuzz"
CORPUS = sorted((FUZZ / "corpus").iterdir())
OTHER_NAMES = {"ITEMS": "LIST", "REQUIRED": "REQUIRE", "LENGTH_OF": "LENGTH"}
KINDS = {"TIME": "datetime", "TEXT": "str", "INT": "int", "FLOAT": "float", "BOOL": "bool"}


def build(folder: Path, *flags: str) -> Path:
    done = subprocess.run(
        [ROOT / "scripts" / "fuzz", "build", folder, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return folder / "message"


def run(target: Path, *arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [target, f"-artifact_prefix={target.parent}/", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        # Leaks are scripts/fuzz's business, which knows whether they can be looked for here.
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.needs_compiler
def test_no_input_of_the_corpus_breaks_the_engine(target: Path) -> None:
    code, output = run(target, *CORPUS)

    assert 0 == code, output


@pytest.mark.needs_compiler
def test_new_inputs_do_not_break_the_engine(target: Path, tmp_path: Path) -> None:
    code, output = run(target, "-runs=4000", "-seed=1", tmp_path, FUZZ / "corpus")

    assert 0 == code, output
    assert any(tmp_path.iterdir()), "no input reached anything new"


@pytest.mark.needs_compiler
def test_a_read_past_the_end_is_reported_with_its_input(tmp_path: Path) -> None:
    broken = build(tmp_path, "-DPLANT_ERROR")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(b"\x08\x05")

    code, output = run(broken, "-runs=100", "-seed=1", corpus)

    assert 0 != code
    assert "AddressSanitizer: heap-buffer-overflow" in output
    (crash,) = tmp_path.glob("crash-*")
    assert str(crash) in output
    assert 0 != run(broken, crash)[0]


@pytest.mark.needs_compiler
def test_an_option_or_path_that_is_unknown_is_named(target: Path, tmp_path: Path) -> None:
    code, output = run(target, tmp_path / "nothing")

    assert 0 != code
    assert "nothing" in output


def test_a_time_that_is_no_number_is_refused() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "fuzz", "long"], capture_output=True, text=True, check=False
    )

    assert 2 == done.returncode
    assert "'long' is no number of seconds" in done.stderr


def test_a_missing_compiler_is_said_with_what_to_install() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "fuzz", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CC": "no-such-compiler"},
    )

    assert 2 == done.returncode
    assert "apt-get install gcc" in done.stderr


def test_the_corpus_is_small() -> None:
    assert 20 <= len(CORPUS) <= 60
    assert max(file.stat().st_size for file in CORPUS) < 1024


def test_operations_of_the_target_have_the_numbers_of_the_machine() -> None:
    source = (FUZZ / "message.c").read_text(encoding="utf-8")
    (listed,) = re.findall(r"enum \{\s*(RETURN = 0,.*?)\};", source, re.DOTALL)

    codes = {
        OTHER_NAMES.get(name, name): int(number)
        for name, number in re.findall(r"(\w+) = (\d+)", listed)
    }

    assert {name: int(Code[name]) for name in codes} == codes


def test_fields_of_the_target_are_those_of_the_class_of_the_other_tests() -> None:
    source = (FUZZ / "message.c").read_text(encoding="utf-8")
    (listed,) = re.findall(r"near_fields\[NUM_FIELDS\] = \{(.*?)\};", source, re.DOTALL)

    fields = re.findall(r"(ONE|OPTIONAL|LIST)\((\d+), TD_(\w+)\)", listed)

    expected = [
        (f.number, f.type, f.is_list, f.is_optional) for f in Everything.definition().fields
    ]
    assert expected == [
        (int(number), KINDS[kind], shape == "LIST", shape == "OPTIONAL")
        for shape, number, kind in fields
    ]


# ---------------------------------------------------------------- what it found


class Site(Features):
    site: str


def test_texts_beyond_a_columns_last_offset_are_refused_before_they_are_read() -> None:
    """The first block's offsets increase; those after it fall back to where the bytes end."""
    pytest.importorskip("tadka.features.native")
    offsets = np.arange(301, dtype=np.int32) * 1000
    offsets[200:] = 5
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"abcde")]
    column = pa.Array.from_buffers(pa.string(), 300, buffers)

    plan = Plan(Site, Site.definition(), Site._declaration, native=True)

    with pytest.raises(DataError, match=r"Row 0: field 'site' has offsets that decrease"):
        plan.encode(pa.record_batch({"site": column}))
