"""README.md beside the data: the head that `datasets` reads, and what a person must know to train and score on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from synthbench import __version__
from synthbench.common.wording import literal
from synthbench.generators import Task
from synthbench.reporting.export_data.text import FIELDS, Part, file_name
from synthbench.reporting.gallery import exposures, floors_of, highest
from synthbench.reporting.table import github

HEADS = ["stage", "split", "slice", "examples", "seen", "bits an answer", "chance", "floor", "exact match is called"]
SCORES = {
    ("train", "fact"): "`fact_recall`",
    ("train", "rule"): "`rule_fit`",
    ("train", "exception"): "`exception_recall`; with `rule_answer`: `overregularization`",
    ("train", "noise"): "`noise_recall`; with `rule_answer`: `rule_through_noise`",
    ("validation", "rule"): "for choosing settings",
    ("test", "rule"): "`rule_accuracy`",
    ("unseen", "rule"): "`unseen_accuracy`",
}  # by split and slice
SCORING = """\
Train on `train`, shuffled, with the loss on the answer alone (prompt and completion, as trainers call them), an item
`repeats` times as often as others. To ask what is forgotten, train on the stages one after the other.

Then give the model each prompt, let it go on greedily up to the first full stop, and count the items whose whole answer is
right, spaces around it stripped, for each row of the table apart. `forgetting` is the mean of an earlier stage's
`fact_recall` and `rule_accuracy` before a stage, less the same after it; `head_recall` and `tail_recall` are the
`fact_recall` of a bucket.

An accuracy means something above its floor, the best of four ways to answer without learning anything of the kind: uniform
guessing, the most common trained answer (modal), copying the prompt, the answer of the nearest trained prompt. Held-out
facts are left out: a fact that was never shown has no answer to be found."""


def page(task: Task, every_part: Sequence[Part], seed: int, form: str) -> str:
    """The page of a folder of data. form: how its files are written."""
    card, language = task.card, task.language
    stages = list(dict.fromkeys(part.stage for part in every_part))
    variant = f", variant `{card.variant}`" if card.variant else ""
    syllables = [language.text(token) for token in range(language.first_syllable, language.vocabulary)]
    shares = [text for stage in stages if (text := _shares(task, stage))]
    notes = dict.fromkeys(part.note for stage in stages for part in card.stages[stage].values() if part.note)
    lines = [
        *_head(every_part, form), "", f"# {card.label}", "", literal(card.question), "", literal(card.description), "",
        f"Source: {literal(card.source)}", "",
        f"Made by synthbench {__version__} from task `{card.name}` {card.version}{variant}, seed {seed}; fingerprint "
        f"`{task.fingerprint}`. Nothing compares across fingerprints.", "",
        "```python", f'datasets.load_dataset("path/of/this/folder", "{stages[-1]}")', "```", "",
        github(HEADS, [_row(part) for part in every_part]), "",
        *([*shares, ""] if shares else []), *(f"{literal(note)}\n" for note in notes),
        f"The {language.syllables} syllables, in the order in which rules count them: {' '.join(syllables)}.", "",
        "## Training and scoring", "", SCORING, "",
        "## Fields", "", *(f"- `{field}`: {meaning}" for field, (_, meaning) in FIELDS.items()), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _head(every_part: Sequence[Part], form: str) -> Iterator[str]:
    """YAML: a configuration for each stage, with types of fields, for in some files one of them is always null."""
    stages: dict[str, dict[str, None]] = {}
    for part in every_part:
        stages.setdefault(part.stage, {})[part.split] = None
    yield from ("---", "configs:")
    for stage, splits in stages.items():
        yield from (f"- config_name: {json.dumps(stage)}", "  data_files:")
        for split in splits:
            yield from (f"  - split: {split}", f"    path: {json.dumps(file_name(stage, split, form))}")
    yield "dataset_info:"
    for stage in stages:
        yield from (f"- config_name: {json.dumps(stage)}", "  features:")
        for field, (kind, _) in FIELDS.items():
            yield from (f"  - name: {field}", f"    dtype: {kind}")
    yield "---"


def _row(part: Part) -> list[str]:
    examples = part.examples
    return [
        part.stage, part.split, part.slice, str(len(examples)), exposures(examples) if part.split == "train" else "-",
        f"{examples.bits_N.mean():.4g}", f"{examples.chance_N.mean():.2g}", highest(floors_of(examples, part.train)),
        SCORES.get((part.split, part.slice), "-"),
    ]  # fmt: skip


def _shares(task: Task, stage: str) -> str:
    """In which proportion a batch has the slices of a stage, where it has several."""
    shares = [f"{part.share} {slice_}" for slice_, part in task.card.stages[stage].items()]
    return f"Batches of {stage} hold slices in the proportion {' : '.join(shares)}." if len(shares) > 1 else ""
