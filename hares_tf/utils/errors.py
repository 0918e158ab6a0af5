"""The base of all exceptions for mistakes that the user can correct.

Every package raises a subclass of its own. The message is one or two sentences: what is wrong,
where, and what to do. Commands print it without a traceback and exit with code 2.
"""

import re

# Lines of TensorFlow's and Keras' messages that name no cause.
_BOILERPLATE = re.compile(
    r"Graph execution error|Detected at node|Detected unsupported operations|in user code:|"
    r"Exception encountered when calling|Traceback \(most recent call last\)|File \"|"
    r"<stack traces|Stack trace for op definition|\[\[|Arguments received by|"
    r"\(\d+\) \w+:\s*$|\d+ root error\(s\) found|\d+ successful operations|"
    r"\d+ derived errors ignored"
)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
# The operation that failed, and the number of a root error.
_NODE = re.compile(
    r"^\(\d+\) \w+: +|\{\{function_node [^}]*\}\}|\s*\[Op:\w+\].*$|\s+for '\{\{node [^']*'"
)


class HaresError(Exception):
    """Base of all user-facing errors of hares_tf."""


def reason(error: BaseException, limit: int = 200) -> str:
    """Returns the cause of an error in one line, without a final period, to be put in a sentence.

    Libraries raise errors without a message, with several lines, or with the system's message and
    a path. Errors of the operating system give the system's words alone, because the sentence
    around them names the path. TensorFlow and Keras put lines in front of the cause that say where
    it came up.

    Args:
        error: any exception.
        limit: number of characters to keep.

    Returns:
        The first line that names a cause, or the name of the error's type.
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    if isinstance(error, SyntaxError):  # its text names the file, without the folder
        text = error.msg
    lines = [_COLOR.sub("", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    causes = [line for line in lines if not _BOILERPLATE.match(line)]
    if lines and lines[0].startswith("in user code:"):  # a traceback: the cause is its last line
        causes = causes[-1:]
    chosen = (causes or lines or [type(error).__name__])[0]
    return _NODE.sub("", chosen).strip().rstrip(".")[:limit]
