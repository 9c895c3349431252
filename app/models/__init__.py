"""The tables, a file a resource. Importing the package makes all of them known to SQLAlchemy."""

from app.models.agents import Agent
from app.models.base import Base, UtcDateTime
from app.models.events import Event
from app.models.fits import Fit, LawResult
from app.models.idempotency import IdempotentCall
from app.models.imports import Import
from app.models.jobs import Job
from app.models.keys import ApiKey, Login
from app.models.recommendations import Recommendation
from app.models.runs import Measurement, Run, RunAttempt
from app.models.schedules import Firing, Schedule
from app.models.studies import Binding, DomainSet, Study, Target

__all__ = [
    "Agent",
    "ApiKey",
    "Base",
    "Binding",
    "DomainSet",
    "Event",
    "Firing",
    "Fit",
    "IdempotentCall",
    "Import",
    "Job",
    "LawResult",
    "Login",
    "Measurement",
    "Recommendation",
    "Run",
    "RunAttempt",
    "Schedule",
    "Study",
    "Target",
    "UtcDateTime",
]
