"""The command line, called in this process."""

from benchmark.cli import main


def call(*arguments: str) -> int:
    """Its exit code."""
    return main.main(list(arguments))


def one_line(capsys) -> str:
    """What stands on stderr: one line, without a traceback."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text
