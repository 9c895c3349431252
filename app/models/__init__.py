"""The tables, a file a resource. Importing the package makes all of them known to SQLAlchemy."""

from app.models.agents import Agent
from app.models.base import Base, UtcDateTime
from app.models.fits import Fit, LawResult
from app.models.jobs import Job
from app.models.recommendations import Recommendation
from app.models.runs import Measurement, Run
from app.models.studies import DomainSet, Study, Target

__all__ = [
    "Agent",
    "Base",
    "DomainSet",
    "Fit",
    "Job",
    "LawResult",
    "Measurement",
    "Recommendation",
    "Run",
    "Study",
    "Target",
    "UtcDateTime",
]
