"""The calls of the client, a file a resource; ``app/client.py`` puts them together."""
