"""A runner's card: which tasks, model, stages, optimizers, updates, learning rates and seeds make an experiment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from synthbench.cards.axis import AxisCard
from synthbench.cards.base import Card, Name, Positive, Prose, Version, fingerprint
from synthbench.cards.claim import ClaimCard
from synthbench.cards.spelling import with_axes
from synthbench.cards.values import ScoreName, Several, Update, unique
from synthbench.common import overrides

MOST_PARAMETERS = 2**31  # of a model
SAMPLE, BRACKET_SAMPLE = 96, 512  # items a set along a path


Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


Grid = Annotated[list[Rate], Field(min_length=1, max_length=100), AfterValidator(unique)]
Decays = Annotated[list[Decay], Field(min_length=1, max_length=100), AfterValidator(unique)]
Size = Annotated[float, Field(ge=0.01, le=100)]
Updates = Annotated[list[Update], Field(min_length=1, max_length=32), AfterValidator(unique)]
Seeds = (
    Annotated[int, Field(gt=0, le=10_000, strict=True)]
    | Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63, strict=True)]],
        Field(min_length=1, max_length=10_000),
        AfterValidator(unique),
    ]
)
Scores = Annotated[list[ScoreName], Field(min_length=1, max_length=128), AfterValidator(unique)]
Kind = Literal["full", "lora"]
Probe = Literal["activations", "landscape", "update", "representations", "automaton"]


class ModelCard(Card):
    """A decoder-only transformer."""

    width: Annotated[int, Field(gt=0, le=2**14, strict=True)]
    layers: Annotated[int, Field(gt=0, le=128, strict=True)]
    head_width: Positive
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """rmsnorm has no parameters, layernorm has gain and bias."""
    positions: Literal["rope", "learned"] = "rope"
    mlp: Literal["relu2", "gelu", "swiglu"] = "relu2"
    expansion: Annotated[int, Field(gt=0, le=64, strict=True)] = 4
    """Hidden width of the MLP over the model's."""
    tied: bool = False
    """The head shares the embedding's weights."""

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
    `for."TASK/OPTIMIZER"`, of which the later one wins; that of a variant comes after that of its optimizer."""

    steps: Positive | None = None
    weight_decay: Decay | None = None
    size: Size | None = None
    update: Updates | None = None
    """Those that are crossed for it, in the last stage."""
    optimizer: Several | None = None
    """In the table of an optimizer, or of one on a task: those that are crossed after it, in place of the stage's."""
    lr_factor: Rate = 1.0
    """What the rates of a grid are multiplied by; of several such tables all factors hold."""


class RemedyCard(Card):
    """What is done against forgetting beside choosing an optimizer; 0: nothing. They act on full updates. As text, for an
    axis: `none`, `replay=0.05`, `l2=1,average=0.25`."""

    replay: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of every batch that is data of the stages before."""
    l2: Decay = 0.0
    """Strength of a penalty on the squared distance from the base."""
    ewc: Decay = 0.0
    """The same, each parameter weighted by its Fisher information on data of the stages before (of mean one)."""
    average: Share = 0.0
    """Share of the base in the model that is evaluated and kept."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, content: Any) -> Any:
        if not isinstance(content, str):
            return content
        pairs = [part.partition("=") for part in content.split(",")] if content != "none" else []
        if any(not equals for _, equals, _ in pairs):
            raise ValueError("allowed are none and NAME=VALUE, such as replay=0.05")
        given = {name.strip(): overrides.value(value.strip()) for name, _, value in pairs}
        if unknown := [name for name in given if name not in cls.model_fields]:
            raise ValueError(f"{unknown[0]} is none of {', '.join(cls.model_fields)}")
        return given

    @property
    def given(self) -> dict[str, float]:
        """What is not 0, by name."""
        return {name: float(value) for name, value in self if value}


