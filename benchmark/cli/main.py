"""The command line: ``glassbench`` or ``python -m benchmark``.

Exit codes: 0 done; 1 some cells failed (they are named); 2 bad use, or no data; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import __version__, store
from benchmark.cli import commands
from benchmark.cli.commands import err
from benchmark.cli.lists import LISTS, profiles
from benchmark.engine import ClusterError
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import ProfileError, UnknownName, near


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parser().parse_args(arguments)
    if getattr(options, "cluster", ""):
        os.environ["GLASSBENCH_CLUSTER"] = (
            options.cluster
        )  # where work runs changes no result, so no step has to know
    try:
        return options.run(options)
    except KeyboardInterrupt:
        err.print("interrupted; what is finished is kept, run the same command again to go on")
        return 130
    except (UsageError, ProfileError, UnknownName, ClusterError, store.StoreError) as error:
        err.print(f"glassbench: {error}", markup=False)
        return 2
    except BrokenPipeError:  # `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if options.verbose:
            raise
        err.print(
            f"glassbench: {error.strerror or error} ({error.filename or 'no file'}); nothing was half-written, "
            "free the space or mend the path and run again",
            markup=False,
        )
        return 2
    except Exception as error:
        if options.verbose:
            raise
        from benchmark.engine import one_line

        err.print(f"glassbench: {one_line(error)}; run with -v for the traceback", markup=False)
        return 1


# --------------------------------------------------------------------------------------------- parser


class _Parser(argparse.ArgumentParser):
    """Suggests near commands, on one line."""

    def error(self, message: str) -> None:
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message = str(near(found[1], found[2].replace("'", "").split(", "), "choice"))
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: 1 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = _Parser(
        prog="glassbench",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  glassbench use quick\n  glassbench list metrics\n  glassbench prepare mnist cub\n"
        "  glassbench train digits\n  glassbench show\n\nThe whole pipeline: make leaderboard "
        "[PROFILE=quick], or `glassbench use NAME` and `dvc repro`.",
    )
    top.add_argument("--version", action="version", version=f"glassbench {__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    group = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, run: Any, examples: str) -> argparse.ArgumentParser:
        lines = (run.__doc__ or "").strip().splitlines()
        sub = group.add_parser(
            name,
            help=lines[0],
            description=lines[0],
            epilog="examples:\n" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show tracebacks",
        )
        sub.set_defaults(run=run)
        return sub

    def on_cluster(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--cluster",
            metavar="ADDRESS",
            default=os.environ.get("GLASSBENCH_CLUSTER", ""),
            help="run on this Dask scheduler, tcp://host:8786 (default: GLASSBENCH_CLUSTER, else this machine)",
        )

    sub = command("use", commands.use, "  glassbench use offline\n  glassbench use quick")
    sub.add_argument("profile", metavar="PROFILE", help=f"one of {', '.join(profiles())}")
    sub.add_argument("--force", action="store_true", help="overwrite own edits of params.yaml")

    sub = command(
        "list",
        commands.list_,
        "  glassbench list datasets\n  glassbench list datasets cub\n  glassbench list metrics --json",
    )
    sub.add_argument("what", choices=LISTS, help="what to list")
    sub.add_argument("name", nargs="?", help="only this one; of a data set, its whole card")
    sub.add_argument("--json", action="store_true", help="as JSON")

    sub = command(
        "prepare",
        commands.prepare,
        "  glassbench prepare digits\n  GLASSBENCH_MIRROR=/data glassbench prepare mnist cub\n"
        "  glassbench prepare folder --path ~/photos --name mine --size 128    # one subfolder a class",
    )
    sub.add_argument("dataset", nargs="*", help="data sets (default: those of the profile)")
    sub.add_argument("--profile", help="prepare for this profile (default: that of params.yaml)")
    sub.add_argument("--force", action="store_true", help="make it again")
    for flag, what in (
        ("path", "the images, one subfolder a class"),
        ("name", "of the data set"),
        ("size", "side in pixels"),
    ):
        sub.add_argument(f"--{flag}", help=f"folder: {what}")

    for name, run in (
        ("train", commands.train),
        ("explain", commands.explain),
        ("score", commands.score),
    ):
        sub = command(name, run, f"  glassbench {name}\n  glassbench {name} digits --keep-going")
        sub.add_argument("dataset", nargs="*", help="data sets (default: all of the profile)")
        sub.add_argument(
            "--keep-going", action="store_true", help="exit code 0 in spite of failed cells"
        )
        on_cluster(sub)

    sub = command(
        "replicate",
        commands.replicate,
        "  glassbench replicate\n  glassbench replicate layer_trees --keep-going",
    )
    sub.add_argument("paper", nargs="*", help="papers (default: all of the profile)")
    sub.add_argument(
        "--keep-going", action="store_true", help="exit code 0 in spite of failed units"
    )
    on_cluster(sub)

    sub = command(
        "plan",
        commands.plan,
        "  glassbench plan --profile paper --workers 100 --gpu h100\n"
        "  glassbench plan --profile quick --check\n  glassbench plan --profile paper --json",
    )
    sub.add_argument("--profile", help="default: that of params.yaml")
    sub.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="simulate so many, beside 1, 10, 100 and 1,000",
    )
    sub.add_argument(
        "--gpu",
        default="",
        metavar="NAME",
        help="each worker has one: t4, l4, v100, a10, a100, h100, h200",
    )
    sub.add_argument("--json", action="store_true", help="as JSON, with every unit")
    sub.add_argument(
        "--check", action="store_true", help="predicted and measured seconds of each stage"
    )
    sub.add_argument(
        "--calibrate",
        action="store_true",
        help="make results/speeds.csv from the times that were measured here",
    )
    sub.add_argument(
        "--save",
        action="store_true",
        help="keep the estimates: the longest units of a first run then start first",
    )

    command("report", commands.report, "  glassbench report")

    sub = command(
        "verify",
        commands.verify,
        "  glassbench verify\n  glassbench verify --profile quick --sample 5 --seed 1",
    )
    sub.add_argument("--profile", help="default: that of params.yaml")
    sub.add_argument(
        "--sample", type=_count, default=10, metavar="N", help="how many units (default: 10)"
    )
    sub.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (default: 0)")

    sub = command(
        "rekey",
        commands.rekey,
        "  glassbench rekey --profile trees\n  glassbench rekey --profile quick --base e6f767f --sample 20",
    )
    sub.add_argument("--profile", help="default: that of params.yaml")
    sub.add_argument(
        "--base",
        default="",
        metavar="COMMIT",
        help="whose code made the rows (default: as their provenance says)",
    )
    sub.add_argument(
        "--sample",
        type=_count,
        default=0,
        metavar="N",
        help="where definitions were rewritten, compute so many units again and compare",
    )

    command("mend", commands.mend, "  glassbench mend\n  glassbench mend && dvc repro")

    sub = command("show", commands.show, "  glassbench show\n  glassbench show --profile quick")
    sub.add_argument("--profile", help="default: that of params.yaml")

    sub = command("readme", commands.readme, "  glassbench readme --check")
    sub.add_argument(
        "--check", action="store_true", help="change nothing; exit code 2 if out of date"
    )

    sub = command("compare", commands.compare, "  glassbench compare HEAD --profile offline")
    sub.add_argument(
        "revision",
        nargs="?",
        default="HEAD",
        help="a git revision (default: HEAD), a folder or a rows file",
    )
    sub.add_argument("--profile", help="default: that of params.yaml")

    sub = command(
        "diff",
        commands.diff,
        "  glassbench diff origin/main\n  glassbench diff HEAD~1 HEAD --md --plot diff.svg\n"
        "  glassbench diff ../other/checkout --profile quick --fail-on regression,lost",
    )
    sub.add_argument(
        "base", metavar="BASE", help="a git revision, a folder with results, or a rows file"
    )
    sub.add_argument("head", metavar="HEAD", nargs="?", help="the same (default: the working tree)")
    sub.add_argument("--profile", help="default: that of params.yaml")
    forms = sub.add_mutually_exclusive_group()
    for form, what in (("json", "every cell, as JSON"), ("md", "Markdown, for a pull request")):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=what)
    sub.add_argument("--plot", metavar="FILE", help="draw what moved (.svg or .png); --md shows it")
    sub.add_argument(
        "--fail-on",
        default="regression,lost,unverified",
        metavar="KINDS",
        help="exit code 1 on any of these: regression, lost, unverified, re-baselined, improvement, new",
    )
    sub = command(
        "evaluate",
        commands.evaluate,
        "  glassbench evaluate mine.py:GradNorm\n"
        "  glassbench evaluate mine.py:GradNorm?layer=conv3 --targets digits\n"
        "  glassbench evaluate captum:Occlusion?sliding_window_shapes=4 pytorch_grad_cam:EigenCAM zennit:EpsilonPlus\n"
        "  glassbench evaluate --images images.npz; glassbench evaluate maps.npz --name 'My maps'",
    )
    sub.add_argument(
        "method", nargs="*", help="path/to/file.py:ClassName, library:ClassName or maps.npz"
    )
    sub.add_argument("--profile", help="default: that of params.yaml, else offline")
    sub.add_argument(
        "--targets",
        nargs="+",
        default=[],
        help="networks: digits/cnn, digits or cnn (default: all)",
    )
    sub.add_argument("--name", default="", help="of the folder (and of maps on the board)")
    sub.add_argument(
        "--recompute", action="store_true", help="explain and score the known methods again"
    )
    sub.add_argument(
        "--no-page", action="store_true", help="rows and board only: no plots, no page"
    )
    sub.add_argument(
        "--images", type=Path, metavar="FILE", help="only write the images that are to be explained"
    )

    sub = command("check", commands.check, "  glassbench check mine.py:GradNorm")
    sub.add_argument("method", help="path/to/file.py:ClassName")

    sub = command(
        "new", commands.new, "  glassbench new mine.py\n  glassbench new mine.py --kind surrogate"
    )
    sub.add_argument("file", type=Path, help="the file to write")
    sub.add_argument(
        "--kind", choices=("heatmap", "concept", "surrogate", "decoder"), default="heatmap"
    )
    return top


def entry() -> None:
    """What the console script calls."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    code = main()
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    entry()
