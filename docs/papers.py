"""reports/papers.md: every claim of the two papers, on what evidence, and what became of it here, reading by reading."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docs.generated import STALE
from synthbench import cards
from synthbench.analysis import reference
from synthbench.analysis.claims import REFUTED, Answer, Reading, answers
from synthbench.analysis.contrast import Contrast
from synthbench.analysis.rows import ON, Row
from synthbench.analysis.statistics import difference
from synthbench.cards import RunnerCard
from synthbench.common.wording import code, literal
from synthbench.reporting import claim_answers, sentence
from synthbench.reporting.sentence import NAMES, elsewhere, p_value
from synthbench.reporting.table import Entry, github
from synthbench.scores import SCORES

README = Path(__file__).resolve().parent.parent / "README.md"
CONSISTENCY, DECAY = "arXiv 2605.06654", "arXiv 2602.11137"


class PaperClaim(NamedTuple):
    """A claim of a paper. evidence: what it rests on there. here: the claims of a runner's card that answer it, by the
    beginnings of their words. limits: what this scale cannot show. beside: claims that are asked beside it: controls, and
    what the paper does not say."""

    name: str
    says: str
    evidence: str
    runner: str
    here: tuple[str, ...]
    limits: str = ""
    beside: tuple[str, ...] = ()


LLMS = (
    "GPT-2 small on OpenWebText and Llama-2-7B, finetuned on MetaMathQA, Alpaca and Magicoder; rates searched, no seeds "
    "told"
)
SMALL = "Models of 64 columns and two layers, synthetic languages: what larger models or natural text do is not shown."
TWO_MUONS = (
    "Muon is the built-in one: torch.optim.Muon finds more of the rule than AdamW at the end, on version 2.0 of the task "
    "(reports/optimizers.md). The control of the embeddings' rate has 0.24 of Muon's rate, in finetuning alone."
)
ACTS = "What goes together need not be a cause."
LARGER = "The larger the weight decay of pretraining"
FEWER = (
    "A model of large decay knows fewer facts before (`base facts`), and so can forget fewer: the share that is kept of "
    f"what it knew tells whether it forgets less. {SMALL}"
)
PAPERS: dict[str, list[PaperClaim]] = {
    f"{CONSISTENCY}, optimizer-model consistency": [
        PaperClaim("O1", "Finetuning with the optimizer that pretrained forgets less than with another one, at the same or "
                   "better learning.", LLMS, "consistency",
                   ("Finetuning with the optimizer that pretrained forgets fewer facts than", "It finds no less",
                    "It forgets less of the old rule", "The same of every pair"), SMALL,
                   ("The same under LoRA", "At equal distance")),
        PaperClaim("O2", "Full finetuning with that optimizer is better than LoRA in both.", f"{LLMS}; rank 16, 64, 256",
                   "consistency", ("Full finetuning with AdamW", "Full finetuning with Muon", "On one task, full"),
                   "Here rank 16 is a quarter of the width, a larger part than there."),
        PaperClaim("O3", "Optimizers regularize activations, which leaves different landscapes around the checkpoint.",
                   "Activations and losses around GPT-2 small", "geometry",
                   ("A model that Muon pretrained has lower peaks", "A model that Muon pretrained has smaller",
                    "Each model is flattest"), SMALL),
        PaperClaim("O4", "A finetuning update should have the structure that the pretraining optimizer gives.",
                   "An argument from O3", "geometry",
                   ("The update of the optimizer that pretrained", "The same of every pair", "At an equal rise",
                    "At an equal norm", "At an equal stable rank"), f"{ACTS} {SMALL}"),
        PaperClaim("O4, made to act", "The same, by updates that are given the other optimizer's structure.",
                   "Not asked there", "intervention",
                   ("On the model that", "Forgetting follows the structure"), SMALL),
        PaperClaim("O5", "Muon throughout has the lower pretraining loss and is worse after finetuning for reasoning.",
                   "GPT-2 small on OpenWebText: 2.974 against 3.010; then MetaMathQA", "reasoning",
                   ("Muon has the lower loss", "Muon throughout finds", "Muon throughout composes",
                    "On the model that AdamW", "On the model that Muon"),
                   "Reasoning is composing two facts. Either optimizer learns the pretraining language wholly (losses "
                   f"below 0.01), so that the first half cannot show here. {SMALL}"),
        PaperClaim("O6", "Muon leans to rote memorization, which hurts finding a pattern in little data.",
                   "A synthetic language, whose details are not public", "rote",
                   ("On small data Muon finds less of a rule than AdamW",), f"{TWO_MUONS} {SMALL}",
                   ("Muon's rote gap", "Muon needs more", "On small data SGD", "On four times the data",
                    "A control: where", "A control: with")),
    ],
    f"{DECAY}, weight decay and plasticity": [
        PaperClaim("W1", "The larger the weight decay of pretraining, the larger the gain of finetuning, to a point.",
                   "OLMo-2 and others, AdamW, decay 0.1 to 10; no seeds or intervals", "plasticity",
                   (f"{LARGER} (AdamW), the more",), SMALL, (f"{LARGER} (Muon), the more",)),
        PaperClaim("W2", "A model that is worse after pretraining can be better after finetuning.",
                   "OLMo-2: loss 2.6088 at decay 0.1, 2.6208 at 0.3, and finetuning prefers 0.3", "plasticity",
                   ("Of two models that AdamW",), SMALL, ("Of two models that Muon",)),
        PaperClaim("W3", "Decay makes representations linearly separable.",
                   "The same models, by linear probes; no seeds or intervals", "decay",
                   (f"{LARGER} (AdamW), the more separable",),
                   "The probe reads the class of a stem from the last hidden state where the answer begins, which need not "
                   f"tell it: it finds little to separate at any decay. {SMALL}",
                   (f"{LARGER} (Muon), the more separable",)),
        PaperClaim("W4", "Decay regularizes attention matrices.",
                   "The same models, by the rank of W_QK; no seeds or intervals", "decay",
                   (f"{LARGER} (AdamW), the lower", f"{LARGER} (AdamW), the smaller is W_Q"), SMALL,
                   (f"{LARGER} (Muon), the lower", f"{LARGER} (AdamW), the more evenly")),
        PaperClaim("W5", "Decay reduces overfitting on the training data.",
                   "The same models, by the train-validation gap; no seeds or intervals", "decay",
                   (f"{LARGER} (AdamW), the smaller is the gap",),
                   f"Models that learned their pretraining language have next to no such gap here to reduce. {SMALL}",
                   (f"{LARGER} (Muon), the smaller is the gap",)),
        PaperClaim("forgetting",
                   "Left open there: the larger the weight decay of pretraining, the less is forgotten.",
                   "Not asked there", "plasticity",
                   (f"{LARGER} (AdamW), the fewer", f"{LARGER} (Muon), the fewer",
                    f"{LARGER} (AdamW), the larger the share", f"{LARGER} (Muon), the larger the share"), FEWER),
    ],
    "Others, known effects and what people do": [
        PaperClaim("tail", "Muon learns rare facts better than Adam.", "Synthetic biographies, 160M parameters "
                   "(arXiv 2509.26030)", "tail", ("Muon recalls more", "Of the frequent", "SGD recalls fewer"),
                   SMALL),
        PaperClaim("routing", "SGD finds a shared map of low rank where Muon stores pairs.", "A linear task (arXiv "
                   "2603.00742)", "routing", ("SGD finds more of the shared map than Muon", "Muon finds less of the shared",
                                              "SGD finds more of the shared map than AdamW"),
                   "There a linear model has the map to find; here two layers of attention read pairs as tokens, and SGD "
                   "fits them too late to be read at equal fit. Muon's part shows at equal fit (less of the map than "
                   "AdamW), SGD's does not: at the last step, when all fit their pairs, Muon has found most of the map. "
                   + SMALL),
        PaperClaim("grokking", "Muon groks sooner than AdamW.", "Modular arithmetic and others (arXiv 2504.16041); a "
                   "rebuttal finds no gain over wider settings", "grokking",
                   ("Muon answers held-out", "At the end Muon"), SMALL),
        PaperClaim("capacity", "Asked here, of what is known of Adam alone: Muon stores more bits a parameter.",
                   "2 to 4 bits a parameter, Adam alone (arXiv 2505.24832, 2404.05405)", "capacity",
                   ("In equally many steps", "After 1,000 exposures", "SGD stores"),
                   "4,000 steps, some 70 exposures of a string, do not fill a model; 56,000, some 1,000, store the 2 bits "
                   "that arXiv 2404.05405 finds there (the study's table). "
                   f"{SMALL}"),
        PaperClaim("remedies", "Replay, penalties towards the base and averages with it make a model forget less.",
                   "Continual learning (arXiv 1612.00796, 2109.01903 and others)", "remedies",
                   ("With 5 %", "With a quarter", "With a penalty on", "With a penalty weighted"), SMALL),
    ],
}  # fmt: skip
HEAD = """# The two papers

