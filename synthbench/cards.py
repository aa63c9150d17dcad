"""Cards: what a task and a runner are, found, read and checked. Imports no torch.

A task card (`tasks/NAME.toml`) says which generators make the pretraining language and the finetuning data. A runner
card (`runners/NAME.toml`) says which tasks, stages, optimizers, updates, learning rates and seeds make an experiment.
"""

from __future__ import annotations

import json
import re
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthbench import files, overrides
from synthbench.errors import BadInput
from synthbench.validation import sentence
from synthbench.wording import did_you_mean, listed, named, shown

MOST_NAMES = 2**20  # of a language: they are shuffled in memory for every slice
MOST_ITEMS = 2**17  # of a task, held-out ones included
MOST_PARAMETERS = 2**31

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Prose = Annotated[str, Field(max_length=4000)]
Positive = Annotated[int, Field(gt=0, le=10**8, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Version = Annotated[str, Field(pattern=r"^[0-9]{1,4}\.[0-9]{1,4}$")]


def _update(text: str) -> str:
    rank = re.fullmatch(r"lora-([1-9][0-9]{0,5})", text)
    if text not in ("full", "full-hidden") and not rank:
        raise ValueError("allowed are full, full-hidden and lora-R with a rank R of at least 1")
    return text


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("has the same entry twice")
    return values


Update = Annotated[str, AfterValidator(_update)]
Grid = Annotated[list[Rate], Field(min_length=1, max_length=100), AfterValidator(_unique)]
Decays = Annotated[list[Decay], Field(min_length=1, max_length=100), AfterValidator(_unique)]
Sizes = Annotated[
    list[Annotated[float, Field(ge=0.01, le=100)]], Field(min_length=1, max_length=16), AfterValidator(_unique)
]
Updates = Annotated[list[Update], Field(min_length=1, max_length=32), AfterValidator(_unique)]
Seeds = (
    Annotated[int, Field(gt=0, le=10_000, strict=True)]
    | Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63, strict=True)]],
        Field(min_length=1, max_length=10_000),
        AfterValidator(_unique),
    ]
)
Several = Annotated[
    list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=32), AfterValidator(_unique)
]
Kind = Literal["full", "lora"]


class Card(BaseModel):
    """Base of every card and table in one: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SliceCard(BaseModel):
    """One slice of a stage's data; keys beside these four are the generator's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    generator: Name
    items: Positive  # trained items
    share: Positive  # of every batch, relative to the stage's other slices
    note: Prose = ""  # why lengths or exposures differ from the other slices', where they do

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LanguageCard(Card):
    syllables: Annotated[int, Field(ge=2, le=1024, strict=True)]  # distinct syllables
    name_length: Annotated[int, Field(ge=1, le=8, strict=True)]  # syllables in a subject, object, stem or form

    @model_validator(mode="after")
    def _countable(self) -> LanguageCard:
        if self.syllables**self.name_length > MOST_NAMES:
            raise ValueError("syllables ** name_length may be at most 2**20, so that names can be shuffled in memory")
        return self


class HeldOutCard(Card):
    validation: Positive  # items a slice for choosing learning rates
    test: Positive  # items a slice for scores


Slices = Annotated[dict[Literal["fact", "rule", "exception", "noise"], SliceCard], Field(min_length=1)]


class TaskCard(Card):
    name: Name
    version: Version
    question: Prose  # what the task tells apart
    description: Prose  # how, in a paragraph
    source: Prose  # where the question comes from
    language: LanguageCard
    held_out: HeldOutCard
    stages: dict[Name, Slices] = Field(min_length=1, max_length=8)
    family: Name | None = None  # tasks of one family draw the same data in all stages but the last
    variants: Annotated[dict[Name, dict[str, Any]], Field(max_length=32)] = {}  # `--task NAME:VARIANT`: values by path
    variant: Name | None = None  # which of them this is, once it is chosen

    @property
    def origin(self) -> str:
        """Under which name data is drawn: the family's where there is one."""
        return self.family or self.name

    @property
    def label(self) -> str:
        """How the task is named in experiments and tables."""
        return f"{self.name}:{self.variant}" if self.variant else self.name

    @model_validator(mode="after")
    def _drawable(self) -> TaskCard:
        parts = [part for slices in self.stages.values() for part in slices.values()]
        items = sum(part.items for part in parts) + len(parts) * (self.held_out.validation + self.held_out.test)
        if items > MOST_ITEMS:
            raise ValueError(f"its slices have {items} items, held-out ones included; at most {MOST_ITEMS} are allowed")
        names = len(parts) * self.language.syllables**self.language.name_length
        if names > 4 * MOST_NAMES:
            raise ValueError(
                f"its slices are drawn out of {names} names together; at most {4 * MOST_NAMES} are allowed"
            )
        return self

    def size(self, stage: str) -> dict[str, int]:
        """Trained items of each slice of a stage."""
        return {name: part.items for name, part in self.stages[stage].items()}


