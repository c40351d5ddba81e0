"""verify: the committed rows are recomputed in a folder of their own, and differences are named."""

import json

import pandas as pd
import pytest

from benchmark import engine, store
from benchmark.cli import commands, main
from benchmark.jobs import verify
from benchmark.pipeline import cells, collect, explain, provenance, replicate, score
from benchmark.pipeline.replicate import Task
from tests.helpers.places import ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Rows of two methods and one experiment, made once; their texts by file name."""
    return {}


@pytest.fixture
def committed(trained, made, monkeypatch):
    """The workspace with rows and provenance of two methods on one network and of one experiment;
    units run in this process, which is quicker."""
    monkeypatch.setattr(
        engine,
        "run",
        lambda units, label: [engine.Done(u, u.function(*u.arguments)) for u in units],
    )
    monkeypatch.setattr(engine, "warm_up", lambda *modules: None)
    methods = [
        str(ROOT / "baselines" / f"{name}.py") for name in ("random_map", "edge_map")
    ]
    trained.params |= {
        "papers": ["explainn"],
        "replicate": {"explainn": [{"experiment": "worked_example"}]},
        "explain": {
            "images": 8,
            "reference": 16,
            "methods": [f"{methods[0]}:RandomMap", f"{methods[1]}:EdgeMap"],
            "again": {"images": 0},
        },
    }
    trained.save()
    paths = store.Paths("tiny")
    if not made:
        for cell in cells.cells(trained.profile, "blobs"):
            explain.explain_cell(cell)
            score.score_cell(cell)
        for task in replicate.tasks(trained.profile, "explainn"):
            replicate.replicate_task(task)
        board, _ = collect.profile_rows(trained.profile)
        rows = pd.concat([board, replicate.collect(trained.profile, board)[0]])
        made |= {
            "rows.csv": store.rows_text(rows),
            "provenance.json": json.dumps(provenance.provenance(trained.profile)),
        }
    for name, text in made.items():
        store.write_text(paths.results / name, text)
    return trained


def rewrite(change):
    """Change the committed rows."""
    rows = store.read_rows(store.Paths("tiny").rows)
    store.write_rows(store.Paths("tiny").rows, change(rows))


def rewrite_provenance(**changes):
    path = store.Paths("tiny").results / "provenance.json"
    store.write_json(path, store.read_json(path) | changes)


def verified():
    return store.read_json(store.Paths("tiny").results / "provenance.json")["verified"]


def everything(root):
    return {
        p: p.read_bytes()
        for p in root.rglob("*")
        if p.is_file() and p.name != "provenance.json"
    }


def test_reproduced_rows_are_verified_and_nothing_else_is_touched(committed, capsys):
    before = everything(committed.root)
    assert main.main(["verify"]) == 0
    text = capsys.readouterr().out
    assert text.count("verified  ") == 3 and "differs" not in text
    assert (
        "3 of 3 units drawn of 3 (seed 0) have the committed rows, to the last digit"
        in text
    )
    assert everything(committed.root) == before
    rows = store.read_rows(store.Paths("tiny").rows)
    values = (
        rows.status.eq("ok") & rows.method.isin(["Random map", "Edge map (Sobel)"])
    ).sum()
    assert (
        verified()["differing"] == {}
        and verified()["values"] > values > 0
        and verified()["same_machine"]
    )
    assert verified()["units"] == [u.name for u in verify.units(committed.profile)]
    assert (
        verified()["sample"] == "3 of 3 units, seed 0"
        and verified()["machine"] == provenance.machine()
    )


def test_a_value_that_is_another_is_named_with_its_difference(committed, capsys):
    at = {}

    def change(rows):
        i = rows.index[(rows.method == "Random map") & (rows.status == "ok")][0]
        at.update(rows.loc[i])
        rows.loc[i, "value"] += 0.25
        return rows

    rewrite(change)
    assert main.main(["verify"]) == 1
    text = capsys.readouterr().out
    assert (
        "differs   blobs/cnn/seed=0 random_map" in text
        and text.count("verified  ") == 2
    )
    assert (
        f"{at['metric']} {at['metric_setting']}".strip() + ":" in text
        and "(-0.25)" in text
    )
    ((name, lines),) = verified()["differing"].items()
    assert name == "blobs/cnn/seed=0 random_map" and len(lines) == 1


def test_an_experiments_value_that_is_another_is_named(committed, capsys):
    rewrite(
        lambda rows: rows.assign(
            value=rows.value.where(rows.paper != "explainn", rows.value + 1)
        )
    )
    assert main.main(["verify"]) == 1
    assert list(verified()["differing"]) == ["explainn.worked_example seed=0"]


def test_a_row_that_was_never_committed_is_said(committed, capsys):
    rewrite(lambda rows: rows[rows.metric != "gini"])
    assert main.main(["verify"]) == 1
    assert "1 of " in capsys.readouterr().out


def test_a_row_that_failed_here_alone_is_a_difference(committed):
    rewrite(
        lambda rows: rows.assign(
            status=["failed" if s == "ok" else s for s in rows.status]
        )
    )
    assert main.main(["verify"]) == 1
    assert all(
        "failed as committed, ok here" in line
        for lines in verified()["differing"].values()
        for line in lines
    )


def test_a_sample_is_drawn_by_its_seed(committed):
    drawn = {
        seed: [
            u.name
            for u in verify.verify_rows(committed.profile, sample=1, seed=seed).units
        ]
        for seed in range(8)
    }
    assert all(len(names) == 1 for names in drawn.values())
    assert len({names[0] for names in drawn.values()}) > 1
    assert [
        u.name for u in verify.verify_rows(committed.profile, sample=1, seed=3).units
    ] == drawn[3]


def test_every_method_and_experiment_has_its_turn():
    """Of the units of quick more than half are one experiment of a tenth of a second."""
    params = commands.load_profile("quick")
    everything = verify.units(params)
    kinds = [
        f"{u.paper}.{u.experiment}" if isinstance(u, Task) else u.method.file
        for u in everything
    ]
    n = len(set(kinds))
    for seed in range(3):
        drawn = verify.draw(everything, n, "quick", seed)
        assert len({kinds[i] for i in drawn}) == n == len(
            set(drawn)
        ) and drawn == sorted(drawn)
        few = verify.draw(everything, 5, "quick", seed)
        assert set(few) < set(drawn) and len(few) == 5
    assert verify.draw(everything, 10**6, "quick", 0) == list(range(len(everything)))


def test_on_another_machine_the_last_digits_may_differ(committed, capsys):
    rewrite_provenance(machine={"cpu": "another"})
    rewrite(lambda rows: rows.assign(value=rows.value * (1 + 1e-6)))
    found = verify.verify_rows(committed.profile)
    assert not found.exact
    assert "another kind of machine" in list(verify.lines(found))[-1]


def test_a_network_that_is_gone_is_trained_again(committed):
    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    for suffix in (".safetensors", ".json"):
        weights.with_suffix(suffix).unlink()
    assert main.main(["verify"]) == 0
    assert not weights.exists()  # not in the working results


def test_a_network_of_other_weights_is_not_used(committed):
    """Spoilt weights in the working results: the committed ones are retrained, and the rows are verified."""
    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    weights.write_bytes(b"spoilt")
    assert main.main(["verify"]) == 0
    assert weights.read_bytes() == b"spoilt"


def test_committed_weights_that_cannot_be_made_here_are_named(committed, capsys):
    then = store.read_json(store.Paths("tiny").results / "provenance.json")
    rewrite_provenance(weights=dict.fromkeys(then["weights"], "0" * 16))
    assert main.main(["verify"]) == 1
    assert "its blobs/cnn-0 is not the committed one here" in capsys.readouterr().out


def one_line(capsys):
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


def test_nothing_committed_is_one_line(trained, capsys):
    trained.save()
    assert main.main(["verify"]) == 2
    assert (
        "nothing to verify; `make leaderboard PROFILE=tiny` computes them"
        in one_line(capsys)
    )


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("steps", "explain"),
        ("steps", "score"),
        ("steps", "replicate"),
        ("experiments", "explainn.worked_example"),
        ("metrics", "gini"),
        ("params", None),
    ],
)
def test_another_code_is_one_line_that_names_the_commit(committed, capsys, part, key):
    then = store.read_json(store.Paths("tiny").results / "provenance.json")
    made = then["made"] | {"commit": "abcdef0123456789"}
    rewrite_provenance(
        made=made, **{part: "0" if key is None else then[part] | {key: "0"}}
    )
    assert main.main(["verify"]) == 2
    line = one_line(capsys)
    assert (
        part in line
        and "git checkout abcdef012345" in line
        and "make leaderboard PROFILE=tiny" in line
    )


@pytest.mark.parametrize("sample", ["0", "-1", "x"])
def test_a_sample_is_a_positive_number(sample, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["verify", "--sample", sample])
    assert stop.value.code == 2 and "positive whole number" in one_line(capsys)


def test_dvc_keeps_the_new_hash(committed):
    """What verify writes into the provenance is no change that would make DVC report again."""
    import hashlib

    path = store.Paths("tiny").results / "provenance.json"
    entry = "    - path: results/tiny/provenance.json\n      hash: md5\n      md5: {}\n      size: {}\n"

    def recorded():
        return entry.format(
            hashlib.md5(path.read_bytes()).hexdigest(), path.stat().st_size
        )

    lock = committed.root / "dvc.lock"
    lock.write_text(recorded())
    verify.record(store.Paths("tiny"), verify.verify_rows(committed.params, sample=1))
    assert lock.read_text() == recorded()


def test_a_report_keeps_what_was_verified_while_it_holds(committed):
    paths = store.Paths("tiny")
    verify.record(paths, verify.verify_rows(committed.params, sample=1))
    facts = provenance.provenance(committed.profile)
    assert provenance.kept(paths, facts)["verified"] == verified()
    assert "verified" not in provenance.kept(paths, facts | {"weights": {}})


def test_the_same_results_keep_their_date_and_commit(committed):
    paths = store.Paths("tiny")
    rewrite_provenance(
        made={"date": "2020-01-01", "commit": "abc", "changed_files": []}
    )
    facts = provenance.provenance(committed.profile)
    assert provenance.kept(paths, facts)["made"]["date"] == "2020-01-01"
    shown = facts | {
        "steps": facts["steps"] | {"report": "0"}
    }  # drawn by other code: the rows are the same
    assert provenance.kept(paths, shown)["made"]["date"] == "2020-01-01"
    assert provenance.kept(paths, facts | {"data": {}})["made"]["date"] != "2020-01-01"


def test_compare_and_diff_do_not_mind(committed, capsys, monkeypatch):
    assert main.main(["verify", "--sample", "1"]) == 0
    assert main.main(["compare", str(store.Paths("tiny").results)]) == 0
    assert main.main(["diff", str(store.Paths("tiny").results)]) == 0


@pytest.mark.parametrize("command", ["verify", "mend"])
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main([command, "--help"])
    assert stop.value.code == 0
    assert f"glassbench {command}" in capsys.readouterr().out.split("examples:")[1]
