"""Where the regressions were shipped: apart from the bugs themselves, so that a better source trains nothing again."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """place: OWNER/REPOSITORY#NUMBER of GitHub. differs: what is not quite the same there, if anything."""

    place: str
    differs: str = ""


SOURCES = {
    "Adam's bias correction missing": Source("google-research/bert#153"),
    "Adam's epsilon inside the root": Source("FluxML/Flux.jl#448"),
    "Adam's beta2 .95 in place of .999": Source("EleutherAI/gpt-neox#228"),
    "Adam's second moment of the weights": Source("stockeh/mlx-optimizers#43"),
    "AdamW's weight decay dropped": Source("kozistr/pytorch_optimizer#517"),
    "AdamW's weight decay doubled": Source("nntrainer/nntrainer#218"),
    "AdamW's weight decay coupled": Source("nntrainer/nntrainer#3565"),
    "gradient clipping turned on": Source("deepspeedai/DeepSpeed#8439"),
    "the warm-up left out": Source("allenai/open-instruct#579"),
    "the schedule a step early": Source("Abe404/segmentation_of_roots_in_soil_with_unet#4"),
    "LoRA's alpha ignored": Source("ostris/ai-toolkit#157"),
    "LoRA's A and B swapped at the start": Source("microsoft/LoRA#114"),
    "Newton-Schulz skipped": Source("deepspeedai/DeepSpeed#8441"),
    "Newton-Schulz a step less": Source("pytorch/pytorch#185542", "accepted no steps at all"),
    "Newton-Schulz's cubic in place of its quintic": Source(
        "NVIDIA-NeMo/Emerging-Optimizers#73", "of another polynomial"
    ),
    "Muon's factor 0.2 sqrt(max) missing": Source("google-deepmind/optax#1249", "another factor of the shape"),
    "embeddings and head routed to Muon": Source("deepspeedai/DeepSpeed#7641"),
    "Muon without nesterov": Source("bitsandbytes-foundation/bitsandbytes#2085", "in SGD"),
    "Muon's momentum lost": Source("kozistr/pytorch_optimizer#516"),
    "weight decay dropped for hidden matrices": Source("tinygrad/tinygrad#17709"),
    "SGD's dampening on": Source("ml-explore/mlx#473"),
    "SGD with nesterov": Source("PaddlePaddle/Paddle#12231", "nesterov with a wrong sign"),
    "SGD's weight decay dropped": Source("PaddlePaddle/Paddle#5836"),
    "SGD's weight decay decoupled": Source("pytorch/pytorch#13801"),
}
