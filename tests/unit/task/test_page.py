import re
import time
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import DataError
from tadka.task.define.run import Run
from tadka.task.define.task import Task
from tadka.task.engine.build import build
from tadka.task.engine.report import BuildError
from tadka.task.page import graph_page
from tadka.task.plan import plan
from tests.browser import picture_of
from tests.unit.task.look.made import (
    AT,
    EVIL,
    Elements,
    Fit,
    Named,
    Shop,
    chain,
    execution,
    fit,
    mixed,
    plan_of,
)


def page_of(plan: Any, **given: Any) -> str:
    return graph_page(plan, **{"title": "shop.tasks:Fit", "made_at": AT, **given})


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = page_of(plan_of(fit(), step=mixed))
    found = Elements(page)

    assert [] == found.open
    assert 0 == found.count("script") == found.count("link") == found.count("img")
    assert "default-src 'none'" in page
    assert not re.search(r"src=|url\(|https?://", page)
    assert all(href.startswith("#") for href in found.values("href"))


def test_every_link_leads_somewhere_and_every_name_is_there_once() -> None:
    for task in (fit(), fit(30), fit(150), chain(60)):
        found = Elements(page_of(plan_of(task, step=mixed)))
        names = found.values("id")

        assert len(set(names)) == len(names)
        assert {href[1:] for href in found.values("href")} <= set(names)


def test_a_card_opens_where_its_name_stands_inside() -> None:
    found = Elements(page_of(plan_of(fit())))
    kinds = {attributes.get("id") or "": tag for tag, attributes in found.found}

    assert {"div"} == {tag for name, tag in kinds.items() if name.startswith("t-")}


def test_facts_and_statuses_are_said() -> None:
    plan = plan_of(fit(), step=mixed)
    text = " ".join(Elements(page_of(plan)).text.split())

    for part in ("tasks 8", "classes 4", "waiting 1", "other code 1", "stored 5", "to run 1",
                 "stored, size 18 MiB", "1 not known", "page made 2026-09-21 14:13:20 UTC",
                 "input days[1] is made before",
                 "code: function shop.helpers.clean changed and 1 more",
                 "Figures in italics are of the result before."):  # fmt: skip
        assert part in text, part


def test_a_small_graph_has_a_box_and_a_card_for_each_task() -> None:
    found = Elements(page_of(plan_of(fit(), step=mixed)))

    assert 8 == found.count("rect", "box")
    assert "300 MiB of memory at most" in found.text
    assert 9 == found.count("path", "link")
    assert 8 == found.count("details", "card")
    assert 0 == found.count("details", "folded")


def test_a_larger_graph_is_drawn_by_class_and_one_by_one() -> None:
    page = page_of(plan_of(fit(60), step=mixed))
    found = Elements(page)

    assert 4 + 122 == found.count("rect", "box")
    assert 1 == found.count("details", "folded")
    assert "Joined \u00d7 60" in found.text
    assert "19 to run, 22 other code, 19 stored" in found.text


def test_a_large_graph_is_drawn_by_class_and_says_what_is_left_out() -> None:
    page = page_of(plan_of(fit(400), step=mixed))
    found = Elements(page)
    text = " ".join(found.text.split())

    assert 4 == found.count("rect", "box")
    assert 200 == found.count("details", "card")
    assert "200 of 802 tasks have a card" in text
    assert "500 of 802 tasks, what needs a look first." in text
    assert "they are too many" in text
    for cls in (Fit, Shop):
        assert re.search(
            rf'<details class="card [a-z]+"><summary>.{{1,500}}<b><bdi>{cls.__name__}<', page
        )


def test_what_failed_is_first_and_marked_by_more_than_colour() -> None:
    plan = plan_of(fit(400), step=mixed)
    failing = [node for node in plan.graph if type(node.task).__name__ == "Joined"][-1]
    node = next(n for n in plan.graph if plan.steps[n.id].status == "runs")
    runs = {n.id: execution(n, status="failed", error="Traceback\nKeyError: 'no'") for n in (node,)}
    page = page_of(plan, executions=runs, log=lambda _: "")
    found = Elements(page)

    assert failing is not node
    assert 1 == found.count("details", "failed")
    assert 1 == found.count("rect", "failed")
    rows = re.findall(r"<tr><td>.*?</tr>", page[page.index('id="tasks"') :])
    assert "failed" in rows[1], "beside what is wanted it comes first"
    assert "KeyError: &#x27;no&#x27;" in rows[1]


def test_one_task_and_nothing_stored() -> None:
    plan = plan_of(
        Shop(), step=lambda node: type(mixed(node))(node, "runs", None, ("never built",))
    )
    found = Elements(page_of(plan))

    assert [] == found.open
    assert 1 == found.count("rect", "box")
    assert 1 == sum(tag == "details" and "open" in a for tag, a in found.found)
    assert "never built" in found.text


