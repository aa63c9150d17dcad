"""How many floating-point operations a run's step has in products of matrices, by formula.

Shapes: B examples of L tokens, of which S are asked, d width, F inner width, V vocabulary.
"""

from __future__ import annotations

from tests.benchmarks.shapes import Shape

BOTH_WAYS = 3  # a product forward, and two backward: to its input and to its weights


def operations(shape: Shape, *, asked_only: bool = True, has_table: bool = False, is_native: bool = False) -> int:
    """asked_only: after the last layer's query, key and value only where a token is asked for, as in fleets and JAX; else
    at every position. has_table: the first layer's query, key and value by entry of the vocabulary, where these are at most
    half as many. is_native: the last layer's query, too, where a token is asked for alone; and a table where entries are
    fewer. Gradients of every weight; a LoRA's own products, which are small, are left out.
    """
    model, d, F, V = shape.model, shape.model.width, shape.model.width * shape.model.expansion, shape.vocabulary
    tokens, matrices = shape.batch * shape.length, 3 if model.mlp == "swiglu" else 2
    asked = shape.batch * (shape.length - shape.first) if asked_only else tokens
    total = asked * d * V  # head
    for i in range(model.layers):
        queries = asked if i == model.layers - 1 else tokens
        is_table = has_table and i == 0 and model.positions == "rope" and tokens > (V if is_native else 2 * V - 1)
        of_query = queries if is_native else tokens
        total += V * 3 * d * d if is_table else tokens * 2 * d * d + of_query * d * d  # key and value, query
        total += 2 * queries * shape.length * d  # attention: scores, and values mixed by them
        total += queries * d * d + matrices * queries * d * F  # its output, the MLP
    return BOTH_WAYS * 2 * total
