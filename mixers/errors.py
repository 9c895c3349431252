"""What can go wrong in the mathematics. Every message names what was wrong, where, and what would be accepted."""


class MixError(ValueError):
    """The request cannot be computed as it was stated."""


class InvalidInput(MixError):
    """A value is outside of what it may be."""


class TooFewRuns(MixError):
    """A law or a check was given fewer runs than it can use."""


class Infeasible(MixError):
    """No mixture satisfies all constraints together."""
