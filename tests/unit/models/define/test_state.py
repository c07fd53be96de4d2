"""What a model knows of its data before it is trained."""

from pathlib import Path

import numpy as np

from tadka.models import State


def test_a_state_says_which_arrays_it_has(tmp_path: Path) -> None:
    state = State.create(tmp_path, {"user": "user"})
    state.put({"histories": np.arange(3), "share": 0.5})

    assert state.has("histories")
    assert not state.has("share")
