"""Promises of `evaluate`: trials resume, rows hold what tables need, wrong words are one sentence."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalog import Folders
from engine.evaluate import add_arguments, tables
from engine.evaluate.bench import Bench, Watch
from engine.evaluate.command import _ways, evaluate
from engine.evaluate.plots import draw
from engine.evaluate.results import Results
from engine.evaluate.trials import HELD, Prompt, Trial, Way, plan, prompts, search_ways
from engine.evaluate.ways import ablations, method_ways, pair_ways
from engine.methods import METHODS
from engine.packs import find_packs
from engine.runner import ModelRunner
from engine.settings import EngineSettings
from engine.training.vocabulary import load_prompts
from storage.errors import UserError
from storage.job import Method
from storage.prompt import parse, scene

PROMPT = Prompt("a lemon", "lemon")


def test_held_prompts_are_other_than_those_of_tuning() -> None:
    """Twenty-four each, and none in both, nor in any list that the training is measured with."""
    held, tuning = {p.text for p in prompts("held")}, {p.text for p in prompts("tuning")}
    seen = json.dumps(load_prompts())
    assert (len(held), len(tuning)) == (24, 24)
    assert not any(json.dumps(text) in seen for text in held)
    assert all(prompt.label for prompt in prompts(str(HELD)))


def test_prompts_come_from_a_plain_file_too(tmp_path: Path) -> None:
    """A prompt a line; a name that is neither list nor file is refused by naming what there is."""
    (tmp_path / "mine.txt").write_text("a blue dog\n\n a cat \n")
    assert [p.text for p in prompts(str(tmp_path / "mine.txt"))] == ["a blue dog", "a cat"]
    with pytest.raises(UserError, match="held, pairs, tuning, or a file"):
        prompts("nothing")


def test_every_k_of_the_paper_that_fits_is_tried() -> None:
    """A pack of 26 labels has k = 1, a tenth, 10, 20 and all."""
    assert [way.params["top_k"] for way in search_ways(26)] == [1, 3, 10, 20, 26]
    assert [way.params["top_k"] for way in search_ways(1000)] == [1, 10, 20, 50, 100, 1000]


def test_a_search_trial_agrees_with_the_method(runner: ModelRunner) -> None:
    """The row's best is the picture that a person would get, its curve never falls, and all scores are there."""
    trial = Trial(PROMPT, 7, Way("search", Method.SEARCH, {"top_k": 2}))
    row = Bench(runner, "tiny").run(trial, 20)
    space = runner.space("tiny")
    found = Bench(runner, "tiny").drive(METHODS[Method.SEARCH].run(trial.job("tiny", 20), space, None), Watch())
    best = found.pictures[0]
    assert (row["clip"], row["label"]) == (pytest.approx(best.clip_score), best.label)
    assert (row["augclip"], row["judge"]) == (pytest.approx(best.augclip_score), pytest.approx(best.judge_score))
    assert row["curve"] == sorted(row["curve"])
    assert row["curve"][-1] == pytest.approx(row["clip"], abs=1e-5)
    assert row["judge_at"]["20"] == pytest.approx(row["judge"], abs=1e-5)
    assert row["random_clip"] < row["clip"]


def test_a_climb_is_watched(runner: ModelRunner) -> None:
    """FuseDream's row has a point for every measurement of its own, with rising steps and seconds."""
    trial = Trial(PROMPT, 7, Way("fusedream", Method.FUSEDREAM, {"steps": 6}))
    row = Bench(runner, "tiny").run(trial, 12)
    steps = [point[0] for point in row["points"]]
    assert row["steps"] == 6
    assert steps == sorted(steps)
    assert steps[-1] == 6
    assert row["judge"] is not None


def test_an_ablation_turns_the_methods_own_knobs(runner: ModelRunner) -> None:
    """Left out is what its name says: the rows differ from the whole method's, and no knob is unknown to it."""
    whole = Way("fusedream", Method.FUSEDREAM, {"steps": 4})
    ways = [whole, *(replace(way, params={"steps": 4, **way.params}) for way in ablations(5))]
    rows = [Bench(runner, "tiny").run(Trial(PROMPT, 7, way), 12) for way in ways]
    assert len({row["judge"] for row in rows}) == len(ways) == 6


