"""The service: API, database, dashboard and command line. Never imports torch."""
