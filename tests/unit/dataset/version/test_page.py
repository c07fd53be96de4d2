import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tadka.dataset.expression.kind import BOOL, DATE, FLOAT, INT, STRING, Kind
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.version.manifest import FileRecord, Manifest, TableRecord
from tadka.dataset.version.page import render
from tests.browser import picture_of
from tests.unit.dataset.made import column, manifest_of

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'"
VOID = {"meta"}


class Elements(HTMLParser):
    """Elements of a page, whether they are closed, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def example(**values: Any) -> Manifest:
    statistics = {
        "user": ColumnStatistics(
            num_distinct=201_234, min=1, max=1000, mean=493.2, top=((7, 3),),
            histogram_edges=tuple(range(0, 1050, 50)), histogram_counts=(50,) * 20,
        ),
        "age": ColumnStatistics(num_null=250, num_nan=1, num_distinct=70, min=0.0, max=1.5),
        "city": ColumnStatistics(
            num_null=1, num_distinct=1200, top=(("東京", 500), ("", 200), ("x" * 300, 9))
        ),
        "day": ColumnStatistics(num_distinct=31, min="2026-01-01", max="2026-01-31"),
        "tags": ColumnStatistics(num_null=1000),
        "label": ColumnStatistics(num_distinct=2, mean=0.04, top=((False, 960), (True, 40))),
        "split": ColumnStatistics(num_distinct=2, top=(("train", 800), ("valid", 200))),
    }  # fmt: skip
    made: dict[str, Any] = {
        "num_rows": 1000,
        "columns": (
            column("user"),
            column("age", FLOAT, is_nullable=True, is_inexact=True),
            column("city", STRING),
            column("day", DATE),
            column("tags", Kind("list", STRING)),
            column("label", BOOL, "label"),
            column("split", STRING, "split"),
        ),
        "statistics": statistics,
        "files": (FileRecord(path="data/a.parquet", num_rows=1000, num_bytes=3 << 20),),
        "tables": {
            "Imp": TableRecord(
                source="s3://log/imp/{dt}", num_rows=10**6, num_bytes=2**30,
                fingerprint={"level": "footer"},
            ),
            "Ad": TableRecord(source={"kind": "delta", "uri": "s3://ad"}, snapshot="v12"),
        },
        "checks": (
            {"name": "RowCount", "status": "passed", "message": "1,000 rows."},
            {"name": "NullShare(age)", "status": "warned", "message": "25 % of 'age' is null."},
        ),
        "code": {"commit": "a" * 40, "is_dirty": True, "module": "x.py"},
    }  # fmt: skip
    return manifest_of(**{**made, **values})


def test_page_is_well_formed_and_loads_nothing() -> None:
    page = render(example(), tags=["2026-01"], labels={"train": (800, 0.04)})
    found = Elements(page)

    assert [] == found.open
    assert 0 == found.count("script") == found.count("link") == found.count("img")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=|url\(", page)


def test_what_matters_is_said() -> None:
    manifest = example()
    text = Elements(render(manifest, tags=["2026-01", "best"], labels={"all": (1000, 0.0413)})).text

    for part in (
        "CtrTrain", "2026-01", "best", manifest.id, "1,000", "3 MiB", "duckdb 2.0.0",
        "aaaaaaaaaaaa with changes", "201k", "493.2", "25 %", "0.1 % NaN", "東京", "empty text",
        "50 %", "2026-01-01 … 2026-01-31", "bool, label", "float64, not in the output hash",
        "list[string]", "100 %", "0.0413", "mean of label", "RowCount", "warned",
        "25 % of 'age' is null.", "s3://log/imp/{dt}", "1,000,000", "1 GiB", "footer",
        "kind delta, uri s3://ad, snapshot v12", "rows: imp", "2026-02-01",
    ):  # fmt: skip
        assert part in text, part
    assert "portable" not in text
    assert "no: other engines may give other rows" in render(example(is_portable=False))


def test_histogram_has_a_bar_for_each_bin() -> None:
    edges, counts = (0.0, 1.0, 2.0, 4.0), (100, 0, 50)
    statistics = {"user": ColumnStatistics(histogram_edges=edges, histogram_counts=counts)}
    found = Elements(render(example(statistics=statistics)))
    bars = [attributes for tag, attributes in found.found if tag == "rect"]

    assert ["40.0", "0.0", "20.0"] == [bar["height"] for bar in bars]
    assert "2 to 4: 50 rows" in found.text


def test_times_at_the_ends_of_a_histogram_are_short() -> None:
    edges = ("2026-01-01T00:00:00.034300+00:00", "2026-01-31T23:59:59.113074+00:00")
    statistics = {"user": ColumnStatistics(histogram_edges=edges, histogram_counts=(3,))}
    found = Elements(render(example(statistics=statistics)))

    assert "2026-01-01 00:002026-01-31 23:59" in found.text
    assert f"{edges[0]} to {edges[1]}: 3 rows" in found.text


@pytest.mark.parametrize(
    ("num_distinct", "tag"), [(2, "em"), (5, "em"), (6, "rect"), (None, "rect")]
)
def test_few_values_are_named_rather_than_binned(num_distinct: int | None, tag: str) -> None:
    statistics = {
        "user": ColumnStatistics(
            num_distinct=num_distinct, top=((1, 9), (2, 1)), histogram_edges=(1, 2, 3),
            histogram_counts=(9, 1),
        )
    }  # fmt: skip
    found = Elements(render(example(statistics=statistics)))

    assert {"em": 2, "rect": 2}[tag] == found.count(tag)
    assert 2 == found.count("em") + found.count("rect")


def test_all_text_is_escaped() -> None:
    statistics = {
        EVIL: ColumnStatistics(top=((EVIL, 5), (EVIL * 3, 1))),
        "b": ColumnStatistics(histogram_edges=(EVIL, EVIL), histogram_counts=(1,), mean=EVIL),
        "c": ColumnStatistics(min=EVIL, max=EVIL),
    }
    manifest = example(
        name=EVIL,
        definition=EVIL,
        definition_digest=EVIL,
        output_hash=EVIL,
        parameters={EVIL: EVIL},
        engine={"name": EVIL, "version": EVIL},
        columns=(column(EVIL, INT, "label"), column("b"), column("c")),
        statistics=statistics,
        tables={
            EVIL: TableRecord(source={"kind": EVIL}, snapshot=EVIL, fingerprint={"level": EVIL})
        },
        checks=tuple({"name": EVIL, "status": s, "message": EVIL} for s in (EVIL, "failed")),
        code={"commit": EVIL},
        format=EVIL,
        created_at=EVIL,
    )
    found = Elements(render(manifest, tags=[EVIL], labels={EVIL: (1, 0.5)}))

    assert [] == found.open
    assert 0 == found.count("script") == found.count("img")
    assert not [
        name for _, attributes in found.found for name in attributes if name.startswith("on")
    ]


def test_page_of_nothing_is_a_page() -> None:
    manifest = manifest_of(columns=(column("a"),), parameters={}, seconds={}, engine={})

    assert [] == Elements(render(manifest)).open


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", 1e308, -1e-300, 0, -(2**63)])
def test_extreme_numbers_are_shown(value: Any) -> None:
    statistics = {
        "user": ColumnStatistics(
            num_distinct=9, min=value, max=value, mean=value, top=((value, 1),),
            histogram_edges=(value, value), histogram_counts=(3,),
        )
    }  # fmt: skip

    assert [] == Elements(render(example(statistics=statistics))).open


@pytest.mark.needs_chromium
def test_a_browser_draws_bars_and_nothing_is_cut(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(render(example(), labels={"train": (800, 0.5)}), encoding="utf-8")

    picture, _ = picture_of(chromium, page, 900, 1500)

    assert (900, 1500) == (picture.width, picture.height)
    blue, vermilion = b"\x00\x72\xb2", b"\xd5\x5e\x00"
    counts = picture.colours
    right = max(
        x // 3
        for line in picture.lines
        for x in range(0, len(line), 3)
        if line[x : x + 3] in {blue, vermilion}
    )
    assert counts[blue] > 20 * 10 * 30, "the histogram of 20 bars, and those of values"
    assert counts[vermilion] > 72 * 3, "the bar of the column without any value"
    assert 780 < right < 880, "the last bar of the histogram is in sight"
