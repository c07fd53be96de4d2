import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tadka.models.table.mapped import MappedTable
from tadka.models.table.vocabulary import Vocabulary, agree

KILL = """
import os, signal, sys
from pathlib import Path
from tadka.models.table.mapped import MappedTable
from tadka.models.table.vocabulary import Vocabulary

vocabulary = Vocabulary.open(Path(sys.argv[1]) / "user")
table = MappedTable.open(Path(sys.argv[1]) / "vectors")
vocabulary.add(range(200, 300), commit=sys.argv[2] == "index first")
table.grow(vocabulary.size)
if sys.argv[2] == "table first":
    table.save()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("order", ["index first", "table first"])
def test_a_kill_between_the_commits_of_index_and_table_is_mended(
    order: str, tmp_path: Path
) -> None:
    vocabulary = Vocabulary.create(tmp_path / "user")
    vocabulary.add(range(100))
    table = MappedTable.create(tmp_path / "vectors", vocabulary.size, 4, segment_rows=64)
    before = table.pull(np.arange(101))
    table.close()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILL, str(tmp_path), order]
    assert -signal.SIGKILL == subprocess.run(command, env=environment, check=False).returncode

    vocabulary, table = Vocabulary.open(vocabulary.folder), MappedTable.open(table.folder)
    sizes = {"index first": (201, 101), "table first": (101, 201)}
    assert sizes[order] == (vocabulary.size, table.num_rows)
    assert sizes[order][0] - 101 == agree(vocabulary, table)
    assert (101, 101) == (vocabulary.size, table.num_rows)
    assert np.array_equal(before, table.pull(vocabulary.rows(np.arange(-1, 100))))
    assert [0, 101] == [int(vocabulary.rows([200])[0]), int(vocabulary.add([250])[0])]
    table.grow(vocabulary.size)
    assert (1, 4) == table.pull([101]).shape
