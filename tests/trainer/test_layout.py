"""Layout: offsets of parameters in a run's row, aligned to cache lines, hidden matrices first."""

from __future__ import annotations

from synthbench.cards import MODELS, ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank
from synthbench.trainer.layout import Layout
from tests.each import each
from tests.trainer import small

LINE = 16  # floats on a cache line of 64 bytes
ODD = ModelCard(width=6, layers=3, head_width=2, norm="layernorm", positions="learned", mlp="swiglu", expansion=3)
STYLES = small.STYLES | {"odd": ODD}


def layout(style: str) -> Layout:
    return layouts.transformer(STYLES[style], 41, 8)


@each("style", STYLES)
def test_parameters_start_on_a_cache_line_and_follow_each_other(style: str) -> None:
    for trainable in (layout(style), layouts.hidden(layout(style)), low_rank.adapters(layout(style), 5)):
        end = 0
        for parameter in trainable.parameters.values():
            assert parameter.offset % LINE == 0
            assert end <= parameter.offset < end + LINE
            end = parameter.offset + parameter.size
        assert trainable.row % LINE == 0
        assert end <= trainable.row < end + LINE


@each("style", STYLES)
def test_chunks_cover_the_row_with_every_parameter_at_its_offset(style: str) -> None:
    full, offset, offsets = layout(style), 0, {}
    for name, size in full.chunks:
        assert size > 0
        if name is not None:
            offsets[name] = offset
            assert size == full.parameters[name].size
        offset += size
    assert offset == full.row
    assert offsets == {name: parameter.offset for name, parameter in full.parameters.items()}


@each("style", STYLES)
def test_hidden_matrices_come_first_then_embeddings_then_vectors(style: str) -> None:
    full, hidden = layout(style), layouts.hidden(layout(style))
    groups = [parameter.group for parameter in full.parameters.values()]
    assert groups == sorted(groups, key=["hidden", "embedding", "vector"].index)
    assert hidden.parameters.items() <= full.parameters.items()
    assert groups.count("hidden") == len(hidden.parameters)
    other_offsets = [p.offset for p in full.parameters.values() if p.group != "hidden"]
    assert hidden.row == min(other_offsets)


def test_names_and_shapes_of_the_plain_style() -> None:
    plain = layouts.transformer(ModelCard(width=4, layers=1, head_width=2), 7, 5)
    assert {name: p.shape for name, p in plain.parameters.items()} == {
        "layers.0.qkv": (3, 4, 4), "layers.0.out": (4, 4), "layers.0.up": (16, 4), "layers.0.down": (4, 16),
        "embedding": (7, 4), "head": (7, 4),
    }  # fmt: skip
    assert plain.size == 48 + 16 + 64 + 64 + 28 + 28


def test_names_and_shapes_of_the_other_styles() -> None:
    card = ModelCard(
        width=4, layers=1, head_width=2, norm="layernorm", positions="learned", mlp="swiglu", expansion=2, tied=True
    )
    assert {name: p.shape for name, p in layouts.transformer(card, 7, 5).parameters.items()} == {
        "layers.0.qkv": (3, 4, 4), "layers.0.out": (4, 4),
        "layers.0.up": (8, 4), "layers.0.gate": (8, 4), "layers.0.down": (4, 8),
        "embedding": (7, 4), "positions": (5, 4),
        "layers.0.norm_attention.gain": (4,), "layers.0.norm_attention.bias": (4,),
        "layers.0.norm_mlp.gain": (4,), "layers.0.norm_mlp.bias": (4,),
        "norm_head.gain": (4,), "norm_head.bias": (4,),
    }  # fmt: skip


def test_gpt2_small_has_the_parameters_of_gpt2_without_linear_biases() -> None:
    """Of the 124,439,808 parameters of GPT-2 small, 12 layers x (2,304 + 768 + 3,072 + 768) are linear biases."""
    assert layouts.transformer(MODELS["gpt2-small"], 50_257, 1024).size == 124_439_808 - 12 * 6_912
