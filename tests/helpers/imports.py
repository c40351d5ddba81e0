"""What a process has imported: modules that cost a second must wait until they are needed."""

import subprocess
import sys


def loaded(code, *modules, **options):
    """Which of ``modules`` a new process has loaded after ``code``.

    Args:
        options: of ``subprocess.run``.
    """
    code = f"import sys; {code}; print({set(modules)!r} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, last = done.stdout.splitlines()
    return {name for name in modules if repr(name) in last}
