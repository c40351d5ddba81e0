"""Makes a process ignore Ctrl-C; the fork server imports this first, so that its children inherit it from the start.

Ctrl-C reaches every process of a terminal; the parent handles it and ends its children.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
