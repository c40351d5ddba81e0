"""For the fork server alone, which imports this before all else: its children are deaf to Ctrl-C from their first moment.

Ctrl-C reaches every process of a terminal; the parent handles it and ends its children.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
