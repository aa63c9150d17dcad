"""A remembered function is called once for a key, and its last values are kept."""

from __future__ import annotations

from synthbench.common.remembered import remembered


def test_values_of_the_last_keys_are_kept() -> None:
    calls = []

    @remembered(lambda word, times=1: (word, times), last=2)
    def repeated(word: str, times: int = 1) -> str:
        calls.append((word, times))
        return word * times

    assert [repeated("a"), repeated("b", 2), repeated("a"), repeated("a", times=1)] == ["a", "bb", "a", "a"]
    assert calls == [("a", 1), ("b", 2)]
    repeated("c")  # `b` was asked for longest ago
    repeated("a")
    repeated("b", 2)
    assert calls == [("a", 1), ("b", 2), ("c", 1), ("b", 2)]
