import json
import math

import pytest

from tadka.cli.output import console, echo_json, print_table, shown


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"auc": math.nan, "history": [(1, math.inf), (2, 0.5)]})

    assert {"auc": None, "history": [[1, None], [2, 0.5]]} == json.loads(capsys.readouterr().out)


def test_a_table_takes_no_cell_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "rows"), [("[b]", "7"), ("item", "12")], right=("rows",))

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert ["name  rows", "[b]      7", "item    12"] == lines


def test_a_file_is_as_wide_as_is_asked() -> None:
    assert (120, 160) == (console().width, console(160).width)


def test_values_are_shown_as_json_and_texts_as_they_are() -> None:
    assert ["", "fm", "[1, 2]", "true"] == [shown(one) for one in (None, "fm", [1, 2], True)]
