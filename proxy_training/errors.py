"""What can go wrong between a text file and a loss. Every message is one sentence: what, where, what instead."""


class ProxyError(Exception):
    """The proxy run, or the corpus it needs, cannot be made as it was asked for."""


class CorpusError(ProxyError):
    """A corpus, its configuration or the text that it is built from is not what it must be."""


class SpecError(ProxyError):
    """A proxy spec asks for what this corpus, model or machine cannot give."""


class CheckpointError(ProxyError):
    """A saved state cannot be written, or does not fit the run that it is read for."""


class ServiceError(ProxyError):
    """The service did not answer, or answered with something that an agent cannot use."""
