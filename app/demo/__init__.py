"""The demo's real text: six clearly different domains out of packages that the project declares.

``sources.py`` is the registry of domains, one file beside it reads one kind of text, ``gather.py`` writes the
documents and the corpus configuration. Nothing here imports the packages that it reads: their files are the text.
"""
