"""One file a resource: parse, call a service, return."""
