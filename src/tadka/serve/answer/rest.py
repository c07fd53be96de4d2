"""The JSON door: rows as objects, scores as objects.

A field that is optional may be left out or null; every other one must be there.
"""

import json
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from tadka.core.error import DataError, TadkaError
from tadka.features.row import show, type_of
from tadka.serve.answer.call import INVALID_ARGUMENT, JSON, Call, Refused, Reply
from tadka.serve.answer.intake import Intake
from tadka.serve.answer.question import Question
from tadka.serve.store.live import Served

MAX_ROWS = 10_000
"""Of one request."""


def read_question(call: Call, intake: Intake, models: Sequence[Served]) -> Question:
    """The rows of a request to `/v1/predict`.

    Args:
        call: Its body is a JSON object: a row, or `{"rows": [row, ...]}`.
        intake: Of the feature class.
        models: That are asked.

    Raises:
        Refused: It is no JSON, or a row is wrong; the message names row and field.
    """
    data = read_json(call)
    if not isinstance(data, dict):
        raise Refused(
            INVALID_ARGUMENT,
            f'The body is {show(data)}; it must be an object: a row, or {{"rows": [row, ...]}}.',
        )
    # A class may have a field of that name; a list of objects is no value of a field.
    rows = data.get("rows")
    is_batch = set(data) == {"rows"} and isinstance(rows, list) and _is_of_rows(rows, intake)
    if not is_batch:
        return Question(call, models, [_message(intake, data, "")], _write_row, call.request_id)
    assert isinstance(rows, list)
    check_num_rows(len(rows))
    messages = [_message(intake, row, f"rows[{i}]: ") for i, row in enumerate(rows)]
    return Question(call, models, messages, _write_rows, call.request_id, is_batch=True)


def query_of(call: Call, *known: str) -> dict[str, str]:
    """The parameters after the `?`.

    Args:
        call: With the query.
        known: Names that may be there.

    Raises:
        Refused: Another one is there, or one comes twice.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(call.query, keep_blank_values=True):
        if name not in known or name in found:
            wrong = "comes twice" if name in found else "is unknown"
            raise Refused(
                INVALID_ARGUMENT,
                f"The parameter {show(name)} of the query {wrong}; known: "
                f"{', '.join(known) or 'none'}.",
            )
        found[name] = value
    return found


def read_json(call: Call, *, with_nan: bool = False) -> Any:
    """The body of a request as JSON.

    Args:
        call: With the body.
        with_nan: Whether NaN and Infinity may stand there as some clients write them: bare.

    Raises:
        Refused: It is of another content type, or no JSON.
    """
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind not in (JSON, ""):
        raise Refused(
            INVALID_ARGUMENT,
            f"The content type is {show(call.content_type)}; it must be {JSON}: send the header "
            f"content-type: {JSON}.",
            415,
        )
    try:
        return json.loads(
            call.body,
            object_pairs_hook=_object,
            parse_constant=float if with_nan else _refuse_constant,
            parse_float=_finite,
        )
    except DataError as error:
        raise Refused(INVALID_ARGUMENT, str(error)) from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deep
        text = str(error) or type(error).__name__
        raise Refused(INVALID_ARGUMENT, f"The body is no JSON: {text}.") from error


def write_json(data: Any, code: int = 200) -> Reply:
    """A reply of HTTP; floats keep all their bits."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Reply(code, body.encode(), JSON)


def check_num_rows(num_rows: int) -> None:
    """Refuses more rows than one request may bring.

    Raises:
        Refused: There are more.
    """
    if num_rows > MAX_ROWS:
        raise Refused(
            INVALID_ARGUMENT,
            f"The request has {num_rows:,} rows; at most {MAX_ROWS:,} are taken. Send several "
            "requests.",
            413,
        )


def _is_of_rows(rows: list[Any], intake: Intake) -> bool:
    field = intake.by_name.get("rows")
    return field is None or any(isinstance(row, dict) for row in rows)


def _message(intake: Intake, row: Any, where: str) -> bytes:
    if not isinstance(row, dict):
        raise Refused(
            INVALID_ARGUMENT,
            f"{where}{show(row)} ({type_of(row)}) is no row; it must be an object.",
        )
    try:
        return intake.message(row)
    except TadkaError as error:
        text = str(error)
        raise Refused(INVALID_ARGUMENT, where + (text if where else _capital(text))) from error


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _scores(question: Question, row: int) -> dict[str, Any]:
    return {
        arm.model: {"score": score, "version": arm.version} for arm, score in question.answers[row]
    }


def _write_row(question: Question) -> Reply:
    return write_json({"request_id": question.row_id(0), "scores": _scores(question, 0)})


def _write_rows(question: Question) -> Reply:
    predictions = [
        {"request_id": question.row_id(row), "scores": _scores(question, row)}
        for row in range(len(question.messages))
    ]
    return write_json({"request_id": question.request_id, "predictions": predictions})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"The body has the key {show(twice)} twice in one object.")
    return found


def _refuse_constant(text: str) -> Any:
    raise DataError(f'The body has {text}, which is no JSON; write it as text: "{text}".')


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise DataError(f"The number {show(text)} is beyond the largest float.")
    return number
