"""What can go wrong with a file that the user gave."""

from mixers.errors import InvalidInput


class FormatError(InvalidInput):
    """A file does not hold what its format says. The message names file, line and column."""
