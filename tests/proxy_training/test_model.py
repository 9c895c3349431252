"""The stacked decoder against a plain model of one proxy, and its parameters against the books."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from proxy_training.model import Layout, StackedDecoder, layout_of
from proxy_training.spec import ModelSpec

MODELS = {
    "default widths": ModelSpec(context=16),
    "untied": ModelSpec(d_model=24, n_heads=3, d_ff=40, n_layers=3, context=12, vocab_size=50, tied_head=False),
    "one head": ModelSpec(d_model=16, n_heads=1, d_ff=20, n_layers=1, context=9, vocab_size=11),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return request.param


def tokens_for(spec: ModelSpec, proxies: int, sequences: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(spec.vocab_size, (proxies, sequences, spec.context), generator=generator)


def plain_logits(spec: ModelSpec, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The textbook forward pass of one model, (B, T) to (B, T, V), with a loop where a loop is plainest."""

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * gain

    def rotate(x: Tensor) -> Tensor:  # (B, T, width of a head)
        width, turned = x.shape[-1], torch.empty_like(x)
        for position in range(x.shape[1]):
            for pair in range(width // 2):
                angle = position * 10_000 ** (-2 * pair / width)
                a, b = x[:, position, 2 * pair], x[:, position, 2 * pair + 1]
                turned[:, position, 2 * pair] = a * math.cos(angle) - b * math.sin(angle)
                turned[:, position, 2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
        return turned

    d, heads = spec.d_model, spec.n_heads
    x = weights["embedding"][tokens]
    future = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
    for layer in range(spec.n_layers):
        h = norm(x, weights[f"{layer}.attention_norm"]) @ weights[f"{layer}.query_key_value"]
        mixed = []
        for head in range(heads):
            q, k, v = (h[..., part * d + head * d // heads : part * d + (head + 1) * d // heads] for part in range(3))
            scores = rotate(q) @ rotate(k).transpose(1, 2) / math.sqrt(d // heads)
            mixed.append(scores.masked_fill(future, -math.inf).softmax(-1) @ v)
        x = x + torch.cat(mixed, -1) @ weights[f"{layer}.attention_out"]
        h = norm(x, weights[f"{layer}.feed_forward_norm"]) @ weights[f"{layer}.gate_up"]
        x = x + (F.silu(h[..., : spec.d_ff]) * h[..., spec.d_ff :]) @ weights[f"{layer}.down"]
    head = weights["embedding"] if spec.tied_head else weights["head"]
    return norm(x, weights["final_norm"]) @ head.T * (32 / d)


def away_from_start(layout: Layout, seeds: list[int]) -> Tensor:
    """Initial values moved a little, so that no gain is one and no row equals another."""
    flat = layout.initial(seeds)
    return flat + 0.05 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(9))


def test_books_and_model_agree_on_the_parameters(spec: ModelSpec) -> None:
    layout = layout_of(spec)
    outside = sum(slot.size for slot in layout.slots if slot.name in ("embedding", "head"))
    assert layout.params - outside == spec.non_embedding_params
    assert outside == spec.vocab_size * spec.d_model * (1 if spec.tied_head else 2)


def test_every_proxy_of_a_stack_is_the_textbook_model(spec: ModelSpec) -> None:
    decoder = StackedDecoder(spec)
    flat, tokens = away_from_start(decoder.layout, [0, 1, 2]), tokens_for(spec, 3)
    stacked = decoder.logits(flat, tokens).view(3, *tokens.shape[1:], spec.vocab_size)
    for row in range(3):
        weights = {name: part[0] for name, part in decoder.layout.unpack(flat[row : row + 1]).items()}
        torch.testing.assert_close(stacked[row], plain_logits(spec, weights, tokens[row]), atol=2e-5, rtol=2e-5)


def test_gradients_are_those_of_the_textbook_model(spec: ModelSpec) -> None:
    decoder = StackedDecoder(spec)
    flat, tokens = away_from_start(decoder.layout, [0, 1]), tokens_for(spec, 2)
    labels = tokens.roll(-1, dims=2)
    stacked = flat.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(decoder.losses(stacked, tokens, labels).mean(dim=(1, 2)).sum(), stacked)
    for row in range(2):
        alone = flat[row : row + 1].clone().requires_grad_()
        weights = {name: part[0] for name, part in decoder.layout.unpack(alone).items()}
        logits = plain_logits(spec, weights, tokens[row])
        loss = F.cross_entropy(logits.flatten(0, 1), labels[row].flatten())
        torch.testing.assert_close(gradient[row : row + 1], torch.autograd.grad(loss, alone)[0], atol=2e-5, rtol=1e-4)


def test_initial_values_follow_the_seed_and_not_the_place_in_the_stack(spec: ModelSpec) -> None:
    layout = layout_of(spec)
    stack = layout.initial([4, 7, 4, 9])
    assert torch.equal(stack[0], stack[2])
    assert torch.equal(stack[1], layout.initial([7])[0])
    assert not torch.equal(stack[0], stack[3])


def test_initial_matrices_have_the_stated_spread() -> None:
    layout = layout_of(ModelSpec(d_model=64, d_ff=192, n_layers=2, n_heads=2))
    parts = layout.unpack(layout.initial([0]))
    # Of n draws the spread is off by a factor of 1 +- 1 / sqrt(2 n); n >= 4096, so that 5 % are over 4 deviations.
    assert parts["0.gate_up"].std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert parts["1.down"].std().item() == pytest.approx(192**-0.5 / 2, rel=0.05)
    assert parts["embedding"].std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(parts["final_norm"], torch.ones(1, 64))


def test_no_token_sees_a_later_one(spec: ModelSpec) -> None:
    decoder = StackedDecoder(spec)
    flat, tokens = away_from_start(decoder.layout, [0]), tokens_for(spec, 1)
    changed = tokens.clone()
    changed[:, :, 5:] = (changed[:, :, 5:] + 1) % spec.vocab_size
    before = decoder.logits(flat, tokens).view(1, *tokens.shape[1:], -1)
    after = decoder.logits(flat, changed).view(1, *tokens.shape[1:], -1)
    torch.testing.assert_close(before[:, :, :5], after[:, :, :5])
    assert not torch.allclose(before[:, :, 5:], after[:, :, 5:])


def test_tokens_without_a_label_have_no_loss() -> None:
    decoder = StackedDecoder(MODELS["one head"])
    flat, tokens = decoder.layout.initial([0]), tokens_for(MODELS["one head"], 1)
    labels = tokens.roll(-1, dims=2)
    labels[:, :, 4:] = -1
    losses = decoder.losses(flat, tokens, labels)
    assert (losses[:, :, :4] > 0).all()
    assert torch.equal(losses[:, :, 4:], torch.zeros_like(losses[:, :, 4:]))
