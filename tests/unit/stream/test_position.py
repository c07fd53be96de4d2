import json

import pytest

from tadka.stream.position import Position


@pytest.mark.parametrize(
    "position", [Position(), Position(epoch=3, step=70, group=4, lane=1, lanes=((9, 2), (11, 0)))]
)
def test_position_goes_through_json(position: Position) -> None:
    assert position == Position.from_dict(json.loads(json.dumps(position.to_dict())))


@pytest.mark.parametrize(("values", "error"), [({}, KeyError), ({"lanes": [], "x": 1}, TypeError)])
def test_what_is_no_position_is_refused(values: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        Position.from_dict(values)
