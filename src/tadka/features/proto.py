"""The `.proto` file of a feature class: what clients of other languages compile, and its history.

The parser understands what `write` writes (and comments, other messages and services beside it),
nothing more: the file is ours, and what we would misread must not pass.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tadka.core.error import ConfigError
from tadka.features.declaration import Declaration, Member

MAX_NUMBER = 2**29 - 1
_KEPT_FROM, _KEPT_TO = 19_000, 19_999  # numbers that protobuf keeps for itself

_TYPES = {"bool": "bool", "datetime": "int64", "float": "double", "int": "int64", "str": "string"}
_TIME = "datetime: microseconds since 1970-01-01 00:00:00 UTC"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+) | (?P<line>\n) | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*) | (?P<number>[0-9]+\b) | (?P<text>"[^"\\\n]*")
    | (?P<mark>[{}=;,.()<>\[\]:+-])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class ProtoField:
    """A field of a message.

    Args:
        name: Of the field.
        number: From 1.
        label: "", "optional" or "repeated".
        type: Of protobuf, such as "int64".
        is_time: Whether its comment says that it is a datetime.
    """

    name: str
    number: int
    label: str
    type: str
    is_time: bool = False

    def __str__(self) -> str:
        shown = f"{self.label} {self.type}".strip()
        return f"{shown} (a datetime)" if self.is_time else shown


@dataclass(frozen=True)
class Message:
    """A message of a `.proto` file.

    Args:
        name: Of the message.
        package: Of the file.
        fields: By number.
        reserved_numbers: Of fields that there were.
        reserved_names: Of fields that there were.
    """

    name: str
    package: str
    fields: tuple[ProtoField, ...]
    reserved_numbers: tuple[int, ...] = ()
    reserved_names: tuple[str, ...] = ()


def field_of(member: Member, number: int) -> ProtoField:
    """The protobuf field of a class's field."""
    shape = member.shape
    label = "repeated" if shape.is_list else "optional" if shape.is_optional else ""
    is_time = shape.type == "datetime"
    return ProtoField(member.name, number, label, _TYPES[shape.type], is_time)


def message_of(name: str, declaration: Declaration, command: str) -> Message:
    """The message of a class: with the numbers of its history, or in order of declaration.

    Args:
        name: Of the class.
        declaration: Of the class.
        command: That writes the file, for messages.

    Raises:
        ConfigError: The history does not go with the class, or was not written yet.
    """
    if declaration.proto is None:
        return updated(name, declaration.fields, None, "")
    file = repr(str(declaration.proto))
    if declaration.history is None:
        raise ConfigError(f"The proto file {file} of {name!r} does not exist. Run: {command}.")
    history = read(declaration.history, name, file)
    known = {field.name: field for field in history.fields}
    for member in declaration.fields:
        if member.name not in known and member.name not in history.reserved_names:
            raise ConfigError(
                f"Field {member.name!r} of {name!r} has no number in {file} yet. Run: {command}."
            )
    message = updated(name, declaration.fields, history, file)
    for field in message.fields:
        if field.label != known[field.name].label:
            raise ConfigError(
                f"Field {field.name!r} is {str(known[field.name])!r} in {file} and "
                f"{str(field)!r} in the class {name!r}. Run: {command}."
            )
    return message


def updated(name: str, members: Sequence[Member], history: Message | None, file: str) -> Message:
    """The message of a class after its history: known fields keep their numbers.

    Args:
        name: Of the class.
        members: Its fields.
        history: What was written last; None for a new file.
        file: Where that stands, for messages.

    Raises:
        ConfigError: A field has another type than before, or a removed field's name.
    """
    history = history or Message(name, _package(name), ())
    known = {field.name: field for field in history.fields}
    used = {field.number for field in history.fields} | set(history.reserved_numbers)
    free = (
        n for n in range(1, MAX_NUMBER + 1) if n not in used and not _KEPT_FROM <= n <= _KEPT_TO
    )
    # after the highest, not in a gap: a gap may be the number of a field forgotten by hand
    start = max(used, default=0)
    fields = []
    for member in members:
        if member.name in history.reserved_names:
            raise ConfigError(
                f"Field {member.name!r} of {name!r} is reserved in {file}: a removed field had "
                "that name, and old clients may still send it. Choose another name."
            )
        before = known.get(member.name)
        if before is None:
            number = next(n for n in free if n > start)
            fields.append(field_of(member, number))
            continue
        field = field_of(member, before.number)
        is_same_label = (field.label == "repeated") == (before.label == "repeated")
        if field.type != before.type or not is_same_label or before.is_time > field.is_time:
            raise ConfigError(
                f"Field {member.name!r} is {str(before)!r} in {file} and {str(field)!r} in the "
                f"class {name!r}; a field keeps its type. Give the new one another name."
            )
        fields.append(field)
    names = {member.name for member in members}
    removed = [field for field in history.fields if field.name not in names]
    return Message(
        name,
        history.package,
        tuple(sorted(fields, key=lambda field: field.number)),
        tuple(sorted({*history.reserved_numbers, *(field.number for field in removed)})),
        tuple(sorted({*history.reserved_names, *(field.name for field in removed)})),
    )