class StageCard(Card):
    """One phase of training."""

    name: Name
    """A stage of the tasks."""
    batch: Positive
    """Examples a step."""
    schedule: Literal["cosine", "constant"]
    """After the warm-up: cosine to 10 %, or constant."""
    steps: Positive
    warmup: Share = 0.05
    """Share of the steps in which the rate rises, linearly from 0."""
    weight_decay: Decay = 0.0
    update: Updates = ["full"]
    """Which weights may move: full, full-hidden (the matrices that LoRA touches) or lora-R; crossed."""
    optimizer: Literal["same"] | Several = "same"
    """Same as in the stage before, or a list that is crossed."""
    lr: Grid | dict[str, Grid | dict[Kind | Update, Grid]]
    """Learning rates: one grid; by optimizer; by optimizer and update or its kind (full, lora)."""
    extend: Annotated[int, Field(ge=0, le=3, strict=True)] = 0
    """How often a grid is extended: where its edge is chosen, in the last stage also where a target step lies beyond it."""
    examples: dict[str, Positive] = {}
    """Trained items by slice, where they differ from the task's card."""
    size: Size = 1.0
    """Trained items over those of the card; steps and target steps in proportion, so that an item has equally many
    exposures."""
    points: Positive = 1
    """Evaluations along the path, the start not counted."""
    relearn: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 0
    """Steps for `relearning_savings`; 0: not measured."""
    remedy: RemedyCard = RemedyCard()
    """What is done against forgetting: replay, l2, ewc, average."""
    overrides: dict[str, OverrideCard] = Field({}, alias="for")
    """What is different for one task, optimizer, variant or two of them (TASK/OPTIMIZER)."""


class VariantCard(Card):
    """A named configuration of an optimizer, with its own arguments, rates or randomness."""

    of: Annotated[str, Field(max_length=4096)]
    """The optimizer behind the name."""
    arguments: dict[str, Any] = {}
    """Arguments beside those that the card gives the optimizer."""
    lr: Grid | None = None
    """Rates of the last stage, in place of the optimizer's."""
    of_tuned: Rate | None = None
    """The rate of the last stage, over the one that is chosen for the optimizer itself."""
    update: Updates | None = None
    """Updates in place of the stage's."""
    base: Annotated[str, Field(max_length=4096)] | None = None
    """Finetunes what this one pretrained (none: `of`)."""
    salt: Annotated[str, Field(max_length=40)] = ""
    """Changes initialization and order, not the data. A variant that differs from an optimizer in nothing else is its A/A:
    answers to claims about the optimizer show how far the two differ."""

    @property
    def kind(self) -> tuple[str, dict[str, Any], list[float] | None, float | None]:
        """What it trains with, whatever its randomness, updates and base."""
        return self.of, self.arguments, self.lr, self.of_tuned


class ReadingCard(Card):
    """How scores are read along a finetuning path (the scores `x@fit`, `x@fits` and `x@steps`)."""

    fit: Share
    """The reading is at the first step that reaches this fit."""
    fit_of: str = "fit"
    """The score that is meant by fit: `head_recall`, say, to read rare facts at equal recall of the frequent ones."""
    target_steps: Annotated[list[Positive], Field(min_length=1, max_length=32)]
    """Steps to that fit at which cells are compared."""
    target_step: Positive
    """The target step that tables show."""
    rule: Share = 0.5
    """The accuracy that `steps_to_rule@t` and `examples_to_rule@t` wait for."""
    sample: Positive = SAMPLE
    """At most so many items a set at the points between the first and the last; of trained items `bracket_sample`."""
    bracket_sample: Positive = BRACKET_SAMPLE
    """At most so many where a reading is interpolated: at the two points between which fit first reaches .5, .6, .7, .8, .9
    or `fit`, and at both ends of the path."""

    @property
    def at(self) -> str:
        """What the reading is at: `fit 0.9`."""
        return f"{self.fit_of} {self.fit:g}"

    @model_validator(mode="after")
    def _consistent(self) -> ReadingCard:
        if self.target_step not in self.target_steps:
            raise ValueError(f"target step {self.target_step} must be one of target steps {self.target_steps}")
        if self.sample > self.bracket_sample:
            raise ValueError(f"sample {self.sample} must be at most bracket_sample {self.bracket_sample}")
        return self


MOST_PRIMARY = 3  # claims of a card that are corrected for each other
MARGINS = {"share": 0.05, "nats/token": 0.1, "nats/answer": 0.1}
Margins = Annotated[dict[str, Rate], AfterValidator(lambda given: MARGINS | given)]


UNHASHED = ("probes",)  # keys of a card that stay out of its fingerprint where they are empty


