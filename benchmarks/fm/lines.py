"""Counts the lines that a user of each method writes.

The rule: lines of code (no blank lines, comments or docstrings) between ``# user code`` and
``# end of user code``, after ``ruff format`` at 100 columns. Imports, preprocess, the model with
its loop over batches, and what hands figures back to the benchmark stand outside of those marks,
the same in every file.
"""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

BEGIN, END = "# user code", "# end of user code"
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def count(path: Path) -> int:
    """Lines of user code in a method's file."""
    source = _formatted(path.read_text())
    docstrings = _docstring_lines(source)
    begun_at, lines, code = None, set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.string in (BEGIN, END):
            if (token.string == BEGIN) != (begun_at is None):
                raise ValueError(f"{path.name}, line {token.start[0]}: marks do not pair up.")
            if begun_at is not None:
                lines.update(range(begun_at, token.start[0]))
            begun_at = token.start[0] if token.string == BEGIN else None
        elif token.type not in _NO_CODE and token.type != tokenize.ENDMARKER:
            code.update(range(token.start[0], token.end[0] + 1))
    if begun_at is not None:
        raise ValueError(f"{path.name}: no {END!r} after line {begun_at}.")
    return len((lines & code) - docstrings)


def _formatted(source: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ruff format failed: {done.stderr.strip()}")
    return done.stdout


def _docstring_lines(source: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            ast.get_docstring(node) is not None
        ):
            expression = node.body[0]
            found.update(range(expression.lineno, (expression.end_lineno or 0) + 1))
    return found
