"""The bodies of the API, a file a resource: what a caller may send and what it gets back."""