def refuse_renumbering(new: Message, old: Message, file: str) -> None:
    """Refuses to write a message over one whose numbers differ.

    Args:
        new: To be written.
        old: What stands in the file.
        file: Its name, for messages.

    Raises:
        ConfigError: A field has another number or type, or is gone.
    """
    here = {field.name: field for field in new.fields}
    advice = (
        f"Clients that compiled {file} would send values to the wrong field. To keep the numbers, "
        f'declare the class with proto="FILE.proto" and run tadka features proto with --update.'
    )
    for field in old.fields:
        now = here.get(field.name)
        if now is None and field.number not in new.reserved_numbers:
            raise ConfigError(
                f"Field {field.name!r} has number {field.number} in {file} and none in the class "
                f"{new.name!r}. {advice}"
            )
        if now is not None and now.number != field.number:
            raise ConfigError(
                f"Field {field.name!r} has number {field.number} in {file} and {now.number} in the "
                f"class {new.name!r}. {advice}"
            )
        if now is not None and (now.type, now.label) != (field.type, field.label):
            raise ConfigError(
                f"Field {field.name!r} is {str(field)!r} in {file} and {str(now)!r} in the class "
                f"{new.name!r}. {advice}"
            )
    gone = {*old.reserved_numbers} - {*new.reserved_numbers}
    for field in new.fields:
        if field.number in gone or field.name in old.reserved_names:
            raise ConfigError(
                f"Field {field.name!r} has number {field.number} in the class {new.name!r}, which "
                f"{file} reserves for a removed field. {advice}"
            )


def write(message: Message) -> str:
    """Text of the `.proto` file of a message."""
    lines = [
        "// Made from the feature class by `tadka features proto`. Field numbers are a promise to",
        "// clients: change the class, not this file.",
        'syntax = "proto3";',
        "",
        f"package {message.package};",
        "",
        "// One row. A field that is optional may be missing; another one counts as its default.",
        f"message {message.name} {{",
    ]
    if message.reserved_numbers:
        lines.append(f"  reserved {', '.join(map(str, message.reserved_numbers))};")
    if message.reserved_names:
        names = ", ".join(f'"{name}"' for name in message.reserved_names)
        lines.append(f"  reserved {names};")
    for field in message.fields:
        comment = f"  // {_TIME}" if field.is_time else ""
        shown = f"{field.label} {field.type}".strip()
        lines.append(f"  {shown} {field.name} = {field.number};{comment}")
    return "\n".join([*lines, "}", ""])


def read(text: str, name: str, file: str) -> Message:
    """The message of a class in a `.proto` file.

    Args:
        text: Of the file.
        name: Of the message.
        file: Its name, for messages.

    Raises:
        ConfigError: The text is not as `write` writes it, has no such message, or gives a number
            or name twice.
    """
    message, others = _Parser(text, file).message(name)
    if message is not None:
        _check_numbers(message, file)
        return message
    found = ", ".join(others) or "none"
    raise ConfigError(f"The proto file {file} has no message {name!r}; it has: {found}.")


def _check_numbers(message: Message, file: str) -> None:
    numbers: dict[int, str] = {}
    names: dict[str, int] = {}
    where = f"in message {message.name!r} of {file}"
    for field in message.fields:
        kept = _KEPT_FROM <= field.number <= _KEPT_TO
        if not 1 <= field.number <= MAX_NUMBER or kept:
            raise ConfigError(
                f"Field {field.name!r} has number {field.number} {where}; it must be from 1 to "
                f"2**29 - 1, and not from {_KEPT_FROM} to {_KEPT_TO}."
            )
        if field.number in numbers:
            raise ConfigError(
                f"Fields {numbers[field.number]!r} and {field.name!r} both have number "
                f"{field.number} {where}. Put back the file as it was written."
            )
        if field.number in message.reserved_numbers:
            raise ConfigError(
                f"Field {field.name!r} has number {field.number} {where}, which is reserved there "
                "for a removed field. Put back the file as it was written."
            )
        if field.name in names or field.name in message.reserved_names:
            other = names.get(field.name, "reserved")
            raise ConfigError(
                f"Field {field.name!r} has number {field.number} {where}, but its name is there "
                f"already: {other}. Put back the file as it was written."
            )
        numbers[field.number] = field.name
        names[field.name] = field.number


