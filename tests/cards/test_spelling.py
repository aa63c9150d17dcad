"""Cards and `--set` paths with the names of an earlier version are read with a notice of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.cards import RunnerCard, load
from synthbench.cards.spelling import score_name
from synthbench.common.errors import BadInput
from synthbench.experiment.resolve import RunRequest, resolve
from tests import tiny
from tests.each import each

OLD_NAMES = {"[variants.": "[arms.", "target_steps = ": "speeds = ", "target_step = ": "speed = ", "rank = ": "tier = "}


def with_old_names(path: Path) -> Path:
    """Rewrites the card with the names of an earlier version, and adds a variant and a scale."""
    text = f"rank = 'learning'\n{path.read_text()}\n[variants.slow]\nof = 'adamw'\nlr = [1e-4]\n"
    text += "\n[scales.quick]\n'reading.speed' = 9\n'reading.speeds' = [9]\n"
    for new, old in OLD_NAMES.items():
        text = text.replace(new, old)
    path.write_text(text)
    return path


def test_a_card_with_old_names_keeps_its_meaning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    new = resolve(RunRequest(str(tiny.write(tmp_path / "new")), device="cpu"))
    assert capsys.readouterr().err == ""
    old = resolve(RunRequest(str(with_old_names(tiny.write(tmp_path))), device="cpu"))
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    for name in ("tier is now rank", "arms is now variants", "reading.speed is now reading.target_step", "version 0.2"):
        assert name in err
    assert old.card.reading == new.card.reading
    assert old.card.variants["slow"].lr == [1e-4]
    assert old.card.rank == "learning"


def test_a_stored_card_is_read_with_its_old_name() -> None:
    stored = load(RunnerCard, "quick").model_dump(mode="json", by_alias=True, exclude={"rank"})
    assert RunnerCard.model_validate(stored | {"tier": "learning"}).rank == "learning"


def test_an_old_name_beside_the_new_one_is_refused(tmp_path: Path) -> None:
    path = tiny.write(tmp_path)
    path.write_text(f"{path.read_text()}\n[arms.slow]\nof = 'adamw'\n[variants.fast]\nof = 'adamw'\n")
    with pytest.raises(BadInput, match="arms and variants are the same key; keep variants alone"):
        resolve(RunRequest(str(path), device="cpu"))


def test_old_names_are_read_in_a_table_that_set_gives(tmp_path: Path) -> None:
    setting = "reading={fit=0.8, speeds=[3, 4], speed=4, sample=8}"
    reading = resolve(RunRequest(str(tiny.write(tmp_path)), settings=[setting], device="cpu")).card.reading
    assert (reading.fit, reading.target_step, reading.target_steps) == (0.8, 4, [3, 4])


def test_old_names_are_read_in_settings_and_scales(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, settings = (
        str(with_old_names(tiny.write(tmp_path))),
        ("scale=quick", "arms.slow.lr=[2e-4]", "reading.speeds=[7, 9]", "reading.speed=7"),
    )
    resolved = resolve(RunRequest(card, settings=settings, device="cpu")).card
    assert (resolved.reading.target_step, resolved.reading.target_steps) == (7, [7, 9])
    assert resolved.variants["slow"].lr == [2e-4]
    assert capsys.readouterr().err.count("\n") == 2  # one for the card, one for --set


def test_scores_have_other_spellings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`x@end` is x; the old `x_over_fit` is `x@fits`, and one line says so."""
    path = tiny.write(tmp_path)
    claim = (
        "[[claims]]\nsays = 'a'\nsource = 'b'\nrows.optimizer = 'adamw'\nthan.optimizer = 'muon'\nexpected = 'lower'"
    )
    columns = "columns = ['forgetting@end', 'forgetting_over_fit', 'forgetting_from_peak@end']"
    text = path.read_text().replace('columns = ["fact_recall", "rule_accuracy@fit", "learning"]', columns)
    path.write_text(f"{text}\n{claim}\nscore = 'tail_recall_over_fit'\n")
    card = resolve(RunRequest(str(path), device="cpu")).card
    assert card.columns == ["forgetting", "forgetting@fits", "forgetting_from_peak"]
    assert card.claims[0].score == "tail_recall@fits"
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "forgetting_over_fit is now forgetting@fits, tail_recall_over_fit is now tail_recall@fits" in err
    settings = ["columns=['learning@end', 'noise_recall_over_fit']", "tier='forgetting_over_fit'"]
    card = resolve(RunRequest(str(tiny.write(tmp_path)), settings=settings, device="cpu")).card
    assert (card.columns, card.rank) == (["learning", "noise_recall@fits"], "forgetting@fits")
    assert capsys.readouterr().err.count("\n") == 1


@each(
    ("name", "registered"),
    [
        ("forgetting@end", "forgetting"),
        ("forgetting", "forgetting"),
        ("forgetting@steps", "forgetting@steps"),
        ("forgetting@fit@end", "forgetting@fit@end"),  # no such score
        ("tail_recall_over_fit", "tail_recall@fits"),
        ("a_over_fit@fit", "a_over_fit@fit"),
    ],
)
def test_a_score_is_registered_under_one_name(name: str, registered: str) -> None:
    assert score_name(name) == registered


def test_the_same_score_in_two_spellings_is_named_twice(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="twice"):
        resolve(RunRequest(str(tiny.write(tmp_path)), settings=["columns=['learning', 'learning@end']"], device="cpu"))


def test_lists_of_decays_and_sizes_are_axes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As cards and results of before have them; what is one value in a list stays a setting."""
    text = tiny.RUNNER.replace('name = "finetune"', 'name = "finetune"\nweight_decay = [0.0, 0.1]\nsizes = [1, 0.5]')
    card = load(RunnerCard, str(tiny.write(tmp_path, text)))
    assert [(axis.name, axis.path, axis.values, axis.updates) for axis in card.axes] == [
        ("size", "stages.finetune.size", [1, 0.5], None), ("decay", "stages.finetune.weight_decay", [0.0, 0.1], None)
    ]  # fmt: skip
    assert "a list at stages.finetune.size is now an axis" in capsys.readouterr().err
    stored = load(RunnerCard, "quick").model_dump(mode="json", by_alias=True)
    for stage in stored["stages"]:
        stage["sizes"] = [stage.pop("size")]
        for override in stage["for"].values():
            override["sizes"] = None
            del override["size"], override["update"], override["optimizer"]
    assert RunnerCard.model_validate(stored) == load(RunnerCard, "quick")