{stale}

Every claim of two papers that published no code, and known effects of others: what each rests on there, and what became
of it here. Settings were committed before a study's first run; its card (`runners/NAME.toml`) notes what was changed
later. How often such answers are wrong: [Claims](contrasts.md). How scores are read:
[Concepts](../docs/concepts.md#reading-at-equal-fit).
"""
LEGEND = [
    ["reading", "`x`: the score at the last step; `x@fit`: where training accuracy first reaches 0.9; `x@fits`: the "
     "mean from 0.5 to 0.9; `x@steps`: at the target step"],
    ["effect, interval", "the contrast's size with its 95 % interval over seeds; a size on an axis is a share of the "
     "card's trained items"],
    ["p", "of the test that decides: of a difference, or, where there is none, of equivalence; of a primary "
     "claim's first reading after Holm's correction"],
    ["smaller than 0.05", "a difference, but its whole interval lies within the margin"],
    ["+0.03, higher, at step 60",
     "the contrast at equal fit under rates that reach it at another step: where it differs, the answer hangs on the step"],
    ["left out", "tasks or values without a part in it, and why; a reading at which all rows lie at one bound is not "
     "measured"],
    ["A/A", "chance's part: the optimizer minus itself under another initialization and order of examples, which "
     "should be 0 (*not 0*: its interval lies beside it); of a trend or an inversion the same contrast of "
     "those other runs, which should repeat it (*another answer*: it does not). An effect no larger than "
     "its A/A may be chance's, or a chosen rate's"],
    ["primary", "one of at most three claims of a card that share an error rate of 5 %; the others are exploratory"],
]  # fmt: skip


def papers_page() -> str:
    lines = [HEAD.format(stale=STALE), github(["in the tables", "means"], LEGEND), "", "## In short", "", short(), ""]
    for paper, claims in PAPERS.items():
        lines += [f"## {paper}", ""]
        for claim in claims:
            lines += [
                f"### {claim.name}. {claim.says}",
                "",
                f"Evidence there: {claim.evidence}.",
                "",
                *_answered(claim),
            ]
    return "\n".join(lines).rstrip()


BLOCK = re.compile(r"(?<=<!-- BEGIN papers -->\n).*?(?=<!-- END papers -->)", re.DOTALL)


def readme() -> str:
    """README.md with what became of the papers' claims that were measured: the first contrast's answer and its size."""
    rows = []
    for paper, claims in PAPERS.items():
        for claim in claims if paper.startswith("arXiv") else ():
            if found := list(found_by(claim, claim.here)):
                said = literal(f"{_said(found)}{_size(found[0])}{_counted(found)}")
                rows.append([paper.partition(",")[0].removeprefix("arXiv "), literal(claim.says), said])
    text = "\n\n".join(filter(None, [github(["arXiv", "claim", "here, by its first contrast"], rows), advice()]))
    return BLOCK.sub(lambda _: f"{text}\n", README.read_text(encoding="utf-8")).rstrip()


def advice() -> str:
    """Which optimizer, by what somebody cares about: means of published rows of full updates; empty without rows."""
    facts, crossed = published("tail"), published("consistency")
    if not facts or not crossed:
        return ""
    salted = set(cards.load(RunnerCard, "consistency").variants)
    crossed = [row for row in crossed if row.update == "full" and salted.isdisjoint([row.optimizer, *row.base])]
    own = [row for row in crossed if row.base == [row.optimizer]]
    recalled = _best_of([row for row in facts if row.optimizer in NAMES], "tail_recall@steps")
    forgotten = "fact_forgetting@fit"
    return (
        f"Which optimizer? If you care about **rare facts**: {recalled}, recalled after equal steps. About the **rule** "
        f"behind few examples: {_best_of(own, 'rule_accuracy@fit')}, held-out accuracy at equal fit. About **keeping** "
        f"what was there: {_best_of(own, forgotten)}, pretraining facts forgotten at equal fit, and fewest by "
        f"{_ordered(crossed, forgotten)[0]}. Means with 95 % intervals of full finetuning: rare facts of task "
        "`tail-facts`, the others over the tasks of [`consistency`](reports/studies/consistency.md), each optimizer on the "
        "model that it pretrained. SGD pretrains for twice as many steps, and longer pretraining alone makes AdamW forget "
        "more, too ([leaderboard](reports/leaderboard.md))."
    )


def _best_of(rows: list[Row], score: str) -> str:
    """The best row, then the others: `Muon 0.84 ±0.02 (AdamW 0.51 ±0.03, SGD 0.00 ±0.00)`."""
    best, *others = _ordered(rows, score)
    return f"{best} ({', '.join(others)})"


def _ordered(rows: list[Row], score: str) -> list[str]:
    """Names and means over tasks, the best first; rows that were not read at every task are left out."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    read = {label: [row.exact(score) for row in group] for label, group in groups.items()}
    means = {label: difference(Contrast(values)) for label, values in read.items() if all(values)}
    sign = 1 if SCORES[score].better == "down" else -1
    ordered = sorted(means.items(), key=lambda item: sign * item[1].mean)
    return [f"{_spelled(label)} {Entry.of(mean, score).text(mean.n)}" for label, mean in ordered]


def _spelled(label: str) -> str:
    """`AdamW on Muon's model` of `adamw on muon`."""
    name, _, base = label.partition(ON)
    return NAMES.get(name, name) + f" on {NAMES.get(base, base)}'s model" * bool(base)


def _size(answer: Answer) -> str:
    """`: fact_forgetting@fit of muon full minus adamw full -0.04 [-0.06, -0.02]`, of the first reading."""
    first, claim = answer.first, answer.claim
    if not first.tasks:
        return ""
    of_first = f"{first.score} of {claim_answers.contrast(claim)}"
    beside = (
        f"; {first.beside.score} {sentence.numbers(first.beside.pooled, first.beside.score)}" if first.beside else ""
    )
    return f": {of_first} {claim_answers.numbers_of(first.pooled, claim, first.score)}{beside}"


def _counted(found: list[Answer]) -> str:
    """`; of 6 contrasts: supported 4, depends on the reading 2`, where there are several."""
    kinds = Counter(
        "refuted" if one.kind in REFUTED else one.kind.replace("depends on ", "depends on the ") for one in found
    )
    counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"; of {len(found)} contrasts: {counts}" * (len(found) > 1)


def short() -> str:
    """A line for each claim of the papers."""
    rows = []
    for paper, claims in PAPERS.items():
        for claim in claims:
            found = list(found_by(claim, claim.here))
            said = f"{_said(found)}{_counted(found)}" if found else "not measured yet"
            study = f"[{claim.runner}](studies/{claim.runner}.md)" if found else claim.runner
            rows.append([claim.name, paper.partition(",")[0], literal(claim.says), literal(said), study])
    return github(["claim", "paper", "says", "here, by its first contrast", "study"], rows)


def _said(found: list[Answer]) -> str:
    """The first contrast's answer in words, and that others are against it."""
    is_opposed = found[0].kind == "supported" and any(one.kind in REFUTED for one in found)
    return "contrasts disagree; the first: " * is_opposed + claim_answers.in_words(found[0])


def found_by(claim: PaperClaim, beginnings: tuple[str, ...]) -> Iterator[Answer]:
    """The answers to claims of its card, by the beginnings of their words; none where there are no rows."""
    card = cards.load(RunnerCard, claim.runner)
    for beginning in beginnings:
        if not any(one.says.startswith(beginning) for one in card.claims):
            raise ValueError(f"No claim of {claim.runner!r} begins with {beginning!r}.")
    if rows := published(claim.runner):
        yield from (answer for answer in answers(card, rows) if answer.claim.says.startswith(beginnings))


def published(runner: str) -> list[Row]:
    """The published rows of this very card; none where there are none."""
    card = cards.load(RunnerCard, runner)
    found = reference.shipped(card)
    return [*found.rows] if found and found.card == card.fingerprint() else []


def _answered(claim: PaperClaim) -> Iterator[str]:
    found = list(found_by(claim, claim.here))
    besides = list(found_by(claim, claim.beside)) if claim.beside else []
    for answer in [*found, *besides]:
        if besides and answer is besides[0]:
            yield from ("*Asked beside it:*", "")
        primary = " (primary)" * answer.claim.primary
        yield from (f"**{literal(answer.claim.says)}** {literal(claim_answers.in_words(answer))}{primary}.", "")
        yield from (github(["reading", "effect, interval", "seeds", "p", "answer", "A/A"], _readings(answer)), "")
        if turn := answer.first.turn:
            yield from (f"{literal(claim_answers.turn_in_words(turn, answer.claim))}.", "")
    if not found:
        yield from ("Not measured yet.", "")
    study = f" Study: [{claim.runner}](studies/{claim.runner}.md)." * bool(found)
    publish = code(f"python -m tests.publish {claim.runner}")
    yield from (f"Command: {code(command(claim.runner))}; with the study's page, from a clone: {publish}.{study}", "")
    if claim.limits:
        yield from (f"Limits: {claim.limits[:1].lower()}{claim.limits[1:]}", "")


def _readings(answer: Answer) -> list[list[str]]:
    rows = []
    for reading in answer.readings:
        if not reading.tasks:
            rows.append([code(reading.score), "-", "-", "-", literal(f"not measured{_left_out(reading)}"), "-"])
            continue
        numbers = claim_answers.numbers_of(reading.pooled._replace(p=reading.p), answer.claim, reading.score)
        words = claim_answers.reading_in_words(reading, answer.claim)
        again = "; ".join(
            f"{name}: {text}" for name, text in claim_answers.again_by_name(reading, answer.claim).items()
        )
        p = literal(p_value(reading.p).lstrip("p= "))
        rows.append([
            code(reading.score), literal(numbers), str(reading.pooled.difference.n), p,
            literal(f"{words}{elsewhere(reading.pooled)}{_left_out(reading)}"), literal(again) or "none on the card",
        ])  # fmt: skip
        if beside := reading.beside:
            again = "; ".join(f"{name}: {text}" for name, text in claim_answers.again_beside(beside).items())
            p = literal(p_value(beside.p).lstrip("p= "))
            rows.append([
                f"{code(beside.score)} beside it", literal(sentence.numbers(beside.pooled, beside.score)),
                str(beside.pooled.difference.n), p, f"against a loss of {beside.pooled.margin:g} (one-sided)",
                literal(again) or "none on the card",
            ])  # fmt: skip
    return rows


def _left_out(reading: Reading) -> str:
    """A clause on what has no part in an answer: `; left out: noisy-rule (not reached)`."""
    reasons: dict[str, list[str]] = {}
    for name, why in reading.missing.items():
        reasons.setdefault(why, []).append(name)
    clauses = [f"{'; '.join(names)} ({why})" for why, names in reasons.items()]
    return f"; left out: {'; '.join(clauses)}" * bool(clauses)


def command(runner: str) -> str:
    """What measures a study."""
    return shlex.join(["synthbench", "run", runner, "--out", str(Path(f"{runner}-results"))])