def test_so_many_links_that_nothing_can_be_seen_are_drawn_by_class() -> None:
    joined = fit(60).days
    fits = [Fit(days=joined, lr=number / 100) for number in range(60)]
    found = Elements(page_of(plan_of(*fits)))

    assert 4 == found.count("rect", "box")
    assert "too many links" in found.text


def test_so_many_classes_that_nothing_can_be_seen_have_no_picture() -> None:
    tasks: list[Any] = [
        type(f"Made{number}", (Shop,), {"__module__": __name__})() for number in range(300)
    ]
    found = Elements(page_of(plan_of(*tasks)))

    assert 0 == found.count("rect", "box")
    assert "No picture: 300 classes" in found.text


def test_all_text_is_escaped() -> None:
    names = (EVIL, "\u202eevil مرحبا", "😀👨‍👩‍👧" * 9, "\ud800", "a\nb\0", "x" * 5000, "")
    task = None
    for name in names:
        task = Named(name=name, before=task)
    assert task is not None
    plan = plan_of(task, step=lambda node: type(mixed(node))(node, "runs", None, (EVIL,)))
    runs = {n.id: execution(n, status="failed", run=EVIL, error=EVIL, log=EVIL) for n in plan.graph}
    page = page_of(plan, title=EVIL + "\ud800", executions=runs, log=lambda _: EVIL)
    found = Elements(page)

    page.encode()
    assert [] == found.open
    assert 0 == found.count("script") == found.count("img")
    assert not [name for _, a in found.found for name in a if name.startswith("on")]


def test_ten_thousand_tasks_are_a_page_within_seconds() -> None:
    plan = plan_of(chain(10_000))
    began = time.perf_counter()
    page = page_of(plan)

    assert time.perf_counter() - began < 10
    assert len(page) < 3_000_000
    assert "Named \u00d7 10,000 \u21bb" in page
    assert "some need others of their class" in page


class Half(Task[int]):
    number: int

    def run(self, run: Run) -> int:
        print("halving", self.number)
        run.log(half=self.number / 2)
        if self.number % 2:
            raise DataError(f"{self.number} is odd.")
        return self.number // 2


def test_a_workspace_gives_what_its_runs_did(tmp_path: Path) -> None:
    halves = [Half(number=8), Half(number=7)]
    with pytest.raises(BuildError):
        build(halves, workspace=tmp_path)

    found = Elements(graph_page(plan(halves, workspace=tmp_path), workspace=tmp_path))

    assert "Skip the picture Half tasks 2" in found.text
    for part in ("failed 1", "stored 1", "half 4", "half 3.5", "7 is odd.", "halving 8",
                 "halving 7"):  # fmt: skip
        assert part in found.text, part


def test_the_heading_names_what_is_wanted() -> None:
    tasks = [fit(1), Shop(), chain(1)]

    assert "<h1><bdi>Fit, Shop, Named</bdi></h1>" in graph_page(plan_of(*tasks))


# ---------------------------------------------------------------- in a browser


@pytest.mark.needs_chromium
def test_a_browser_draws_the_graph_and_has_nothing_to_complain_of(
    chromium: str, tmp_path: Path
) -> None:
    plan = plan_of(fit(), step=mixed)
    bad = next(node for node in plan.graph if plan.steps[node.id].status == "runs")
    runs = {bad.id: execution(bad, status="failed", error=f"KeyError: {EVIL}", log="logs/x.txt")}
    page = tmp_path / "graph.html"
    page.write_text(page_of(plan, executions=runs, log=lambda _: EVIL), encoding="utf-8")

    picture, complaints = picture_of(chromium, page, 1280, 1000)
    found = picture.colours

    assert [] == complaints
    green, red, amber = b"\x00\x9e\x73", b"\xb3\x26\x1e", b"\x9a\x6a\x00"
    assert found[green] > 600, "frames and signs of stored tasks"
    assert found[red] > 1000, "the frame of what failed is thick"
    assert found[amber] > 200, "the dotted frame of other code"


@pytest.mark.needs_chromium
def test_a_link_to_a_card_opens_it(chromium: str, tmp_path: Path) -> None:
    plan = plan_of(chain(2))
    page = tmp_path / "graph.html"
    page.write_text(page_of(plan), encoding="utf-8")
    blue = b"\x00\x72\xb2"

    closed, _ = picture_of(chromium, page, 1280, 1000)
    (root,) = plan.graph.roots
    shown, complaints = picture_of(chromium, page, 1280, 2000, f"#t-{root.id[:12]}")

    assert [] == complaints
    assert closed.colours[blue] == 0, "histograms are in cards, and no card is open"
    assert shown.colours[blue] > 500


@pytest.mark.needs_chromium
def test_the_console_of_a_browser_is_heard(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "graph.html"
    text = page_of(plan_of(chain(1))).replace("</main>", "<script>1</script></main>")
    page.write_text(text, encoding="utf-8")

    _, complaints = picture_of(chromium, page, 1280, 1000)
    assert len(complaints) == 1, "the policy of the page refuses a script"
