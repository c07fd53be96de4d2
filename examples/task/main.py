"""Two pipelines over real data, built twice: what runs the second time, why, and a page to look at.

    python examples/task/main.py                    # data in ../shared/data, or TADKA_DATA
    python examples/task/main.py --workspace work   # keep results; the next time nothing runs
    python examples/task/main.py --workers 2

The program stops when a result is not what it should be, or when more runs than is needed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from census import census_report
from films import film_report

from tadka.task import Build, Report, Store, Task, explain, graph_page, plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TADKA_DATA", "../shared/data"))
    )
    parser.add_argument(
        "--workspace", type=Path, help="where results are kept; a scratch folder unless given"
    )
    parser.add_argument(
        "--workers", type=int, help="processes at once; this one alone unless given"
    )
    parser.add_argument(
        "--page", type=Path, help="where to write the graph (graph.html in the workspace)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    folders = [given.data / "ml-100k", given.data / "adult"]
    for folder in folders:
        if not folder.is_dir():
            sys.exit(f"There is no {folder}. Say where the data lies: --data DIR, or TADKA_DATA.")
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
        found = run(folders, given.workspace or Path(scratch), given.workers, given.page)
    print(json.dumps(found, indent=2) if given.json else told(found))


def run(
    folders: Sequence[Path], workspace: Path, workers: int | None, page: Path | None
) -> dict[str, Any]:
    roots: list[Task[Any]] = [film_report(folders[0]), census_report(folders[1])]
    first = build(roots, workspace, workers)
    films, census = first.value(roots[0]), first.value(roots[1])

    again = build(roots, workspace, workers)
    expect("nothing runs twice", not again.counts.get("ran"))

    changed: list[Task[Any]] = [film_report(folders[0], penalty=100.0), roots[1]]
    why = str(explain(changed[0], workspace=workspace))
    third = build(changed, workspace, workers)
    ran = {
        type(result.task).__name__ for result in third.results.values() if result.status == "ran"
    }
    expect("only what the penalty changes runs", ran <= {"Weights", "FilmReport"})

    page = page or workspace / "graph.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        graph_page(plan(changed, workspace=workspace), workspace=workspace), encoding="utf-8"
    )
    expect("people are told apart", census["accuracy"] > 0.83)
    expect("stars are foreseen", films["rmse"] < 0.98)
    return {
        "films": films,
        "census": census,
        "first": dict(first.counts),
        "again": dict(again.counts),
        "changed": sorted(ran),
        "why": why,
        "by_class": Counter(type(task.task).__name__ for task in first.results.values()),
        "seconds": [round(report.seconds, 2) for report in (first, again, third)],
        "page_bytes": page.stat().st_size,
    }


def build(roots: Sequence[Task[Any]], workspace: Path, workers: int | None) -> Report:
    with Store(workspace) as store:
        report = Build(roots, store=store, workers=workers).run()
        report.raise_failures()
        return report


def expect(what: str, is_so: bool) -> None:
    if not is_so:
        sys.exit(f"It should be that {what}, and it is not.")


def told(found: dict[str, Any]) -> str:
    films, census, seconds = found["films"], found["census"], found["seconds"]
    ran = f"{', '.join(found['changed'])} ran" if found["changed"] else "it was there already"
    return "\n".join(
        [
            f"films:  RMSE {films['rmse']:.4f}, of the mean alone {films['rmse_of_mean']:.4f}",
            f"census: accuracy {census['accuracy']:.4f}, best penalty {census['penalty']:g}",
            f"first build {seconds[0]:.2f} s; again {seconds[1]:.2f} s, and nothing ran",
            f"with another penalty for films {seconds[2]:.2f} s: {ran}. Why, told before:",
            *(f"    {line}" for line in found["why"].splitlines()),
        ]
    )


if __name__ == "__main__":
    main()
