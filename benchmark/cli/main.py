"""The command line: ``glassbench`` or ``python -m benchmark``.

Exit codes: 0 success; 1 some cells failed (they are named); 2 wrong use, or no data; 130 interrupted.
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
from benchmark.cli import commands, evaluating
from benchmark.cli.console import err
from benchmark.cli.formats import FORMATS
from benchmark.cli.lists import LISTS, profiles
from benchmark.engine import ClusterError
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import ProfileError, UnknownName, near


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parser().parse_args(arguments)
    if getattr(options, "cluster", ""):
        os.environ["GLASSBENCH_CLUSTER"] = options.cluster  # engine alone reads it
    try:
        return options.run(options)
    except KeyboardInterrupt:
        err.print(
            "interrupted; what is finished is kept, run the same command again to resume"
        )
        return 130
    except (
        UsageError,
        ProfileError,
        UnknownName,
        ClusterError,
        store.StoreError,
    ) as error:
        err.print(f"glassbench: {error}", markup=False)
        return 2
    except BrokenPipeError:  # `| head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if options.verbose:
            raise
        err.print(
            f"glassbench: {error.strerror or error} ({error.filename or 'no file'}); no file is half-written, "
            "free some space or repair the path and run again",
            markup=False,
        )
        return 2
    except Exception as error:
        if options.verbose:
            raise
        from benchmark.engine import one_line

        err.print(
            f"glassbench: {one_line(error)}; run with -v for the traceback",
            markup=False,
        )
        return 1


STUDIES = {
    "xnn": "sort images into groups, with and without heat maps of x-features",
    "cladec": "describe what a reconstruction lacks, and tell two apart",
    "representative": "classify images with and without an interpretation",
}

# --------------------------------------------------------------------------------------------- parser


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, with near names."""

    def error(self, message: str) -> None:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if found:
            given, listed = found.groups()
            choices = listed.replace("'", "").split(", ")
            message = str(near(given, choices, "choice"))
        text = " ".join(message.split())
        self.exit(2, f"{self.prog}: {text}; see {self.prog} --help\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


class _Commands:
    """Adds commands to the parser."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._group = top.add_subparsers(
            metavar="COMMAND", required=True, parser_class=_Parser
        )

    def add(
        self, name: str, run: Any, examples: str, summary: str = ""
    ) -> argparse.ArgumentParser:
        """A command that calls ``run``, whose docstring is its help unless there is a ``summary``."""
        summary = summary or (run.__doc__ or "").strip().splitlines()[0]
        command = self._group.add_parser(
            name,
            help=summary,
            description=summary,
            epilog="examples:\n" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print every table, and tracebacks",
        )
        command.set_defaults(run=run)
        return command


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = _Parser(
        prog="glassbench",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  glassbench use quick\n  glassbench list metrics\n  glassbench prepare mnist cub\n"
        "  glassbench train digits\n  glassbench show\n\nThe whole pipeline: make leaderboard "
        "[PROFILE=quick], or `glassbench use NAME` and `dvc repro`.",
    )
    top.add_argument("--version", action="version", version=f"glassbench {__version__}")
    top.add_argument(
        "-v", "--verbose", action="store_true", help="print every table, and tracebacks"
    )
    all_commands = _Commands(top)
    _add_setup(all_commands)
    _add_steps(all_commands)
    _add_plan(all_commands)
    _add_report(all_commands)
    _add_committed(all_commands)
    _add_comparisons(all_commands)
    _add_evaluate(all_commands)
    _add_check_and_new(all_commands)
    _add_study(all_commands)
    return top


def _profile_option(command: Any, default: str = "") -> None:
    command.add_argument("--profile", help=f"default: that of params.yaml{default}")


def _metric_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="FILE:FUNCTION",
        help="a metric of yours, for the known methods too; may be given several times",
    )


def _json_option(command: argparse.ArgumentParser) -> None:
    what = "one JSON object: the summary, and the paths of the files with every number"
    command.add_argument("--json", action="store_true", help=what)


def _add_setup(all_commands: _Commands) -> None:
    command = all_commands.add(
        "use", commands.use, "  glassbench use offline\n  glassbench use quick"
    )
    command.add_argument(
        "profile", metavar="PROFILE", help=f"one of {', '.join(profiles())}"
    )
    command.add_argument(
        "--force", action="store_true", help="overwrite own edits of params.yaml"
    )

    command = all_commands.add(
        "list",
        commands.list_,
        "  glassbench list datasets\n  glassbench list datasets cub\n  glassbench list metrics --json",
    )
    command.add_argument("what", choices=LISTS, help="what to list")
    command.add_argument(
        "name", nargs="?", help="only this one; of a data set, its whole card"
    )
    command.add_argument("--json", action="store_true", help="as JSON")

    command = all_commands.add(
        "prepare",
        commands.prepare,
        "  glassbench prepare digits\n  GLASSBENCH_MIRROR=/data glassbench prepare mnist cub\n"
        "  glassbench prepare folder --path ~/photos --name mine --size 128    # one subfolder per class",
    )
    command.add_argument(
        "dataset", nargs="*", help="data sets (default: those of the profile)"
    )
    command.add_argument(
        "--profile", help="prepare for this profile (default: that of params.yaml)"
    )
    command.add_argument("--force", action="store_true", help="prepare it again")
    own = command.add_argument_group("prepare folder: images of your own")
    own.add_argument(
        "--path", help="a folder with a subfolder per class, a CSV, COCO or Pascal VOC"
    )
    own.add_argument("--name", help="of the data set (default: the folder's)")
    own.add_argument("--size", help="side in pixels (default: 224)")
    own.add_argument(
        "--masks", help="folder of masks, in the same places as the images"
    )
    own.add_argument(
        "--fit", choices=("squash", "crop"), help="both sides, or the centre"
    )
    own.add_argument("--grey", action="store_true", help="one channel instead of three")
    own.add_argument(
        "--data-only", action="store_true", help="do not name it in params.yaml"
    )


def _add_steps(all_commands: _Commands) -> None:
    for name in ("train", "explain", "score"):
        command = all_commands.add(
            name,
            getattr(commands, name),
            f"  glassbench {name}\n  glassbench {name} digits --keep-going"
            + ("\n  glassbench score --metric my.py:f" if name == "score" else ""),
        )
        command.add_argument(
            "dataset", nargs="*", help="data sets (default: all of the profile)"
        )
        _add_options_of_steps(command)
        if name == "score":
            _metric_option(command)
            command.add_argument("--profile", help="with --metric: of these networks")
            _json_option(command)

    command = all_commands.add(
        "replicate",
        commands.replicate,
        "  glassbench replicate\n  glassbench replicate layer_trees --keep-going",
    )
    command.add_argument(
        "paper", nargs="*", help="papers (default: all of the profile)"
    )
    _add_options_of_steps(command)


def _add_options_of_steps(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--keep-going", action="store_true", help="exit code 0 despite failures"
    )
    command.add_argument(
        "--cluster",
        metavar="ADDRESS",
        default=os.environ.get("GLASSBENCH_CLUSTER", ""),
        help="run on this Dask scheduler, tcp://host:8786 (default: GLASSBENCH_CLUSTER, else this machine)",
    )


def _add_plan(all_commands: _Commands) -> None:
    command = all_commands.add(
        "plan",
        commands.plan,
        "  glassbench plan --profile paper --workers 100 --gpu h100\n"
        "  glassbench plan --profile quick --check\n  glassbench plan --profile paper --json\n"
        "  glassbench plan --metric my.py:f     # besides what score --metric computes",
    )
    _profile_option(command)
    _metric_option(command)
    command.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="simulate so many workers, besides 1, 10, 100 and 1,000",
    )
    command.add_argument(
        "--gpu",
        default="",
        metavar="NAME",
        help="each worker has one: t4, l4, v100, a10, a100, h100, h200",
    )
    command.add_argument("--json", action="store_true", help="as JSON, with every unit")
    command.add_argument(
        "--check",
        action="store_true",
        help="predicted and measured seconds of each stage",
    )
    command.add_argument(
        "--calibrate",
        action="store_true",
        help="write results/speeds.csv from the times that were measured here",
    )
    command.add_argument(
        "--save",
        action="store_true",
        help="keep the estimates, so that the longest units of a first run start first",
    )


def _add_report(all_commands: _Commands) -> None:
    command = all_commands.add(
        "report",
        commands.report,
        "  glassbench report\n"
        "  glassbench report --format latex\n"
        "  glassbench report --format csv --results results/evaluations/offline/GradNorm\n"
        "  glassbench report --format croissant --profile quick --out data/\n"
        "  glassbench report --format eval-results --benchmark OWNER/NAME",
    )
    _add_formats(command)
    all_commands.add(
        "mend", commands.mend, "  glassbench mend\n  glassbench mend && dvc repro"
    )

    command = all_commands.add(
        "show", commands.show, "  glassbench show\n  glassbench show --profile quick"
    )
    _profile_option(command)

    command = all_commands.add("readme", commands.readme, "  glassbench readme --check")
    command.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit code 2 if out of date",
    )


def _add_formats(command: argparse.ArgumentParser) -> None:
    own = command.add_argument_group("results that are there, in another format")
    own.add_argument(
        "--format",
        choices=FORMATS,
        help="boards as csv or latex, data sets as croissant, or eval-results of a model hub; nothing is computed",
    )
    _profile_option(own)
    own.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="of an evaluation (default: results/PROFILE)",
    )
    own.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="default: results/exports/NAME/FORMAT",
    )
    own.add_argument(
        "--benchmark",
        default="",
        metavar="OWNER/NAME",
        help="with eval-results: the hub's data set that they belong to",
    )


def _add_committed(all_commands: _Commands) -> None:
    command = all_commands.add(
        "verify",
        commands.verify,
        "  glassbench verify\n  glassbench verify --profile quick --sample 5 --seed 1",
    )
    _profile_option(command)
    command.add_argument(
        "--sample",
        type=_positive,
        default=10,
        metavar="N",
        help="how many units (default: 10)",
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the draw (default: 0)"
    )

    command = all_commands.add(
        "judge",
        commands.judge,
        "  glassbench judge --profile trees     # committed rows by today's claims and tolerances; nothing is computed",
    )
    _profile_option(command)

    command = all_commands.add(
        "rekey",
        commands.rekey,
        "  glassbench rekey --profile trees\n  glassbench rekey --profile quick --base e6f767f --sample 20",
    )
    _profile_option(command)
    command.add_argument(
        "--base",
        default="",
        metavar="COMMIT",
        help="whose code made the rows (default: the one in their provenance)",
    )
    command.add_argument(
        "--sample",
        type=_positive,
        default=0,
        metavar="N",
        help="if definitions were rewritten, recompute so many units and compare",
    )


def _add_comparisons(all_commands: _Commands) -> None:
    command = all_commands.add(
        "compare", commands.compare, "  glassbench compare HEAD --profile offline"
    )
    command.add_argument(
        "revision",
        nargs="?",
        default="HEAD",
        help="a git revision (default: HEAD), a folder or a rows file",
    )
    _profile_option(command)

    command = all_commands.add(
        "diff",
        commands.diff,
        "  glassbench diff origin/main\n  glassbench diff HEAD~1 HEAD --md --plot diff.svg\n"
        "  glassbench diff ../other/checkout --profile quick --fail-on regression,lost",
    )
    command.add_argument(
        "base",
        metavar="BASE",
        help="a git revision, a folder with results, or a rows file",
    )
    command.add_argument(
        "head", metavar="HEAD", nargs="?", help="the same (default: the working tree)"
    )
    _profile_option(command)
    forms = command.add_mutually_exclusive_group()
    for form, what in (
        ("json", "every cell, as JSON"),
        ("md", "Markdown, for a pull request"),
    ):
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, help=what
        )
    command.add_argument(
        "--plot", metavar="FILE", help="draw what moved (.svg or .png); --md shows it"
    )
    command.add_argument(
        "--match",
        choices=["method"],
        default="",
        help="method: compare a method's cells although one of its settings has changed",
    )
    command.add_argument(
        "--fail-on",
        default="regression,lost,unverified",
        metavar="KINDS",
        help="exit code 1 on any of these: regression, lost, unverified, re-baselined, improvement, new",
    )


def _add_evaluate(all_commands: _Commands) -> None:
    command = all_commands.add(
        "evaluate",
        evaluating.evaluate,
        "  glassbench evaluate mine.py:GradNorm\n"
        "  glassbench evaluate mine.py:GradNorm?layer=conv3 --targets digits\n"
        "  glassbench evaluate mine.py:GradNorm --metric my.py:f --metric my.py:g?keep=0.3\n"
        "  glassbench evaluate mine.py:GradNorm --baseline main/rows.csv --fail-under better\n"
        "  glassbench evaluate captum:Occlusion?sliding_window_shapes=4 pytorch_grad_cam:LayerCAM zennit:EpsilonPlus\n"
        "  glassbench evaluate --images images.npz; glassbench evaluate maps.npz --name 'My maps'\n"
        "  glassbench evaluate mine.py:GradNorm --network net.py:build --weights w.safetensors --layer layer4 "
        "--images photos/ --size 64",
    )
    command.add_argument(
        "method",
        nargs="*",
        help="path/to/file.py:ClassName, library:ClassName or maps.npz",
    )
    _profile_option(command, ", else offline")
    command.add_argument(
        "--targets",
        nargs="+",
        default=[],
        help="networks: digits/cnn, digits or cnn (default: all)",
    )
    command.add_argument(
        "--name", default="", help="of the folder (and of maps on the board)"
    )
    command.add_argument(
        "--recompute",
        action="store_true",
        help="explain and score the known methods, too",
    )
    _json_option(command)
    command.add_argument(
        "--no-page", action="store_true", help="rows and board only: no plots, no page"
    )
    _metric_option(command)
    command.add_argument(
        "--baseline",
        default="",
        metavar="ROWS",
        help="compare with the method's rows of an earlier evaluation: rows.csv or its folder",
    )
    command.add_argument(
        "--fail-under",
        choices=["same", "better"],
        default="same",
        help="with --baseline: exit code 1 if a cell is worse; better: also if none is better",
    )
    command.add_argument(
        "--images",
        type=Path,
        metavar="FILE",
        help="only write the images to be explained; with --network your images: a folder with a subfolder per class, "
        "a CSV (path, label, box), COCO's JSON, or a folder of Pascal VOC",
    )
    _add_own_network(command)


def _add_own_network(command: argparse.ArgumentParser) -> None:
    own = command.add_argument_group("a network of your own")
    own.add_argument(
        "--network",
        metavar="FILE:FUNCTION",
        help="net.py:build, torchvision:resnet18 or timm:NAME; on the folder --images",
    )
    own.add_argument("--weights", help="a state dict: .safetensors, or torch.save's")
    own.add_argument("--layer", help="explained (default: the last with positions)")
    own.add_argument(
        "--tokens", metavar="HxW", help="the grid of a layer of tokens (default: found)"
    )
    own.add_argument(
        "--size", type=_positive, default=224, help="side in pixels (default: 224)"
    )
    own.add_argument(
        "--fit",
        choices=("squash", "crop"),
        default="squash",
        help="scale both sides to --size, or the shorter one and keep the centre",
    )
    own.add_argument(
        "--grey", action="store_true", help="images of one channel instead of three"
    )
    own.add_argument(
        "--masks", type=Path, help="folder of masks, in the same places as the images"
    )
    own.add_argument(
        "--mean", type=float, nargs="+", help="of the pixels in [0, 1] (default: 0)"
    )
    own.add_argument("--std", type=float, nargs="+", help="the same (default: 1)")
    own.add_argument(
        "--classes",
        nargs="+",
        help="of the outputs, in order, a file with a name per line, or their number (default: those of the images)",
    )


def _add_check_and_new(all_commands: _Commands) -> None:
    command = all_commands.add(
        "check",
        evaluating.check,
        "  glassbench check mine.py:GradNorm\n  glassbench check my.py:metric",
    )
    command.add_argument(
        "method",
        help="path/to/file.py:ClassName, or file.py:function of a metric",
    )

    command = all_commands.add(
        "new",
        evaluating.new,
        "  glassbench new mine.py\n  glassbench new mine.py --kind surrogate\n  glassbench new my.py --kind metric",
    )
    command.add_argument("file", type=Path, help="the file to write")
    command.add_argument(
        "--kind",
        choices=("heatmap", "concept", "surrogate", "decoder", "metric"),
        default="heatmap",
    )


def _add_study(all_commands: _Commands) -> None:
    command = all_commands.add(
        "study",
        commands.study,
        "  glassbench study xnn\n  glassbench study cladec --profile quick --forms 30\n"
        "  glassbench study score anna.csv ben.csv --key key.json",
    )
    kinds = _Commands(command)
    for paper, task in STUDIES.items():
        kind = kinds.add(
            paper,
            commands.study,
            f"  glassbench study {paper}\n  glassbench study {paper} --seed 1 --out kit",
            summary=f"Write the kit of a study with people: {task}.",
        )
        kind.set_defaults(paper=paper)
        _profile_option(kind, ", else offline")
        kind.add_argument(
            "--target",
            default="",
            metavar="NETWORK",
            help="toybirds/cnn (default: the network of the paper's experiment)",
        )
        kind.add_argument(
            "--forms",
            type=_positive,
            metavar="N",
            help="different forms to hand out in turn (default: the study's own)",
        )
        kind.add_argument(
            "--seed",
            type=int,
            default=0,
            metavar="S",
            help="of images, orders and sides (default: 0)",
        )
        kind.add_argument(
            "--set",
            action="extend",
            nargs="+",
            default=[],
            metavar="KEY=VALUE",
            help="settings of the study (docs/studies.md has them)",
        )
        kind.add_argument(
            "--out",
            type=Path,
            metavar="FOLDER",
            help="default: results/studies/PROFILE/PAPER",
        )

    score = kinds.add(
        "score",
        commands.study_score,
        "  glassbench study score answers.csv --key key.json\n  glassbench study score *.csv --json",
    )
    score.add_argument(
        "answers",
        nargs="+",
        type=Path,
        metavar="CSV",
        help="answer sheets, of one person or many each",
    )
    score.add_argument(
        "--key", type=Path, metavar="FILE", help="default: key.json beside the first"
    )
    score.add_argument("--json", action="store_true", help="as JSON")


def entry() -> None:
    """The console script."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    code = main()
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    entry()
