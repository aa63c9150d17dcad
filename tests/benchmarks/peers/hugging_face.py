"""transformers' GPT-2 in a plain loop under torch's AdamW; with PEFT's LoRA. The model must be of GPT-2's style.

GPT-2's matrices have biases, which start at zero here and which fleets do not have. PEFT adapts queries, keys and values
together, so its adapters are smaller there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from tests.benchmarks.peers import Way
from tests.benchmarks.peers.plain import adamw, loop, trained
from tests.benchmarks.shapes import RATES, Shape, fleet

EPSILON = 1e-6  # of our norms


class Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BL: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=tokens_BL).logits
        return logits


def gpt2(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    assert (optimizer, update) == ("adamw", "full")
    return trained_by(shape, loaded(shape))


def peft_lora(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    import peft

    assert optimizer == "adamw"
    rank = int(update.removeprefix("lora-"))
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    return trained_by(shape, peft.get_peft_model(loaded(shape), config))


def trained_by(shape: Shape, model: nn.Module) -> Way:
    model.train()
    return loop(shape, Logits(model), model, [adamw(trained(model), RATES["adamw"])])


def loaded(shape: Shape) -> GPT2LMHeadModel:
    """GPT-2 with the weights of run 0, without dropout."""
    card = shape.model
    assert (card.norm, card.positions, card.mlp, card.tied) == ("layernorm", "learned", "gelu", True)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=shape.vocabulary, n_positions=shape.length, n_embd=card.width, n_layer=card.layers,
        n_head=card.width // card.head_width, n_inner=card.width * card.expansion, layer_norm_epsilon=EPSILON,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False, attn_implementation="sdpa",
        bos_token_id=0, eos_token_id=0,
    ))  # fmt: skip
    ours = fleet(shape, [0], "full").member(0)
    theirs = {"wte.weight": ours["embedding"], "wpe.weight": ours["positions"]}
    for i in range(card.layers):
        of = {name.removeprefix(f"layers.{i}."): value for name, value in ours.items() if f"layers.{i}." in name}
        theirs |= {
            f"h.{i}.attn.c_attn.weight": of["qkv"].flatten(0, 1).T, f"h.{i}.attn.c_proj.weight": of["out"].T,
            f"h.{i}.mlp.c_fc.weight": of["up"].T, f"h.{i}.mlp.c_proj.weight": of["down"].T,
            f"h.{i}.ln_1.weight": of["norm_attention.gain"], f"h.{i}.ln_1.bias": of["norm_attention.bias"],
            f"h.{i}.ln_2.weight": of["norm_mlp.gain"], f"h.{i}.ln_2.bias": of["norm_mlp.bias"],
        }  # fmt: skip
    theirs |= {"ln_f.weight": ours["norm_head.gain"], "ln_f.bias": ours["norm_head.bias"]}
    missing, unexpected = model.transformer.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert all(name.endswith(".bias") for name in missing), missing
    with torch.no_grad():
        for name in missing:
            model.transformer.get_parameter(name).zero_()
    return model
