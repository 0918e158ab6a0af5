"""The one family of exceptions that means "the user can fix this".

Every package raises its own subclass with a sentence that says what was wrong, where, and what to
do. Commands print that sentence without a traceback and exit with code 2.
"""


class HaresError(Exception):
    """Base of all user-facing errors of hares_tf."""
