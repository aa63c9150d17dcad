"""reports/performance.md: what `python -m tests.benchmarks` measured, from reports/performance.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from docs import gpu
from docs.generated import STALE
from synthbench.reporting.table import github

FOUND = Path(__file__).resolve().parent.parent / "reports" / "performance.json"
Found = Mapping[str, Any]
ALONE, TOGETHER = "one process", "all processes"
TORCHS, NATIVES, COPIES = "products by torch", "products by the native step", "copies"  # of the machine's limits
NATIVE, TORCH = "fleet, native", "fleet"  # ways to train that are ours: the default, and where there is no compiler
# What is aimed at: our best over a program's best, all processes.
TARGETS = {
    ("quick, adamw full", "JAX"): 1.25, ("quick, adamw full", "torch.compile"): 2.2,
    ("quick, GPT-2 style, adamw lora-16", "Hugging Face + PEFT"): 4.0,
}  # fmt: skip
# And of our worst K over the plain loop.
NEVER_BELOW = {("compact" + length + ", adamw full", "plain loop"): 1.0
               for length in ("", ", 16 tokens", ", 32 tokens", ", 64 tokens")}  # fmt: skip
QUICK_SECONDS = {3: 24.0, 8: 60.0}

METHOD = """\
Every program trains the same model from the same weights on the same batches with the same optimizer, one step after the
other; a test holds its losses to ours (`tests/benchmarks/test_peers.py`). Every process has one core, one thread and the
allocator settings of our workers, other programs' too. Ways take turns in every round, alone, then in one process a core
at the same time: a whole machine. A cell is the median of rounds; brackets are the least and the most. A ratio is of the
same round. torch's AdamW is the fused one. K: runs that one process trains at once. *s to prepare*: until three calls are
done, compiling included, in as many processes. *MFLOP*: of products in a run's step, by formula
(`tests/benchmarks/operations.py`), under LoRA those of a full update. Programs that are written as one usually writes
them, the plain loop and its compiled form, vmap and Hugging Face's, compute the last layer and the head at every
position; fleets and JAX's program where a token is asked for; fleets compute the
first layer's query, key and value once for each entry of the vocabulary. What is left out so is part of a ratio."""
BEST = """\
Our best K on the native path, the default, over each program's best, in run-steps a second: above 1, ours is faster. *Least
of ours* takes our worst K in its place. Targets are of all processes, those of the plain loop at `compact` of our worst
K."""
SHARE = """\
Operations of products in a run's step times run-steps a second, over the peak: what float32 products of 512 x 512
matrices reach on the same cores, by torch or by the native step's own product, whichever is faster. So many times
faster a step could be at most, were it products alone and all of these at the peak. Traffic: the bytes of trained
weights, gradients and moments, each moved once by a step, over what a copy moves. Products of Muon's orthogonalization
are not counted. Where torch's product is much slower than the native one, its library does not recognize the processor:
this is why the native step has its own."""
GROWTH = """\
One process, `quick`'s shape, AdamW, K = 4 where K is not what grows; both paths by turns. Milliseconds of a run's step, and
the share of the peak of products. How time grows with the number of runs: *Dry run*, below."""
QUICK = """\
`synthbench run --optimizer muon` from the command to its table, on the cores named above, with a worker process a core;
the median of rounds by turns, and the least and the most. Then the same with one seed in one process, by the clock of its
core: where the work goes that workers share."""
GPU = """\
Commands with `--device cuda` beside all cores of the same machine's processor, there on torch's path; all that was
measured: [On a GPU](gpu.md)."""
DRY = "Seconds of `synthbench run --optimizer muon --dry-run`, which plans every run and times a step, by seeds."


class Way(NamedTuple):
    label: str
    peer: str
    rates: Mapping[str, Sequence[float]]  # by mode, run-steps a second of every round
    parameters: int
    preparing: float  # seconds until the first three calls are done
    flops: int  # of products in a run's step
    optimizer: str


def performance_page(found: Found | None = None) -> str:
    """The page, of what was published unless it is given; every figure on it is measured, and what is not says so."""
    found = found if found is not None else json.loads(FOUND.read_text())
    races = {name: one for name, one in found.items() if isinstance(one, Mapping) and "ways" in one}
    parts = [
        "# Performance", STALE, about(found), METHOD,
        "## Beside other programs", BEST, best(found, races),
        *(f"### {name}\n\n{race(one)}" for name, one in races.items()),
        "## Share of the machine", SHARE, shares(races, found.get("limits")),
        "## Growth", GROWTH, growth(found),
        "## `quick`", QUICK, commands(found), phases(found), DRY, dry(found),
        "## On a GPU", *on_gpu(),
    ]  # fmt: skip
    return "\n\n".join(parts)


