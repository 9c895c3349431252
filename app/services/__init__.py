"""Use cases: a session and domain values in, domain values out, one commit. They know nothing of HTTP."""
