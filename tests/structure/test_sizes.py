"""Nothing in the tree outgrows what a reader takes in at once.

The giant module is what nobody in this field avoids, so the ceilings are enforced rather than advised.
"""

from __future__ import annotations

import ast
import io
import tokenize

from tests.structure.source import SourceFile, everything, library, report

MODULE_CEILING = 600
FUNCTION_CEILING = 35

NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(text: str) -> set[int]:
    """The numbers of the lines that hold code: no blank line, no line of comment only."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def body_length(function: Function, code: set[int]) -> int:
    """How many lines of code a function's body has, its signature and docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body or function.end_lineno is None:
        return 0
    return len(code.intersection(range(body[0].lineno, function.end_lineno + 1)))


def long_functions(file: SourceFile) -> list[str]:
    code = code_lines(file.text)
    return [
        f"{file.where}:{node.lineno} {node.name} has {length}"
        for node in ast.walk(file.tree)
        if isinstance(node, Function) and (length := body_length(node, code)) > FUNCTION_CEILING
    ]


def test_no_module_is_longer_than_the_ceiling() -> None:
    report(
        f"A module has at most {MODULE_CEILING} lines (aim for 150 to 300). Split it by concept.",
        [
            f"{file.where} has {length}"
            for file in everything()
            if (length := len(file.text.splitlines())) > MODULE_CEILING
        ],
    )


def test_no_function_is_longer_than_the_ceiling() -> None:
    report(
        f"A function has at most {FUNCTION_CEILING} lines of code, signature, docstring, comments and blank "
        "lines left out. Name a part of it.",
        [line for file in library() for line in long_functions(file)],
    )


def test_the_length_of_a_function_leaves_out_its_signature_docstring_comments_and_blank_lines() -> None:
    text = '''
def f(
    a: int,
) -> int:
    """One.

    Two.
    """
    # a comment

    b = """three
    lines
    long"""
    return a + len(b)
'''
    function = ast.parse(text).body[0]
    assert isinstance(function, Function)
    assert body_length(function, code_lines(text)) == 4