def about(found: Found) -> str:
    machine = found.get("machine")
    if not isinstance(machine, Mapping):
        return not_measured(machine)
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['device']}, {machine['cores']} cores, Python {machine['python']}, {versions}; {machine['date']}, load "
        f"before {machine['load before']:.1f}. Made by `python -m tests.benchmarks`; all it found is in "
        "[performance.json](performance.json)."
    )


def not_measured(why: Any) -> str:
    return why.capitalize() + "." if isinstance(why, str) else "Not measured."


def ways(one: Found) -> tuple[list[Way], list[Way]]:
    """Ours and those of others that were measured."""
    made = [
        Way(label, way["peer"], {m: way[m] for m in (ALONE, TOGETHER)}, way["parameters"], way["seconds to prepare"],
            way["flops"], way["optimizer"])
        for label, way in one["ways"].items() if isinstance(way, Mapping)
    ]  # fmt: skip
    return [way for way in made if way.peer in (NATIVE, TORCH)], [
        way for way in made if way.peer not in (NATIVE, TORCH)
    ]


def program(way: Way) -> str:
    """A program may be measured in several ways, of which the best counts."""
    return way.peer.split(" ")[0] if way.peer.startswith("JAX") else way.peer


def fastest(some: Sequence[Way], mode: str = TOGETHER) -> Way:
    return max(some, key=lambda way: median(way.rates[mode]))


def spread(values: Sequence[float], form: str = ".2f") -> str:
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def ratios(ours: Way, theirs: Way, mode: str) -> list[float]:
    return [one / other for one, other in zip(ours.rates[mode], theirs.rates[mode], strict=True)]


def best(found: Found, races: Mapping[str, Found]) -> str:
    """Every program in every comparison, targets that were not measured, and of each that is missed how far off it is."""
    rows, missed, targets = [], [], TARGETS | NEVER_BELOW
    for name, one in races.items():
        ours, others = ways(one)
        ours = [way for way in ours if way.peer == NATIVE] or ours
        for other in dict.fromkeys(map(program, others)) if ours else ():
            of_program = [way for way in others if program(way) == other]
            theirs = {mode: fastest(of_program, mode) for mode in (ALONE, TOGETHER)}
            least = min(ours, key=lambda way: median(way.rates[TOGETHER]))
            counted = least if (name, other) in NEVER_BELOW else fastest(ours)
            target, together = targets.pop((name, other), None), ratios(counted, theirs[TOGETHER], TOGETHER)
            is_reached = target is None or median(together) >= target
            if target and not is_reached:
                missed.append(short_of(found, name, counted, theirs[TOGETHER], target))
            rows.append([
                name, theirs[TOGETHER].label, fastest(ours).label,
                spread(ratios(fastest(ours, ALONE), theirs[ALONE], ALONE)),
                spread(ratios(fastest(ours), theirs[TOGETHER], TOGETHER)),
                f"{median(ratios(least, theirs[TOGETHER], TOGETHER)):.2f}",
                f"{target} ({'reached' if is_reached else 'missed'})" if target else "",
            ])  # fmt: skip
    rows += [[name, other, "", "", "", "", f"{target} (not measured)"] for (name, other), target in targets.items()]
    heads = ["comparison", "program", "ours", "one process", "all processes", "least of ours", "target"]
    return "\n\n".join([github(heads, rows), *missed])


def short_of(found: Found, name: str, ours: Way, theirs: Way, target: float) -> str:
    """What a target that is missed would take, by arithmetic."""
    wanted, reached = target * median(theirs.rates[TOGETHER]), median(ours.rates[TOGETHER])
    text = f"{name}, {theirs.label}: {target} times would be {wanted:.0f} run-steps a second; ours are {reached:.0f}"
    if not isinstance(limits := found.get("limits"), Mapping):
        return f"{text}."
    share = ours.flops / 1e9 / peak(limits[TOGETHER])
    return f"{text}: products alone at {wanted * share:.0%} of the peak, which ours have at {reached * share:.0%}."


def peak(of_processes: Sequence[Mapping[str, float]]) -> float:
    """GFLOP a second of all processes, by the faster product."""
    return sum(max(one[TORCHS], one.get(NATIVES, 0.0)) for one in of_processes)


