"""What can go wrong between a text file and a reported loss. A message is one sentence: what, where, what instead."""


class ProxyError(Exception):
    """The proxy run, or the corpus it needs, cannot be made as it was asked for."""


class CorpusError(ProxyError):
    """A corpus, its configuration or the text that it is built from is not what it must be."""


class SpecError(ProxyError):
    """A proxy spec asks for what this corpus, model or machine cannot give; another attempt would fail alike."""


class CheckpointError(ProxyError):
    """A saved state cannot be written, or does not fit the run that it is read for."""


class ServiceError(ProxyError):
    """The service cannot be talked to."""


class Unreachable(ServiceError):
    """No usable answer: no connection, a time-out, or an error of the server; trying again may help."""


class Refused(ServiceError):
    """The service answered that the request is wrong; the same request would be refused again.

    Args:
        status: the HTTP status.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class LeaseLost(Refused):
    """The run belongs to another attempt now: stop it and report nothing."""
