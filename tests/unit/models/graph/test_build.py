"""Building graphs, in memory and out of core, against a plain dictionary of edges."""

import json
import pickle
import resource
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models.graph import bucket, build
from tadka.models.graph import edges as edges_module
from tadka.models.graph.build import build_graph, graph_of
from tadka.models.graph.csr import Graph, index_type
from tadka.models.graph.run import key_bits

Adjacent = list[list[tuple[int, float]]]


def plain(
    edges: list[tuple[int, int, float]],
    num_nodes: int,
    *,
    symmetric: bool,
    unique: bool,
    self_loops: bool,
) -> Adjacent:
    rows: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for src, dst, weight in edges:
        if self_loops and src == dst:
            continue
        rows[src].append((dst, weight))
        if symmetric and src != dst:
            rows[dst].append((src, weight))
    for row in range(num_nodes if self_loops else 0):
        rows[row].append((row, 1.0))
    if unique:
        for row, ends in rows.items():
            sums: dict[int, float] = defaultdict(float)
            for end, weight in ends:
                sums[end] += weight
            rows[row] = list(sums.items())
    return [sorted(rows[row]) for row in range(num_nodes)]


def listed(graph: Graph) -> Adjacent:
    weight = np.ones(graph.num_edges) if graph.weight is None else graph.weight
    bounds = graph.indptr.tolist()
    return [
        sorted(zip(graph.indices[a:b].tolist(), weight[a:b].tolist(), strict=True))
        for a, b in pairwise(bounds)
    ]


def equal(first: Graph, second: Graph) -> bool:
    pairs: list[tuple[Any, Any]] = [(first.indptr, second.indptr), (first.indices, second.indices)]
    if first.weight is not None and second.weight is not None:
        pairs.append((first.weight, second.weight))
    return (first.weight is None) == (second.weight is None) and all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs
    )


def random_edges(seed: int, num_nodes: int, num_edges: int) -> tuple[Any, Any, Any]:
    """Ends crowd at the first nodes; weights are whole, so that sums are exact."""
    rng = np.random.default_rng(seed)
    src, dst = (num_nodes * rng.random((2, num_edges)) ** 4).astype(np.int64)
    return src, dst, rng.integers(1, 5, num_edges).astype(np.float64)


OPTIONS = st.fixed_dictionaries(
    {"symmetric": st.booleans(), "unique": st.booleans(), "self_loops": st.booleans()}
)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4).map(float))),
    OPTIONS,
    st.booleans(),
)
@settings(deadline=None)
def test_in_memory_equals_a_dictionary(
    edges: list[tuple[int, int, float]], options: dict[str, bool], weighted: bool
) -> None:
    src, dst, weight = zip(*edges, strict=True) if edges else ((), (), ())
    if not weighted and not options["unique"]:
        edges = [(s, d, 1.0) for s, d, _ in edges]
    ends = np.array(src, np.int64), np.array(dst, np.int64)

    graph = graph_of(*ends, 7, weight=np.array(weight) if weighted else None, **options)

    expected = plain(edges, 7, **options)
    if weighted:
        assert expected == listed(graph)
    else:
        assert [[end for end, _ in row] for row in expected] == [
            graph.neighbours(row).tolist() for row in range(7)
        ]
    for row in range(7):
        assert sorted(graph.neighbours(row)) == graph.neighbours(row).tolist()