class ModelCard(Card):
    """A decoder-only transformer."""

    width: Annotated[int, Field(gt=0, le=2**14, strict=True)]
    layers: Annotated[int, Field(gt=0, le=128, strict=True)]
    head_width: Positive
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"  # rmsnorm has no parameters, layernorm has gain and bias
    positions: Literal["rope", "learned"] = "rope"
    mlp: Literal["relu2", "gelu", "swiglu"] = "relu2"
    expansion: Annotated[int, Field(gt=0, le=64, strict=True)] = 4  # hidden width of the MLP over the model's
    tied: bool = False  # the head shares the embedding's weights

    @model_validator(mode="after")
    def _divisible(self) -> ModelCard:
        if self.width % self.head_width:
            raise ValueError(f"width {self.width} must be a multiple of head_width {self.head_width}")
        if self.positions == "rope" and self.head_width % 2:
            raise ValueError("head_width must be even under rope")
        if (size := self.layers * self.width**2 * (4 + 3 * self.expansion)) > MOST_PARAMETERS:
            raise ValueError(f"about {size} parameters are more than the {MOST_PARAMETERS} allowed")
        return self


MODELS = {
    "tiny": ModelCard(width=64, layers=2, head_width=16),
    "compact": ModelCard(width=128, layers=4, head_width=16),
    "gpt2-small": ModelCard(
        width=768, layers=12, head_width=64, norm="layernorm", positions="learned", mlp="gelu", tied=True
    ),
}


class OverrideCard(Card):
    """What is different in a stage for one task, optimizer or both: the table `for.TASK`, `for.OPTIMIZER` or
    `for."TASK/OPTIMIZER"`, of which a later one goes before an earlier one."""

    steps: Positive | None = None
    weight_decay: Decay | Decays | None = None
    sizes: Sizes | None = None
    lr_factor: Rate = 1.0  # what the rates of a grid are multiplied by; of several such tables all factors hold


class StageCard(Card):
    name: Name
    batch: Positive  # examples a step
    schedule: Literal["cosine", "constant"]  # after the warm-up: cosine to 10 %, or constant
    steps: Positive
    warmup: Share = 0.05  # of the steps, linear from 0
    weight_decay: Decay | Decays = 0.0  # a list is crossed
    update: Updates = ["full"]  # crossed
    optimizer: Literal["same"] | Several = "same"  # crossed
    lr: Grid | dict[str, Grid | dict[Kind | Update, Grid]]  # one; by optimizer; by optimizer and update or its kind
    extend: Annotated[int, Field(ge=0, le=3, strict=True)] = 0  # how often a grid is extended where its edge is chosen
    examples: dict[str, Positive] = {}  # trained items by slice, where they differ from the task's card
    # Trained items over those of the card, with steps and reading speeds in proportion, so that an item is seen equally
    # often. Crossed under the first of the updates; the others have the first of the sizes.
    sizes: Sizes = [1.0]
    points: Positive = 1  # how often scores are read along the path, the start not counted
    relearn: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 0  # steps for `relearning_savings`; 0: not measured
    overrides: dict[str, OverrideCard] = Field({}, alias="for")  # by task, optimizer or both


class ArmCard(Card):
    """An optimizer under a name of its own: another one with other arguments, rates, randomness."""

    of: Annotated[str, Field(max_length=4096)]  # the optimizer
    arguments: dict[str, Any] = {}  # beside those that the card gives the optimizer
    lr: Grid | None = None  # of the last stage, in place of the optimizer's
    of_tuned: Rate | None = None  # the rate of the last stage, over the one that is chosen for the optimizer itself
    update: Updates | None = None  # in place of the stage's
    base: Annotated[str, Field(max_length=4096)] | None = None  # finetunes what this one pretrained (none: `of`)
    salt: Annotated[str, Field(max_length=40)] = ""  # changes initialization and order, not the data


class ReadingCard(Card):
    """How scores are read along a finetuning path (the score `x@fit`)."""

    fit: Share  # the reading is at the first step that reaches this fit
    speeds: Annotated[
        list[Positive], Field(min_length=1, max_length=32)
    ]  # steps to that fit at which cells are compared
    speed: Positive  # the one that tables show
    rule: Share = 0.5  # the accuracy that `steps_to_rule@t` and `examples_to_rule@t` wait for
    sample: Positive = 256  # at most so many items a set at the points between the first and the last

    @model_validator(mode="after")
    def _shown(self) -> ReadingCard:
        if self.speed not in self.speeds:
            raise ValueError(f"speed {self.speed} must be one of speeds {self.speeds}")
        return self


MARGINS = {"share": 0.05, "nats/token": 0.1, "nats/answer": 0.1}
Margins = Annotated[dict[str, Rate], AfterValidator(lambda given: MARGINS | given)]


