"""Numbers of axes and of every kind of claim are what `tests.recompute` makes of the export, on random results: readings
that some seeds lack, ties and diverged runs, which `test_recompute.py` has few of."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from tests import random_results
from tests.calling import Caller
from tests.random_results import RandomScores
from tests.recompute.audit import Audit
from tests.recompute.claims import NOT_MEASURED

HEAD = """
name = "tiny-runner"
version = "1.0"
question = "Does it work?"
cost = "nothing"
tasks = [TASK, OTHER]
model = { width = 32, layers = 1, head_width = 8 }
optimizers = OPTIMIZERS
seeds = 5
columns = ["learning@fit", "fact_forgetting@fits", "forgetting", "kl_new", "steps_to_rule@t"]
reading = { fit = 0.5, target_steps = [8, 10], target_step = 10, sample = 8, bracket_sample = 16, rule = 0.3 }
"""
STAGES = """
[[stages]]
name = "pretrain"
steps = 40
batch = 16
schedule = "cosine"
lr = [5e-3, 1e-2, 2e-2]

[[stages]]
name = "finetune"
steps = 24
batch = 16
schedule = "constant"
points = 6
update = UPDATES
lr = [5e-4, 1e-3, 2e-3]
MATRIX
"""
AGAIN = """
[variants.muon-again]
of = "muon"
salt = "again"
BASE
"""
MATRIX = """optimizer = ["adamw", "muon"]
for.muon = { optimizer = ["adamw", "muon", "muon-again"] }
for.muon-again = { optimizer = ["muon", "muon-again"] }
"""
OWN_BASE = 'base = "muon-again"'
DECAYS = """
[[axes]]
path = "stages.pretrain.weight_decay"
label = "before"
values = VALUES
"""
SAYS = '[[claims]]\nsays = "A claim."\nsource = "none"\n'
MATRICES = (
    'kind = "interaction"\nscore = "fact_forgetting"\nreadings = ["fit", "fits", "end"]\nexpected = "lower"\n'
    "primary = true\n"
    'matrix = { optimizers = ["adamw", "muon"], axes = { before = 0 } }',
    'kind = "interaction"\nscore = "skill_forgetting@fit"\nexpected = "equal"\nprimary = true\n'
    'matrix = { optimizers = ["adamw", "muon"], axes = { before = [0, 0.1] } }',
    'kind = "interaction"\nscore = "rule_accuracy"\nreadings = ["fit", "fits", "end"]\nexpected = "no lower"\n'
    'primary = true\nmatrix = { optimizers = ["adamw", "muon"], axes = { before = [0, 0.1] } }',
    'kind = "interaction"\nscore = "skill_forgetting@fit"\nexpected = "no higher"\n'
    'matrix = { optimizers = ["adamw", "muon"], axes = { before = 0.1 } }',
    'kind = "interaction"\nscore = "fact_forgetting@fit"\ngiven = "kl_new"\nexpected = "lower"\n'
    'matrix = { optimizers = ["adamw", "muon"], axes = { before = [0, 0.1] } }',
    'score = "learning"\nreadings = ["fit", "end"]\nexpected = "higher"\ntasks = ["tiny-task"]\n'
    'rows = { optimizer = "muon", base = "adamw", axes = { before = 0 } }\n'
    'than = { optimizer = "adamw", base = "muon", axes = { before = 0.1 } }',
)
ALONG = (
    'kind = "trend"\nscore = "learning"\nreadings = ["fit", "end"]\nexpected = "higher"\nprimary = true\n'
    'rows = { optimizer = "muon" }\naxis = "before"',
    'kind = "trend"\nscore = "fact_forgetting@fits"\nscale = "log"\nexpected = "lower"\naxis = "before"\n'
    'rows = { optimizer = "muon", axes = { before = [0.03, 0.3] } }',
    'kind = "trend"\nscore = "steps_to_rule@t"\nexpected = "lower"\naxis = "before"\nrows = { optimizer = "muon" }',
    'kind = "inversion"\nscore = "forgetting"\nbefore = "validation_loss"\naxis = "before"\n'
    'rows = { optimizer = "muon" }\nprimary = true',
    'kind = "dominates"\nscore = "fact_forgetting@fit"\nno_worse = "rule_accuracy@fit"\nprimary = true\n'
    'rows = { optimizer = "muon", axes = { before = [0, 0.3] } }\n'
    'than = { optimizer = "muon", update = "lora-4", axes = { before = [0, 0.3] } }',
    'score = "kl_new@fit"\nexpected = "lower"\nrows = { optimizer = "muon", axes = { before = [0.03, 0.3] } }\n'
    'than = { optimizer = "muon-again", axes = { before = [0.03, 0.3] } }',
    'score = "steps_to_rule@t"\nexpected = "lower"\nrows = { optimizer = "muon", axes = { before = 0.03 } }\n'
    'than = { optimizer = "muon", update = "lora-4", axes = { before = 0.03 } }',
)


def card_of(words: dict[str, str], claims: tuple[str, ...]) -> str:
    """words: what stands for names in capitals."""
    text = "\n".join([HEAD, AGAIN, DECAYS, STAGES, *(SAYS + claim + "\n" for claim in claims)])
    for name, word in words.items():
        text = text.replace(name, word)
    return text


MATRIX_CARD = card_of(
    {
        "OPTIMIZERS": '["adamw", "muon", "muon-again"]', "MATRIX": MATRIX, "BASE": OWN_BASE, "UPDATES": '["full"]',
        "VALUES": "[0, 0.1]",
    },
    MATRICES,
)  # fmt: skip
ALONG_CARD = card_of(
    {
        "OPTIMIZERS": '["muon", "muon-again"]', "MATRIX": "", "BASE": "", "UPDATES": '["full", "lora-4"]',
        "VALUES": "[0, 0.03, 0.3]",
    },
    ALONG,
)  # fmt: skip
SIZED = (
    'kind = "trend"\nscore = "learning"\nreadings = ["fit", "end"]\nexpected = "higher"\nprimary = true\n'
    'rows = { optimizer = "muon" }\naxis = "size"',
    'score = "rule_accuracy"\nreadings = ["fit", "end", "steps"]\nexpected = "lower"\n'
    'rows = { optimizer = "muon", axes = { size = [0.5, 1] } }\n'
    'than = { optimizer = "adamw", axes = { size = [0.5, 1] } }',
)
SIZES = '\n[[axes]]\npath = "stages.finetune.size"\nvalues = [0.5, 1]\n'  # printed as data_size
SIZED_CARD = card_of(
    {
        DECAYS: SIZES, "OPTIMIZERS": '["adamw", "muon", "muon-again"]', "MATRIX": "", "BASE": "", "UPDATES": '["full"]',
    },
    SIZED,
)  # fmt: skip
MOST_LEFT_OUT = 2  # claims that are not measured: a comparison of nothing agrees


@pytest.mark.parametrize(
    ("text", "scores", "compares"),
    [
        (MATRIX_CARD, RandomScores(10, devices=2), False),
        (ALONG_CARD, RandomScores(1), True),
        (SIZED_CARD, RandomScores(3), True),
        (ALONG_CARD, RandomScores(1, lost=0.03, coarse=True), False),
    ],
    ids=["a matrix", "an axis", "an axis of sizes", "ties and diverged runs"],
)
def test_every_number_of_axes_and_claims_is_recomputed(
    tmp_path: Path, call: Caller, text: str, scores: RandomScores, *, compares: bool
) -> None:
    path, folder = random_results.write(tmp_path, text, scores), str(tmp_path / "results")
    card = tomllib.loads(path.read_text())
    audit = Audit(lambda words: call(shlex.join(words)).out, folder, str(path), card, compares=compares)
    assert not audit.ledger.deviating
    assert len(audit.answers) == text.count(SAYS)
    assert audit.answers.count(NOT_MEASURED) <= MOST_LEFT_OUT
