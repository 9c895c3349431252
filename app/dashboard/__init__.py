"""The web dashboard: pages that read the public API and draw what it says.

The templates are shells; every number on a page comes from ``/v1``, so the dashboard can show nothing that the API
cannot. :func:`app.dashboard.pages.mount` adds it to an application.
"""