def test_pairs_are_composed_pasted_and_not_composed(runner: ModelRunner) -> None:
    """Every held-back pair is two things, and each of its ways runs on the same prompt with scores of its own."""
    assert all(len(scene(parse(prompt.text))) == 2 for prompt in prompts("pairs"))
    pair = prompts("pairs")[0]
    rows = {way.name: Bench(runner, "tiny").run(Trial(pair, 7, way), 6) for way in pair_ways(3)}
    assert [row["steps"] for row in rows.values()] == [0, 3, 1, 3]
    assert len({row["judge"] for row in rows.values()}) == 4


def test_a_broken_run_goes_on_where_it_was(tmp_path: Path, runner: ModelRunner) -> None:
    """Rows are there again, a torn line is not, and results of other settings are refused."""
    trials, path = plan([PROMPT], 2, [Way("search", Method.SEARCH, {"top_k": 2})]), tmp_path / "trials.jsonl"
    results = Results(path, {"pack": "one"})
    results.add(Bench(runner, "tiny").run(trials[0], 5))
    with path.open("a") as file:
        file.write('{"key": "torn')
    again = Results(path, {"pack": "one"})
    assert trials[0].key in again
    assert trials[1].key not in again
    assert len(path.read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="choose another folder"):
        Results(path, {"pack": "two"})


def test_the_command_runs_what_is_missing_and_prints_a_table(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One prompt from a file, two seeds: a JSON line a way; the second run has nothing left to do."""
    monkeypatch.delenv("DREAMBOT_DATA", raising=False)
    (tmp_path / "mine.txt").write_text("a lemon\na barn\n")
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    add_arguments(parser)
    words = ["--pack", "tiny", "--prompts", str(tmp_path / "mine.txt"), "--seeds", "2", "--candidates", "5", "--json"]
    chosen = parser.parse_args([*words, "--ways", "published", "--out", str(tmp_path / "out")])
    settings = EngineSettings(device="cpu", threads=1, packs=tiny_folder)
    folders = Folders(kept=tmp_path / "kept", cache=tmp_path / "cache")
    assert evaluate(settings, folders, chosen) == 0
    first = capsys.readouterr()
    assert [json.loads(line)["way"] for line in first.out.splitlines()] == [
        "random draw",
        "published search k=5 (all)",
        "published search k=1",
    ]
    assert "8 of 8: published search k=1, seed 1, a barn" in first.err
    assert evaluate(settings, folders, chosen) == 0
    assert " of " not in capsys.readouterr().err
    chosen.ways = "published search k=1, dance"  # a whole name is that way alone, k=10 is another
    assert [way.name for way in _ways(find_packs(tiny_folder)["tiny"], chosen)] == ["published search k=1"]
    chosen.ways = "fusedream w"
    assert len(_ways(find_packs(tiny_folder)["tiny"], chosen)) == 4
    chosen.ways = "dance"
    with pytest.raises(UserError, match="ways begin with one of"):
        evaluate(settings, folders, chosen)


def test_tables_and_plots_come_from_the_rows(tmp_path: Path, runner: ModelRunner) -> None:
    """The table of methods has a random draw first; the paper's has a law for every k; plots are files."""
    bench, results = Bench(runner, "tiny"), Results(tmp_path / "trials.jsonl", {})
    asked = [PROMPT, Prompt("a barn", "barn")]
    for trial in plan(asked, 2, method_ways(5, 4)[:2]):
        results.add(bench.run(trial, 12))
    baseline = results.rows[0]["way"]
    table = tables.methods(results.rows, baseline, None)
    assert table[0]["way"] == tables.RANDOM
    assert table[1]["gain"] == 0.0
    assert all(line["judge low"] <= line["judge"] <= line["judge high"] for line in table)
    paper = tables.csc2516(results.rows, None)
    assert all(line["sigma"] > 0 for line in paper)
    assert "random draw" in tables.as_text(table)
    assert {path.name for path in draw(results.rows, tmp_path / "plots")} == {"best_of_n.png", "scorer_and_judge.png"}
    results.write_csv(tmp_path / "trials.csv")
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 1 + len(results.rows)