def _package(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return f"tadka.{snake}"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


class _Parser:
    """Walks the tokens of one file."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._tokens = list(self._read(text))
        self._at = 0

    def _read(self, text: str) -> Iterator[_Token]:
        at, line = 0, 1
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(line, text[at : at + 20].split("\n", 1)[0])
            kind = str(match.lastgroup)
            if kind not in ("space", "line"):
                yield _Token(kind, match.group(), line)
            line += match.group().count("\n")
            at = match.end()
        yield _Token("end", "the end", line)

    def _wrong(self, line: int, found: str) -> ConfigError:
        return ConfigError(
            f"Line {line} of {self._file} has {found!r}, which tadka does not write. Put back the "
            "file as it was written."
        )

    def _next(self, *texts: str, kind: str = "") -> str:
        """Takes the next token, which must be one of `texts` or of a kind."""
        self._skip_comments()
        token = self._tokens[self._at]
        if token.kind == "end" or (texts and token.text not in texts):
            raise self._wrong(token.line, token.text)
        if kind and token.kind != kind:
            raise self._wrong(token.line, token.text)
        self._at += 1
        return token.text

    def _peek(self) -> str:
        self._skip_comments()
        return self._tokens[self._at].text

    def _skip_comments(self) -> None:
        while self._tokens[self._at].kind == "comment":
            self._at += 1

    def message(self, wanted: str) -> tuple[Message | None, list[str]]:
        """The message of that name, and the names of the others, which may hold anything."""
        self._next("syntax")
        self._next("=")
        self._next('"proto3"')
        self._next(";")
        package, found, others = "", None, []
        while self._peek() != "the end":
            match self._next("package", "option", "import", "message", "service", "enum"):
                case "package":
                    package = self._until(";")
                case "message":
                    name = self._next(kind="word")
                    if name == wanted:
                        found = self._message(name, package)
                    else:
                        others.append(name)
                        self._block()
                case "option" | "import":
                    self._until(";")
                case _:
                    self._next(kind="word")
                    self._block()
        return found, others

    def _until(self, end: str) -> str:
        words = []
        while (word := self._next()) != end:
            words.append(word)
        return "".join(words)

    def _block(self) -> None:
        self._next("{")
        depth = 1
        while depth:
            depth += {"{": 1, "}": -1}.get(self._next(), 0)

    def _message(self, name: str, package: str) -> Message:
        self._next("{")
        fields: list[ProtoField] = []
        numbers: list[int] = []
        names: list[str] = []
        while self._peek() != "}":
            if self._peek() == "reserved":
                self._next()
                self._reserved(numbers, names)
            else:
                fields.append(self._field())
        self._next("}")
        return Message(name, package, tuple(fields), tuple(numbers), tuple(names))

    def _reserved(self, numbers: list[int], names: list[str]) -> None:
        while True:
            if self._peek().startswith('"'):
                names.append(self._next(kind="text").strip('"'))
            else:
                numbers.append(int(self._next(kind="number")))
                if self._peek() == "to":
                    self._next()
                    last = int(self._next(kind="number"))
                    if last - numbers[-1] > 100_000:
                        raise self._wrong(self._tokens[self._at - 1].line, f"to {last}")
                    numbers.extend(range(numbers[-1] + 1, last + 1))
            if self._next(",", ";") == ";":
                return

    def _field(self) -> ProtoField:
        label = self._next() if self._peek() in ("optional", "repeated") else ""
        kind = self._next(*_TYPES.values())
        name = self._next(kind="word")
        self._next("=")
        number = int(self._next(kind="number"))
        self._next(";")
        line, after = self._tokens[self._at - 1].line, self._tokens[self._at]
        is_time = (
            after.kind == "comment"
            and after.line == line
            and after.text.removeprefix("//").strip().startswith("datetime")
        )
        return ProtoField(name, number, label, kind, is_time)
