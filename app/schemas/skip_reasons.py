"""Why imports leave runs out. The client reads it without the formats, which need numpy."""

from __future__ import annotations

from enum import StrEnum


class SkipReason(StrEnum):
    """Why a run of the source is not taken."""

    NOT_FINISHED = "not_finished"  # crashed, killed or still running: its numbers are no results
    NO_WEIGHTS = "no_weights"  # nothing says what it trained on
    NO_METRICS = "no_metrics"  # no finite value of a target of the study
    WRONG_WEIGHTS = "wrong_weights"  # a weight is negative or not finite, or the sum is too far from 1
    UNKNOWN_DOMAIN = "unknown_domain"  # it trained on a domain that the study does not have
    WEIGHTS_MOVED = "weights_moved"  # its stages do not say which tokens they are of
    CONTRADICTS = "contradicts"  # the source gives two different runs under one id
    WRONG_FIELD = "wrong_field"  # a name, size or seed that cannot be stored
    NOT_IN_STUDY = "not_in_study"  # measurements of a run that the study does not have