@given(
    seed=st.integers(0, 2**32),
    options=OPTIONS,
    weighted=st.booleans(),
    most_keys=st.integers(5, 200),
    num_nodes=st.integers(1, 300),
)
@settings(max_examples=25, deadline=None)
def test_out_of_core_equals_in_memory(
    seed: int,
    options: dict[str, Any],
    weighted: bool,
    most_keys: int,
    num_nodes: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    src, dst, weight = random_edges(seed, num_nodes, 300)
    values = weight if weighted else None
    folder = tmp_path_factory.mktemp("graph")

    with pytest.MonkeyPatch.context() as patch:  # a budget of so many edges: deals several times
        patch.setattr(build, "_LEAST_MEMORY", 0)
        patch.setattr(bucket, "_NUM_RANGES", 8)
        patch.setattr(bucket, "_MOST_BUCKETS", 3)
        patch.setattr(bucket, "_ROW_BLOCK", 16)
        patch.setattr(edges_module, "_LOOPS", 16)
        built = build_graph(
            (src, dst), folder / "g", weight=values, memory=64 * most_keys, **options
        )

    expected = graph_of(src, dst, weight=values, **options)
    # one edge that is repeated more often than fits keeps its weights in the order of the input
    assert listed(expected) == listed(built)
    assert np.array_equal(expected.indices, built.indices)
    assert {"graph.json", "indices.bin", "indptr.bin"} | (
        {"weight.bin"} if weighted else set()
    ) == {path.name for path in (folder / "g").iterdir()}
    Graph.open(folder / "g", verify=True)


def test_one_edge_more_often_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_LEAST_MEMORY", 0)
    src, dst = np.full(1000, 3), np.full(1000, 5)
    many = build_graph((src, dst), tmp_path / "many", memory=6400)
    one = build_graph((src, dst), tmp_path / "one", weight=np.ones(1000), unique=True, memory=6400)

    assert [0, 0, 0, 0, 1000, 1000, 1000] == many.indptr.tolist()
    assert {5} == set(many.indices.tolist())
    assert one.weight is not None
    assert ([5], [1000.0]) == (one.indices.tolist(), one.weight.tolist())


def test_nodes_beyond_32_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src, dst, _ = random_edges(1, 100, 500)
    expected = graph_of(src, dst, 110)
    monkeypatch.setattr(bucket, "key_bits", lambda _: 60)  # a bucket then has at most 8 rows

    built = build_graph((src, dst), tmp_path / "g", num_nodes=110)

    assert equal(expected, built)


def test_index_types_follow_the_number_of_nodes() -> None:
    assert [np.int32, np.int64] == [index_type(n) for n in (2**31 - 1, 2**31)]
    assert [1, 1, 1, 2, 31, 32] == [key_bits(n) for n in (0, 1, 2, 3, 2**31, 2**31 + 1)]
    with pytest.raises(ConfigError, match="at most 2\\^35"):
        key_bits(2**35 + 1)
    with pytest.raises(ConfigError, match="use build_graph above 2\\^31"):
        graph_of([0], [0], 2**32)


def test_from_parquet_files_in_small_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_LEAST_MEMORY", 0)
    src, dst, weight = random_edges(2, 50, 1000)
    table = pa.table({"w": weight, "to": dst.astype(np.int32), "from": src.astype(np.uint16)})
    (tmp_path / "in").mkdir()
    pq.write_table(table[:600], tmp_path / "in" / "a.parquet", row_group_size=500)
    pq.write_table(table[600:], tmp_path / "in" / "b.parquet")

    built = build_graph(
        tmp_path / "in",
        tmp_path / "out",
        columns=("from", "to"),
        weight="w",
        num_nodes=60,
        symmetric=True,
        memory="16K",
    )

    assert equal(graph_of(src, dst, 60, weight=weight, symmetric=True), built)
    assert built.is_symmetric
    assert 60 == built.num_nodes


def test_from_csv_and_a_list_of_files(tmp_path: Path) -> None:
    for name, text in {"a": "src,dst\n0,1\n", "b": "src,dst\n2,0\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)

    built = build_graph([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "g")

    assert [[1], [], [0]] == [built.neighbours(row).tolist() for row in range(3)]


def test_an_empty_graph(tmp_path: Path) -> None:
    none: tuple[list[int], list[int]] = ([], [])
    built = build_graph(none, tmp_path / "g", num_nodes=3, weight=[])
    nothing = build_graph(none, tmp_path / "h")

    assert (3, 0, [0, 0, 0, 0]) == (built.num_nodes, built.num_edges, built.indptr.tolist())
    assert (0, 0) == (nothing.num_nodes, nothing.num_edges)
    assert equal(graph_of(*none, 3, weight=[]), built)


def test_a_number_of_nodes_of_numpy() -> None:
    number: Any = np.int64(5)

    assert 5 == graph_of([0], [1], number).num_nodes


def test_pickles_by_its_folder(tmp_path: Path) -> None:
    built = build_graph(([0, 1], [1, 2]), tmp_path / "g")
    text = pickle.dumps(built)

    assert len(text) < 300
    copy = pickle.loads(text)
    assert isinstance(copy.indices, np.memmap)
    assert equal(built, copy)


def write_parquet(folder: Path, **columns: Any) -> str:
    path = folder / "edges.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"src": [0], "to": [1]}, {}, "edges.parquet' has no column 'dst'"),
        ({"src": [0.0], "dst": [1]}, {}, "edges.parquet', column 'src' has the type double"),
        ({"src": ["a"], "dst": [1]}, {}, "whole numbers: rows of a vocabulary"),
        ({"src": [0, None], "dst": [1, 1]}, {}, "edges.parquet', column 'src' has 1 nulls"),
        ({"src": [0], "dst": [-2]}, {}, "edges.parquet' has the node -2; nodes are from 0"),
        ({"src": [0], "dst": [9]}, {"num_nodes": 9}, "edges.parquet' has the node 9; .* one is 8"),
        ({"src": [0], "dst": [1], "w": [np.nan]}, {"weight": "w"}, "a weight that is not finite"),
        ({"src": [0], "dst": [1], "w": ["x"]}, {"weight": "w"}, "'w' has the type string; .* num"),
    ],
)
def test_bad_files_are_named(
    columns: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        build_graph(write_parquet(tmp_path, **columns), tmp_path / "g", **options)
    assert ["edges.parquet"] == [path.name for path in tmp_path.iterdir()]


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write_parquet(tmp_path, src=rng.integers(0, 9999, 5000), dst=np.zeros(5000, np.int64))
    data = bytearray(Path(path).read_bytes())
    data[4:2000] = bytes(1996)  # pages; the footer stays
    Path(path).write_bytes(data)

    with pytest.raises(DataError, match=r"edges\.parquet' cannot be read as Parquet"):
        build_graph(path, tmp_path / "g")
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        (([0, 1], [1]), {}, r"edges have shapes \(2,\), \(1,\)"),
        (([0.5], [1.0]), {}, "must be whole numbers"),
        (([0], [1]), {"weight": ["a"]}, "weight has the type <U1; it must be numbers"),
        (([0], [1]), {"weight": [1.0, 2.0]}, r"weight has shape \(2,\); it must be \(1,\)"),
        (([0], [1], [2]), {}, "must be two arrays"),
        (([-1], [1]), {}, "array of edges has the node -1"),
    ],
)
def test_bad_arrays(edges: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        build_graph(edges, tmp_path / "g", **options)


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        (([0], [1]), {"memory": "1K"}, "memory is '1K'; .* at least '1M'"),
        (([0], [1]), {"num_nodes": -1}, "num_nodes is -1"),
        (([0], [1]), {"num_nodes": 2.0}, "num_nodes is 2.0; it must be a whole number"),
        (([0], [1]), {"weight": "w"}, "weight is 'w'; with edges from arrays"),
        ("x.parquet", {"weight": [1.0]}, "weight is an array; with edges from files"),
    ],
)
def test_bad_arguments(edges: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        build_graph(edges, tmp_path / "g", **options)


def test_a_folder_that_is_there_is_kept_unless_asked(tmp_path: Path) -> None:
    build_graph(([0], [1]), tmp_path / "g")
    with pytest.raises(DataError, match=r"'.*g' exists"):
        build_graph(([0], [2]), tmp_path / "g")

    assert 2 == Graph.open(tmp_path / "g").num_nodes
    assert 3 == build_graph(([0], [2]), tmp_path / "g", replace=True).num_nodes


def test_no_graph_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no graph in .* no graph\.json"):
        Graph.open(tmp_path)


@pytest.mark.parametrize("name", ["indptr.bin", "indices.bin", "weight.bin"])
def test_damage_is_found_and_named(name: str, tmp_path: Path) -> None:
    build_graph(([0, 1], [1, 2]), tmp_path, weight=[1.0, 2.0], replace=True)
    path = tmp_path / name
    data = bytearray(path.read_bytes())

    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match=f"{name}' has {len(data) - 1} bytes; .* {len(data)}"):
        Graph.open(tmp_path)

    data[8 if name == "indptr.bin" else 1] ^= 1
    path.write_bytes(data)
    Graph.open(tmp_path)
    with pytest.raises(DataError, match=f"{name}' is damaged: its checksum"):
        Graph.open(tmp_path, verify=True)

    path.unlink()
    with pytest.raises(DataError, match=f"{name}' of the graph is missing"):
        Graph.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut", "graph.json' is damaged"),
        ({"format": "tadka.graph.9"}, "graph.json' has the format 'tadka.graph.9'"),
        ({"num_nodes": -4}, "graph.json' is damaged"),
        ({"files": {}}, "graph.json' is damaged"),
        ({"files": {"indptr": 1}}, "graph.json' is damaged"),
        ({"files": {"indptr": {"dtype": "<i8"}, "indices": {"dtype": "<i4"}}}, "is damaged"),
    ],
)
def test_a_damaged_manifest_is_named(change: Any, message: str, tmp_path: Path) -> None:
    build_graph(([0], [1]), tmp_path, replace=True)
    path = tmp_path / "graph.json"
    text = path.read_text()
    path.write_text(text[:-9] if change == "cut" else json.dumps(json.loads(text) | change))

    with pytest.raises(DataError, match=message):
        Graph.open(tmp_path)


def test_an_indptr_of_another_graph_is_refused(tmp_path: Path) -> None:
    build_graph(([0], [1]), tmp_path, replace=True)
    np.array([0, 1, 9]).tofile(tmp_path / "indptr.bin")

    with pytest.raises(DataError, match=r"Graph '.*' is damaged: indptr runs from 0 to 9"):
        Graph.open(tmp_path)


def test_a_full_disk_is_a_data_error_and_leaves_nothing(tmp_path: Path) -> None:
    rows = np.arange(200_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(DataError, match="cannot be written"):
            build_graph((rows, rows), tmp_path / "g", memory="1M")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [] == list(tmp_path.iterdir())
