"""Every column of tables and exports, with its meaning: docs/columns.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from docs.generated import STALE
from synthbench.common.wording import code
from synthbench.reporting.export import ALONG, POINTS
from synthbench.reporting.table import github

ROW = {
    "task": "the task's name, with its variant",
    "base": "the optimizers of the stages before, joined by `/`",
    "optimizer": "the optimizer of the last stage, or the name of a variant",
    "trainable": "which weights may move (`--update`): `full`, `full-hidden` (the matrices that LoRA touches), or `lora-R`",
    "LABEL": "of each axis of the card, by its label: the row's value; empty where it is not on it",
    "base_facts": "recall of pretraining facts before finetuning, mean over seeds; empty from scratch",
    "base_rule": "held-out accuracy of the pretraining rule then",
    "base_loss": "validation loss of pretraining then, nats a token of the answer",
    "base_exposure": "the weight decay of pretraining times the sum of its learning rates: decoupled decay alone "
    "shrinks a weight by the factor exp(-exposure)",
    "data_size": "trained items over those of the card",
    "weight_decay": "of the last stage, as the card has it",
    "decay": "the weight decay in force: the card's; `none`; a plug-in's own, as `own 0.3`, or of some of its groups, as "
    "`0.1, own 0`",
    "lr": "the learning rate with the highest `validation_learning`; rates within .01 of it are decided by least "
    "forgetting (mean of `fact_forgetting` and `skill_forgetting` at the end, or whichever of the two there is), then by "
    "`validation_loss`, then the lowest rate; only seeds that have every rate count (all, where none has), and only runs "
    "that started from a chosen run; empty where every run diverged",
    "own_rate": "whether the optimizer sets its learning rate itself, so that it ran at one, and `lr` has no meaning",
    "edge": "whether that rate lies at an end of its grid, so that a better one may lie beyond",
    "trials": "learning rates tried in each stage, `5x5`; empty where there is no record of them",
    "n": "seeds; of an unfinished experiment those that count for `lr`",
    "runs": "runs over all learning rates and seeds; of an unfinished experiment those that count for `lr`",
    "diverged": "those of these `runs` that diverged: a loss or a weight is NaN or infinite, the weights are 1000 times as "
    "large as at the start, or the last losses are twice those of uniform guessing",
    "reference": "whether the row was shipped with synthbench, not measured in this folder",
    "device": "what measured it: processor with its model and instruction set, BLAS library and system, or GPU with its "
    "compute capability and CUDA; several joined by ` + `",
    "rank_first": "1 + the number of rows of the same task and size that are significantly better in the card's score (t "
    "tests, of a score `x@t` rank tests, Holm over all pairs of rows, 5 %); only from 8 seeds on; no rank for reference "
    "rows, for fewer than 80 % of the seeds (of a score at the end: of all), or for trials unlike most rows'",
    "rank_last": "the number of ranked rows of the same task and size, less those that are significantly worse",
    "behind": "how much better the best ranked row of the same task and size is in that score; empty for the best one, and "
    "without a rank",
    "behind_low": "lower end of its 95 % interval",
    "behind_high": "upper end of its 95 % interval",
    "versus": "with `--versus`: the row that the scores are differences to",
    "paired": "with `--versus`: whether the differences are paired over seeds: where both rows start from the same models "
    "(or no stage comes before) and one same device measured them; else they are of the means of both rows (Welch)",
}
SCORE = {
    "NAME": "mean over seeds of the score; of a score `x@t` the median, which may be a bound",
    "NAME_low": "lower end of the 95 % interval (Student's t over seeds), or of the score's range where that is higher",
    "NAME_high": "upper end of the 95 % interval, or of the score's range where that is lower",
    "NAME_n": "seeds that have the score; of a score `x@t` those whose value is no bound",
    "NAME_bound": "only of a score `x@t`: `>` or `<` where the median is a bound, else empty",
}
TABLE = {
    "optimizer": "as below; `B on A`: pretrained by A, finetuned by B; else one optimizer does both. `*`: a reference row",
    "update": "as `trainable` below; a rank stands over the width that it is part of: `lora-16/64`",
    "LABEL": "as below; `-`: not on the axis",
    "decay": "as below, where rows differ in it",
    "base facts": "`base_facts`, where rows of one name start from different models",
    "base rule": "`base_rule` there",
    "base loss": "`base_loss` there",
    "base exposure": "`base_exposure`, where rows of one name differ in it",
    "rank": "`rank_first`-`rank_last`: the places that significant differences leave a row; one number where they agree",
    "behind": "as below, ± half its 95 % interval; `-`: the best row",
    "trials": "as below, where rows were not given equally many",
    "lr": "as below; `!`: at the edge of its grid; `own`: the optimizer sets its rate itself",
    "diverged": "diverged / all runs, over all learning rates and seeds",
    "score": "mean ±half the 95 % interval; `[low, high]` where the score's range cuts it; `n=`: seeds, where some lack a "
    "value; `↑`, `↓`: better up or down; `>x (k/n)`: a median that is a bound, known at k of n seeds; `not reached`: too "
    "few seeds have learning rates on both sides of the target step; `diverged`: every run did; `-`: no such score in this "
    "task; `ceiling`: at least 95 % of what the data holds",
}
COMPARISON = {
    "task": "of both rows",
    "LABEL": "of each axis of the card: of A's row, where A and B do not differ in it",
    "data_size": "of both rows",
    "optimizer": "of both rows, where they do not differ in it",
    "trainable": "of both rows, where they do not differ in it",
    "weight_decay": "of A's row",
    "a": "the first side of the comparison",
    "b": "the second side",
    "reference": "whether one of the rows was shipped with synthbench",
    "paired": "whether A and B are compared seed by seed: where both rows start from the same models (or no stage comes "
    "before) and one same device measured them; else as two samples (Welch)",
    "score": "the score that is compared",
    "unit": "its unit",
    "n": "seeds that both rows have; unpaired: of the row with fewer",
    "mean_a": "mean of A over these seeds; unpaired: over all of A; of a score `x@t` the median, empty where it is a bound",
    "mean_b": "the same of B",
    "difference": "mean_a - mean_b; of a score `x@t` the median of the differences by seed (unpaired: of those of all "
    "pairs of values, Hodges and Lehmann's), empty where it is a bound",
    "low": "lower end of its 95 % interval (Student's t; unpaired: Welch's),"
    " within the range of such differences; verdicts use the whole one",
    "high": "upper end of its 95 % interval, within the same range",
    "p": "p-value of the t test, paired or Welch's; of a score `x@t`, whose values may be bounds, of Wilcoxon's "
    "signed-rank test, unpaired of Mann and Whitney's; empty where nothing is decided by it: too few seeds, or not "
    "comparable",
    "p_holm": "the same, adjusted for all tests of the comparison (Holm); empty likewise",
    "margin": "the largest difference that counts as none, from the card, for the score's unit",
    "detectable": "the difference that as many seeds detect with 80 % power",
    "seeds_needed": "where inconclusive: estimated number of seeds (of each row) for 80 % power; at least n + 1, empty "
    "beyond 1,000",
    "verdict": "better, worse, higher or lower where the interval excludes 0 (of a score `x@t`: where p < .05); no "
    "difference larger than the margin where an equivalence test at 5 % shows it; depends on the target step where the "
    "sign does; not comparable, and why, where the rows were not tuned alike; else inconclusive",
}
RUN = {
    "run": "the run's id: a hash of every input that affects its results",
    "parent": "the run that it started from",
    "task": "the task's name, with its variant; of a pretraining run that tasks share, the family (`verbs`)",
    "task_version": "version of the task's card; empty where tasks share the run",
    "task_fingerprint": "hash of the task's resolved card and its data",
    "model": "shape of the model",
    "stage": "`pretrain`, `finetune`, ...",
    "trainable": "which weights may move",
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "examples": "trained items by entry of the task's card: `rule` of wugs and noisy-rule counts the exceptions and the "
    "noise, which are slices of their own in `fit`",
    "steps": "training steps",
    "seed": "root seed of data and initialization",
    "optimizer": "the optimizer",
    "fingerprint": "hash of the optimizer's name, arguments, routing and code",
    "routing": "ordered pairs of a pattern of parameter names and what moves them",
    "attempt": "1, or a higher number where `--fresh` trained the run again",
    "status": "`ok`, `diverged` or `interrupted`",
    "runner": "the runner's name",
    "pretrain_optimizer": "the optimizer of the first stage",
    "rows": "the rows that it belongs to, each `base/optimizer` as in rows, of an earlier stage as far as it: variants "
    "may share runs",
    "axis_values": "values of the axes that its row differs in, by label",
    "chosen": "whether its learning rate is the one that validation data chose, for one of its rows at least",
    "chosen_by": "those of its rows for which it was",
    "edge": "whether that rate lies at an end of the grid of one of these",
    "fleet_size": "runs that were trained together with it",
    "split": "the split of held-out items that scores are computed on",
    "scores": "scores at the end, on all items (in CSV a column each); `forgetting_from_peak` is one of the path, on its "
    "samples at both ends, and so can be below `forgetting`",
    "path": "scores along training, by step (not in CSV; `--format paths` has them), on samples, also at its first and "
    "last step",
    "weights": "file of the weights, in the folder of results; empty where they were not kept",
    "versions": "packages that it was trained with",
    "device": "what trained it, as in rows",
    "started": "when its fleet started, UTC",
    "seconds": "its share of the fleet's time",
}
POINT = {
    "run": "the run's id, by which `export --format csv` has more about it",
    "task": "the task's name, with its variant; of a pretraining run that tasks share, the family (`verbs`)",
    "stage": "`pretrain`, `finetune`, ...",
    "optimizer": "the optimizer",
    "trainable": "which weights may move",
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "seed": "root seed of data and initialization",
    "step": "training steps until then; 0: before the first",
    "score": "the name of a score",
    "value": "its value at this step, on samples",
}
CLAIM = {
    "kind": "what it contrasts: `difference`, `interaction`, `trend`, `dominates` or `inversion`",
    "says": "the claim, as the card has it",
    "source": "who makes it",
    "score": "the score that it is about; in `readings` the one that was read",
    "rows": "the rows that it is about",
    "than": "the rows that they are compared with",
    "matrix": "the optimizers of an interaction, their update and where they lie on axes",
    "axis": "the axis of a trend or an inversion",
    "scale": "of a trend: `linear` or `log`",
    "no_worse": "of a dominance: the second score",
    "given": "a score that is held equal, by its slope within rows",
    "before": "of an inversion: the score of the bases",
    "expected": "`higher`, `lower`, `equal`, `no higher` or `no lower`",
    "primary": "whether it shares the error rate of 5 % with the other primary ones (Holm); others are exploratory",
    "answer": "`supported`, `opposite`, `no difference`, `inconclusive`, `depends on target step`, `depends on reading` or "
    "`not measured`",
    "difference": "mean over tasks (and values of axes that are pooled) of the differences; of a score `x@t` mean over "
    "tasks of medians (unpaired: Hodges and Lehmann's), empty where it is a bound; of a trend the change over the span of "
    "the axis, of a trend of bounds Kendall's tau, of an inversion the share of inverted pairs less 0.5. This and all that "
    "follows: of the first reading",
    "low": "lower end of its 95 % interval (Student's t; unpaired: Welch's; of tau and of inversions by flipped signs),"
    " within the range of such differences; verdicts use the whole one",
    "high": "upper end of its 95 % interval, within the same range",
    "n": "seeds that at least one of the tasks has; unpaired: on the side with fewer",
    "paired": "whether differences are paired over seeds: where both rows of each task start from the same models (or no "
    "stage comes before) and one same device measured them",
    "p": "of the test that decided the answer; of a primary claim adjusted (Holm); of a score `x@t` of the rank test; over "
    "tasks, ranks are summed by seed",
    "tasks": "verdict, difference, interval, n and `paired` of each task",
    "missing": "tasks, or values of an axis, that are left out, and why",
    "again": "A/A: the same of each compared optimizer minus its variant with another salt; of a trend or an inversion of "
    "the variant itself",
    "pairs": "of an interaction: the same of each two optimizers",
    "beside": "of a dominance: the second score with its numbers, `p` of its one-sided test and its A/A",
    "margin": "the largest difference that counts as none, from the card, for the score's unit",
    "seeds_needed": "where inconclusive: estimated number of seeds (of each row) for 80 % power",
    "elsewhere": "by other target step of the card the verdict and the difference there, where the verdict is another "
    "or the difference lies outside the interval",
    "turn": "of a trend: the value of the axis with the best mean (`best`), between which values it lies in 95 % of "
    "resamples of the seeds (`low`, `high`), and whether worse ones are on both sides (`is_inside`)",
    "readings": "for each reading its score, answer, and all of the above from `difference` on",
}


def columns_page() -> str:
    """Every column by the command that prints it."""
    return "\n".join(
        [
            "# Columns", "", STALE, "",
            "`@fit` scores are interpolated to the card's training accuracy (`reading.fit`, usually 0.9) and target step "
            "(`reading.target_step`): for each learning rate the path is read where training accuracy first reaches the "
            "fit, then between learning rates at the target step; a set x times as large has x times the steps. They are "
            "measured on at most `reading.bracket_sample` items of a set. Other scores are those of the last step, at the "
            "chosen learning rate, on all items. Every score: `synthbench show score NAME`.", "",
            *_section("Tables", "`synthbench run`, `report`, and pages made by `report --format markdown`.", TABLE),
            *_section("Rows", "`report --format csv` or `json`, and `rows()` and `to_pandas()` in Python. Scores of a run "
                      "are rounded to six decimals before means and tests are computed from them.", ROW),
            "For each score NAME:", "", *_table(SCORE),
            *_section("Comparisons", "`compare --format csv` or `json`, and `compare(...).rows()` in Python.", COMPARISON),
            *_section("Runs", "`synthbench export`, and `runs()` in Python.", RUN),
            "In `scores` (in CSV columns) and in `path`:", "", _names(name for name in POINTS if name in ALONG), "",
            "In `scores` alone:", "", _names(name for name in POINTS if name not in ALONG), "",
            *_section("Paths", "`synthbench export --format paths`: CSV, a line for each run, step and score.", POINT),
            *_section("Claims", "`claims` in `report --format json`; absent where no claim is measured.", CLAIM),
        ]
    ).rstrip()  # fmt: skip


def _section(title: str, where: str, columns: Mapping[str, str]) -> list[str]:
    return [f"## {title}", "", where, "", *_table(columns)]


def _table(columns: Mapping[str, str]) -> list[str]:
    return [github(["column", "meaning"], [[code(name), meaning] for name, meaning in columns.items()]), ""]


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))
