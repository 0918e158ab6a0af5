"""The base of all exceptions for mistakes that the user can correct.

Every package raises a subclass of its own. The message is one or two sentences: what is wrong,
where, and what to do. Commands print it without a traceback and exit with code 2.
"""


class HaresError(Exception):
    """Base of all user-facing errors of hares_tf."""


def reason(error: BaseException, limit: int = 200) -> str:
    """The cause of an error in one line, without a final full stop, to be put into a sentence.

    Libraries raise errors without a message, with several lines, or with the system's message and
    a path. Errors of the operating system give the system's words alone, because the sentence
    around them names the path.

    Args:
        error: any exception.
        limit: number of characters to keep.

    Returns:
        The first line that is not empty, or the name of the error's type.
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].rstrip(".")[:limit] if lines else type(error).__name__
