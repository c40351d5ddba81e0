"""The command line: its arguments, which are checked before torch is imported, and its commands."""