class RunnerCard(Card):
    name: Name
    version: Version
    question: Prose
    cost: Prose  # what it costs to run, in words
    tasks: Several  # names, or paths of cards
    model: Name | ModelCard
    optimizers: Several
    seeds: Seeds
    columns: Several  # scores that its table shows
    tier: str | None = None  # the score whose tiers its table shows, from 8 seeds on
    margins: Margins = MARGINS  # by unit: the difference below which two rows count as equal
    reading: ReadingCard
    arguments: dict[str, dict[str, Any]] = {}  # by optimizer: what differs from the rule's own defaults
    arms: Annotated[dict[Name, ArmCard], Field(max_length=32)] = {}  # names beside those of optimizers
    stages: Annotated[list[StageCard], Field(min_length=1, max_length=8)]
    scales: dict[Name, dict[str, Any]] = {}  # `--set scale=NAME`: overrides by path, applied before others

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    @property
    def shape(self) -> ModelCard:
        """The model, its preset looked up."""
        return self.model if isinstance(self.model, ModelCard) else MODELS[self.model]

    def rule_of(self, optimizer: str) -> str:
        """The optimizer behind a name."""
        return self.arms[optimizer].of if optimizer in self.arms else optimizer

    def root(self, optimizer: str) -> str:
        """Under which name the stages before the last are trained for an optimizer."""
        arm = self.arms.get(optimizer)
        return (arm.base or arm.of) if arm else optimizer

    def stage(self, name: str) -> StageCard:
        return next(stage for stage in self.stages if stage.name == name)

    def fingerprint(self) -> str:
        """sha256 of all that rows must share to stand in one table: the card but its axes and its prose."""
        content = self.model_dump(
            mode="json",
            by_alias=True,
            exclude={"optimizers", "seeds", "question", "cost", "scales", "tier", "margins"},
        )
        for stage in content["stages"]:
            del stage["update"], stage["optimizer"], stage["sizes"]
        return fingerprint(content)


def fingerprint(content: Any) -> str:
    """sha256 over canonical JSON (sorted keys, no spaces, no NaN)."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


C = TypeVar("C", TaskCard, RunnerCard)
FOLDERS: dict[type[Card], str] = {TaskCard: "tasks", RunnerCard: "runners"}
KINDS: dict[type[Card], str] = {TaskCard: "task", RunnerCard: "runner"}


@cache
def shipped() -> Path:
    """The folder that holds `tasks`, `runners` and `reports`: inside a wheel's package, beside a checkout's."""
    package = Path(__file__).resolve().parent
    inside = package / "_cards"
    return inside if inside.is_dir() else package.parent


def names(kind: type[Card]) -> list[str]:
    """Names of the shipped cards of a kind."""
    return sorted(path.stem for path in (shipped() / FOLDERS[kind]).glob("*.toml"))


def is_path(given: str) -> bool:
    """Whether a card is given by path, not by name."""
    return given.endswith(".toml") or "/" in given


def locate(kind: type[Card], given: str) -> Path:
    """The file of a card given by name or by path (of a task perhaps with a variant behind a colon); raises BadInput
    with the nearest name."""
    given = split(kind, given)[0]
    if is_path(given):
        if not files.is_file(Path(given)):
            raise BadInput(f"{shown(given)} is not a file; give a card's path or one of {listed(names(kind))}.")
        return Path(given)
    if given not in names(kind):
        raise BadInput(f"Unknown {KINDS[kind]} {shown(given)}{did_you_mean(given, names(kind))}.")
    return shipped() / FOLDERS[kind] / f"{given}.toml"


def split(kind: type[Card], given: str) -> tuple[str, str | None]:
    """A task's name or path, and its variant where one is asked for."""
    name, colon, variant = given.rpartition(":")
    return (name, variant) if colon and kind is TaskCard and "/" not in variant else (given, None)


def parse(kind: type[C], content: dict[str, Any], origin: str) -> C:
    """A card from its content; raises BadInput that names the origin, the key, the value and what is allowed."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise BadInput(sentence(error, content, named(origin), partial(_keys, kind))) from None


def load(kind: type[C], given: str) -> C:
    """A card by name or path."""
    path, variant = locate(kind, given), split(kind, given)[1]
    content = files.toml(path)
    card = parse(kind, content, str(path))
    if variant is None or not isinstance(card, TaskCard):
        return card
    if variant not in card.variants:
        raise BadInput(f"Task {card.name} has no variant {shown(variant)}{did_you_mean(variant, card.variants)}.")
    for where, new in card.variants[variant].items():
        overrides.put(content, where.split("."), new, str(path))
    return parse(kind, content | {"variant": variant}, f"{path}, variant {variant}")


def _keys(kind: type[BaseModel], where: list[Any]) -> list[str]:
    """The keys allowed at a place in a card."""
    tables: dict[str, type[BaseModel]] = {
        "language": LanguageCard,
        "held_out": HeldOutCard,
        "reading": ReadingCard,
        "model": ModelCard,
        "stages": StageCard,
        "for": OverrideCard,
        "arms": ArmCard,
    }
    table = next((tables[part] for part in reversed(where) if part in tables), kind)
    return [field.alias or name for name, field in table.model_fields.items()]