def race(one: Found) -> str:
    """Every way, the fastest first, and those that were not measured."""
    ours, others = ways(one)
    rows = [
        [
            way.label,
            *(spread(way.rates[mode], ".0f") for mode in (ALONE, TOGETHER)),
            f"{way.flops / 1e6:.0f}",
            f"{way.parameters:,}",
            f"{way.preparing:.1f}",
        ]
        for way in sorted([*ours, *others], key=lambda way: -median(way.rates[TOGETHER]))
    ]
    rows += [[label, why.split("\n")[0], "", "", "", ""] for label, why in one["ways"].items() if isinstance(why, str)]
    heads = ["way", "run-steps/s, one process", "all processes", "MFLOP", "trained parameters", "s to prepare"]
    return github(heads, rows)


def shares(races: Mapping[str, Found], limits: Any) -> str:
    if not isinstance(limits, Mapping):
        return not_measured(limits)
    most, copy = peak(limits[TOGETHER]), sum(one[COPIES] for one in limits[TOGETHER])
    rows = []
    for name, one in races.items():
        ours, _ = ways(one)
        if ours:
            way = fastest(ours)
            rate = median(way.rates[TOGETHER])
            reached = way.flops * rate / 1e9
            moved = 4 * (3 + (way.optimizer == "adamw")) * way.parameters * rate / 1e9  # AdamW has two moments
            rows.append([
                name, way.label, f"{way.flops / 1e6:.0f}", f"{reached:.0f}", f"{reached / most:.0%}",
                f"{most / reached:.1f}", f"{moved:.2f}", f"{moved / copy:.1%}",
            ])  # fmt: skip
    heads = ["comparison", "our best", "MFLOP", "GFLOP/s", "of the peak", "at most faster", "GB/s", "of copying"]
    by = {name: sum(one[name] for one in limits[TOGETHER]) for name in (TORCHS, NATIVES) if name in limits[TOGETHER][0]}
    each = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in by.items())
    text = f"All processes together: {each}, copying {copy:.0f} GB/s."
    return f"{text}\n\n{github(heads, rows)}"


def growth(found: Found) -> str:
    measured, limits = found.get("growth"), found.get("limits")
    if not isinstance(measured, Mapping) or not isinstance(limits, Mapping):
        return not_measured(measured)
    most, rows = peak(limits[ALONE]), []
    for path, cases in measured.items():
        for case, one in cases.items():
            size, value = case.rsplit(" ", 1)
            if isinstance(one, str):
                rows.append([path, size, value, one, ""])
            else:
                rate = median(one[ALONE])
                rows.append([path, size, value, f"{1e3 / rate:.2f}", f"{one['flops'] * rate / 1e9 / most:.0%}"])
    return github(["path", "what grows", "to", "ms a run's step", "of the peak"], rows)


def commands(found: Found) -> str:
    measured = found.get("command quick")
    if not isinstance(measured, Mapping):
        return not_measured(measured)
    rows = []
    for options, one in measured.items():
        target = QUICK_SECONDS.get(one["seeds"])
        seconds = median(one["seconds"])
        reached = f"{target:.0f} s ({'reached' if seconds <= target else 'missed'})" if target else ""
        rows.append([
            options, spread(one["seconds"], ".1f"), f"{median(one['core-seconds']):.1f}", f"{one['run-steps']:,}",
            f"{one['run-steps'] / seconds:.0f}", reached,
        ])  # fmt: skip
    return github(["options", "seconds", "core-seconds", "run-steps", "run-steps/s", "target"], rows)


def phases(found: Found) -> str:
    measured = found.get("phases of quick")
    if not isinstance(measured, Mapping):
        return not_measured(measured)
    tables = []
    for path, spent in measured.items():
        total = sum(spent.values())
        rows = [[phase, f"{seconds:.2f}", f"{seconds / total:.1%}"] for phase, seconds in spent.items()]
        heads = [f"phase, --path {path}" if path else "phase", "core-seconds", "share"]
        tables.append(github(heads, [*rows, ["all", f"{total:.2f}", ""]]))
    return "\n\n".join(tables)


def dry(found: Found) -> str:
    seconds = found.get("dry run")
    if not isinstance(seconds, Mapping):
        return not_measured(seconds)
    return github(["seeds", "seconds"], [[seeds, f"{taken:.2f}"] for seeds, taken in seconds.items()])


def on_gpu() -> Iterator[str]:
    """Whole commands on the GPU that was met; or that none was."""
    if not gpu.FOUND.exists():
        yield "Not measured."
        return
    measured = json.loads(gpu.FOUND.read_text())
    yield from (f"{measured['machine']['gpu']}. {GPU}", gpu.commands(measured))
