"""Automata: states, exact distributions and the strings drawn from them."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare

from synthbench.generators import Language, Place, automaton
from tests.each import each
from tests.generators import shipped, small

LANGUAGE = Language(("says",), 3, 4)
PLACE = Place(0, "t", "s", "rule")
OPTIONS = automaton.Options(word="says", states=3, concentration=0.5)
EVERY = np.arange(LANGUAGE.names)


@each("seed", range(4))
def test_every_syllable_permutes_the_states_and_distributions_sum_to_one(seed: int) -> None:
    machine = automaton.automaton(LANGUAGE, OPTIONS, PLACE._replace(seed=seed))
    assert (np.sort(machine.next_QS, axis=0) == np.arange(3)[:, None]).all()
    np.testing.assert_allclose(machine.chance_QS.sum(1), 1)
    other = automaton.automaton(LANGUAGE, OPTIONS, PLACE._replace(seed=seed + 1))
    assert not np.allclose(machine.chance_QS, other.chance_QS)


def test_a_state_is_where_the_syllables_lead_one_by_one() -> None:
    machine = automaton.Automaton(np.array([[1, 0], [2, 1], [0, 2]]), np.full((3, 2), 0.5))
    strings = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], dtype=np.int32)
    assert automaton.after(machine, strings).tolist() == [2, 1, 0, 1]


def test_all_strings_leave_every_state_equally_often() -> None:
    machine = automaton.automaton(LANGUAGE, OPTIONS, PLACE)
    counts = np.bincount(automaton.after(machine, LANGUAGE.spell(EVERY)), minlength=3)
    assert counts.tolist() == [27, 27, 27]


def test_exact_distributions_follow_the_answer_syllable_by_syllable() -> None:
    machine = automaton.automaton(LANGUAGE, OPTIONS, PLACE)
    string, answer = np.array([[0, 1]], dtype=np.int32), np.array([[2, 0, 1]], dtype=np.int32)
    exact = automaton.exact(machine, string, answer)[0]
    for count in range(3):
        before = np.concatenate([string, answer[:, :count]], axis=1)
        np.testing.assert_array_equal(exact[count], machine.chance_QS[automaton.after(machine, before)[0]])


def test_what_follows_is_drawn_from_the_exact_distributions() -> None:
    """Over seeds: at each place the share of each rank of chance is the mean chance of that rank."""
    observed, expected = np.zeros(3), np.zeros(3)
    for seed in range(60):
        place = PLACE._replace(seed=seed)
        machine = automaton.automaton(LANGUAGE, OPTIONS, place)
        drawn = automaton.draw(LANGUAGE, OPTIONS, EVERY, place, "train")
        answer_NA = small.answer_syllables(drawn) - LANGUAGE.first_syllable
        chance_NAS = automaton.exact(machine, LANGUAGE.spell(EVERY), answer_NA)
        order_NAS = np.argsort(chance_NAS, axis=-1)
        observed += (order_NAS == answer_NA[..., None]).sum((0, 1))
        expected += np.sort(chance_NAS, axis=-1).sum((0, 1))
    assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def test_an_item_has_its_answer_whichever_others_are_drawn_and_in_whatever_split() -> None:
    all_of_them = automaton.draw(LANGUAGE, OPTIONS, EVERY, PLACE, "train")
    some = automaton.draw(LANGUAGE, OPTIONS, EVERY[::-7], PLACE, "test")
    assert np.array_equal(some.tokens_NL, all_of_them.tokens_NL[::-7])


def test_the_shipped_strings_are_less_random_than_chance_and_not_certain() -> None:
    (label, stage, slice_name), *_ = shipped.slices_of_generators("automaton")
    task = shipped.task(label)
    options = automaton.Options.model_validate(shipped.slice_card(label, stage, slice_name).options)
    for seed in range(3):
        machine = automaton.automaton(task.language, options, Place(seed, label, stage, slice_name))
        entropy_Q = -(machine.chance_QS * np.log2(machine.chance_QS.clip(1e-300))).sum(1)
        assert 0.2 < entropy_Q.mean() < 0.9 * np.log2(task.language.syllables)
