import io

from rich.console import Console

from tadka.models.data.report import CheckReport, Finding, print_report


def test_table_shows_findings_and_no_markup_of_values() -> None:
    out = io.StringIO()
    finding = Finding(
        severity="error",
        check="OneOf",
        column="sex",
        part="train",
        message="1 of 2 rows.",
        rows=((1, "[red]X[/red]"),),
    )
    report = CheckReport(findings=(finding,), passed=("RowCount",), measured={"rows": {"train": 2}})

    print_report(report, Console(file=out, width=120))

    shown = out.getvalue()
    assert "severity" in shown
    assert "OneOf(sex)" in shown
    assert "First rows: 1 ('[red]X[/red]')." in shown
    assert "2 train rows: 1 errors, 0 warnings, 1 checks passed" in shown


def test_no_table_where_nothing_was_found() -> None:
    out = io.StringIO()

    print_report(CheckReport(measured={"rows": {"train": 2}}), Console(file=out))

    assert ["2 train rows: 0 errors, 0 warnings, 0 checks passed"] == out.getvalue().splitlines()


def test_long_values_are_cut() -> None:
    finding = Finding(severity="warn", check="OneOf", message="x.", rows=((0, "a" * 100),))

    assert len(str(finding)) < 120