class RunnerCard(Card):
    """An experiment: tasks, stages, optimizers, updates, learning rates and seeds."""

    name: Name
    version: Version
    question: Prose
    """What the experiment asks."""
    cost: Prose
    """What it costs to run, in words."""
    tasks: Several
    """Names of tasks, or paths of their cards, read from this card's folder."""
    model: Name | ModelCard
    """A preset (tiny, compact, gpt2-small), or a table."""
    optimizers: Several
    """Names, path/file.py:Name (from this card's folder) or pkg.mod:Name, and names of variants."""
    seeds: Seeds
    """How many, or which."""
    columns: Scores
    """Scores that its table shows: `x@fit`, `x@fits`, `x@steps` or `x` at the last step."""
    rank: ScoreName | None = Field(
        None, validation_alias=AliasChoices("rank", "tier")
    )  # tier: in stored cards, until 0.2
    """The score that ranks the rows of its table, from 8 seeds on."""
    margins: Margins = MARGINS
    """By unit: the difference below which two rows count as equal."""
    reading: ReadingCard
    probes: Annotated[list[Probe], Field(max_length=8), AfterValidator(unique)] = []
    """What is measured of every model after each stage, beside what all runs have; `docs/scores.md` has the scores."""
    arguments: dict[str, dict[str, Any]] = {}
    """By optimizer: arguments that differ from its defaults."""
    variants: Annotated[dict[Name, VariantCard], Field(max_length=32)] = {}
    """Named configurations of optimizers."""
    axes: Annotated[list[AxisCard], Field(max_length=8)] = []
    """What else is crossed."""
    stages: Annotated[list[StageCard], Field(min_length=1, max_length=8)]
    scales: dict[Name, dict[str, Any]] = {}
    """`--set scale=NAME`: overrides by path, applied before others."""
    claims: Annotated[list[ClaimCard], Field(max_length=32)] = []

    @model_validator(mode="before")
    @classmethod
    def _of_before_axes(cls, content: Any) -> Any:
        """As cards were stored until 0.2."""
        return with_axes(content, [])

    @model_validator(mode="after")
    def _consistent(self) -> RunnerCard:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name; they are {', '.join(names)}")
        if sum(claim.primary for claim in self.claims) > MOST_PRIMARY:
            raise ValueError(f"at most {MOST_PRIMARY} claims may be primary, so that each keeps its power")
        return self

    @property
    def seed_list(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    @property
    def shape(self) -> ModelCard:
        """The model, its preset looked up."""
        return self.model if isinstance(self.model, ModelCard) else MODELS[self.model]

    def optimizer_of(self, optimizer: str) -> str:
        """The optimizer behind a name."""
        return self.variants[optimizer].of if optimizer in self.variants else optimizer

    def root(self, optimizer: str) -> str:
        """Under which name the stages before the last are trained for an optimizer."""
        variant = self.variants.get(optimizer)
        return (variant.base or variant.of) if variant else optimizer

    def salted(self, optimizer: str) -> list[str]:
        """The variants that are an optimizer (or a variant) with another salt, under whichever updates and from its base or
        one of their own."""
        own = self.variants.get(optimizer)
        kind, salt = (own.kind, own.salt) if own else ((optimizer, {}, None, None), "")
        return [
            name for name, variant in self.variants.items()
            if variant.kind == kind and variant.salt != salt and self.root(name) in (self.root(optimizer), name)
            and self._of_variant(name) == self._of_variant(optimizer)
        ]  # fmt: skip

    def _of_variant(self, name: str) -> dict[tuple[str, str], OverrideCard]:
        """What stages say of a variant alone, by stage and task; what it is crossed with changes none of its runs."""
        overrides = {
            (stage.name, key.rpartition("/")[0]): override.model_copy(update={"update": None, "optimizer": None})
            for stage in self.stages for key, override in stage.overrides.items()
            if name in self.variants and key.rpartition("/")[2] == name
        }  # fmt: skip
        return {key: override for key, override in overrides.items() if override != OverrideCard()}

    def stage(self, name: str) -> StageCard:
        return next(stage for stage in self.stages if stage.name == name)

    def fingerprint(self) -> str:
        """sha256 of all that rows must share to stand in one table: the card without what is crossed and without prose."""
        return fingerprint(self._content())

    def setting(self) -> str:
        """sha256 of what rows must share to stand beside reference rows: the fingerprint's content without learning rates
        and arguments, which are an optimizer's own."""
        content = self._content()
        del content["arguments"]
        for stage in content["stages"]:
            del stage["lr"], stage["extend"]
            for override in stage["for"].values():
                del override["lr_factor"]
        return fingerprint(content)

    def _content(self) -> dict[str, Any]:
        content = self.model_dump(
            mode="json",
            by_alias=True,
            exclude={"optimizers", "seeds", "question", "cost", "scales", "rank", "margins", "claims"},
        )
        for stage in content["stages"]:
            del stage["update"], stage["optimizer"], stage["size"]
            if not any(stage["remedy"].values()):
                del stage["remedy"]
            for override in stage["for"].values():
                del override["update"], override["size"], override["optimizer"]
        for key in UNHASHED:  # cards without them keep their fingerprints
            if not content[key]:
                del content[key]
        content["axes"] = [[axis.path, axis.name] for axis in self.axes]
        return content
