"""What the process that workers are forked from does first, so that they inherit it: it ignores Ctrl-C, which reaches
every process of a terminal (the parent handles it and ends its children), and drops PYTHONSAFEPATH, which was for its
own start alone (``pool``)."""

import os
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
os.environ.pop("PYTHONSAFEPATH", None)
