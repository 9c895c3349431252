"""What the online commands share: between the client of the service and the terminal.

The commands of ``app/commands`` are thin. Here things are found by what a person types, files become bodies, answers
become tables, and work that the service does is waited for.
"""
