"""The stacked decoder against a plain model of one proxy, and its parameters against the books."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain_decoder import PlainDecoder
from proxy_training.attention import attend, rotation
from proxy_training.head_loss import mean_nats, token_nats
from proxy_training.model import Layout, StackedDecoder, layout_of
from proxy_training.optimizer import StackedAdamW
from proxy_training.spec import ModelSpec, OptimizerSpec

MODELS = {
    "default widths": ModelSpec(context=16),
    "untied": ModelSpec(d_model=24, n_heads=3, d_ff=40, n_layers=3, context=12, vocab_size=50, tied_head=False),
    "one head": ModelSpec(d_model=16, n_heads=1, d_ff=20, n_layers=1, context=9, vocab_size=11),
    "gelu": ModelSpec(d_model=16, d_ff=24, context=12, vocab_size=30, feed_forward="gelu"),
    "gelu, untied": ModelSpec(d_model=16, d_ff=20, n_layers=3, context=9, feed_forward="gelu", tied_head=False),
}


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
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
        h = norm(x, weights[f"{layer}.feed_forward_norm"])
        if spec.feed_forward == "swiglu":
            h = h @ weights[f"{layer}.gate_up"]
            h = h[..., : spec.d_ff] * torch.sigmoid(h[..., : spec.d_ff]) * h[..., spec.d_ff :]
        else:
            h = h @ weights[f"{layer}.up"]
            h = h * (1 + torch.erf(h / math.sqrt(2))) / 2
        x = x + h @ weights[f"{layer}.down"]
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
    (gradient,) = torch.autograd.grad(decoder.mean_losses(stacked, tokens, labels).sum(), stacked)
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


def test_the_mean_that_is_trained_on_is_that_of_the_losses_that_are_measured(spec: ModelSpec) -> None:
    decoder = StackedDecoder(spec)
    flat, tokens = away_from_start(decoder.layout, [0, 1]), tokens_for(spec, 2)
    labels = tokens.roll(-1, dims=2)
    one_by_one = decoder.losses(flat, tokens, labels).mean(dim=(1, 2))
    torch.testing.assert_close(decoder.mean_losses(flat, tokens, labels), one_by_one, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("spec", [ModelSpec(), ModelSpec(feed_forward="gelu", tied_head=False)], ids=["swiglu", "gelu"])
def test_bf16_losses_and_gradients_are_near_those_of_fp32(spec: ModelSpec) -> None:
    exact, rounded = StackedDecoder(spec), StackedDecoder(spec, dtype=torch.bfloat16)
    flat, tokens = away_from_start(exact.layout, [0, 1]), tokens_for(spec, 2)
    labels, found = tokens.roll(-1, dims=2), []
    for decoder in (exact, rounded):
        leaf = flat.clone().requires_grad_()
        losses = decoder.mean_losses(leaf, tokens, labels)
        (grad,) = torch.autograd.grad(losses.sum(), leaf)
        assert losses.dtype == grad.dtype == torch.float32
        found.append((losses.detach(), grad))
    (losses, grad), (near_losses, near_grad) = found
    # A bf16 number is off by up to 2^-9; some ten roundings in a row leave their traces.
    torch.testing.assert_close(near_losses, losses, rtol=5e-3, atol=0)
    assert ((near_grad - grad).norm(dim=1) / grad.norm(dim=1)).max() < 0.03


def test_attention_for_bf16_on_a_cpu_is_that_of_the_library() -> None:
    sequences, tokens, heads, width = 3, 20, 2, 8
    generator = torch.Generator().manual_seed(1)
    exact = torch.randn(sequences, tokens, 3 * heads * width, generator=generator).bfloat16().float()
    upstream = torch.randn(sequences, tokens, heads * width, generator=generator).bfloat16().float()
    turn, found = rotation(tokens, heads, width), []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = exact.to(dtype).requires_grad_()
        mixed = attend(leaf, turn)
        (grad,) = torch.autograd.grad(mixed, leaf, upstream.to(dtype))
        found.append((mixed.detach().float(), grad.float()))
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert (ours - theirs).norm() / theirs.norm() < 0.01


def test_every_head_is_turned_alike_by_factors_of_its_own() -> None:
    turn = rotation(5, 3, 8)
    assert turn.shape == (5, 2, 3, 4)
    assert turn.is_contiguous()
    for head in range(3):
        torch.testing.assert_close(turn[:, :, head], rotation(5, 1, 8)[:, :, 0], rtol=0, atol=0)


def test_many_scores_are_made_chunk_by_chunk_with_the_same_losses_and_gradients() -> None:
    generator = torch.Generator().manual_seed(3)
    vocabulary, width, tokens = 3000, 8, 300  # 128 tokens a chunk, so that the last one is cut
    x = torch.randn(2, tokens, width, generator=generator).requires_grad_()
    head = torch.randn(2, vocabulary, width, generator=generator).requires_grad_()
    labels = torch.randint(vocabulary, (2, tokens), generator=generator)
    scores = torch.bmm(x, head.transpose(1, 2))
    whole = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none").view(2, tokens)
    # An odd upstream gradient shows a factor that was forgotten.
    upstream = torch.tensor([1.0, -0.7])
    expected = torch.autograd.grad(whole.mean(dim=1), (x, head), upstream)
    chunked = mean_nats(x, head, labels)
    torch.testing.assert_close(chunked, whole.mean(dim=1), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(token_nats(x, head, labels), whole, atol=1e-5, rtol=1e-6)
    for ours, theirs in zip(torch.autograd.grad(chunked, (x, head), upstream), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-5)


def test_a_loss_too_large_for_any_share_is_still_a_number() -> None:
    x, head = torch.tensor([[[1.0]]]), torch.tensor([[[300.0], [0.0]]])
    assert mean_nats(x, head, torch.tensor([[1]])).item() == pytest.approx(300)


FeedForward = Literal["swiglu", "gelu"]
COORDINATES = ("embedding", "queries, keys and values", "hidden units", "stream", "logits")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("feed_forward", ["swiglu", "gelu"])
def test_what_updates_do_to_activations_keeps_its_size_as_the_width_grows(
    feed_forward: FeedForward, tied: bool
) -> None:
    """The coordinate check of Yang et al. 2022, Tensor Programs V, after some steps of Adam."""
    widths = (32, 64, 128, 256)
    sizes = np.array([sizes_of_changes(width, feed_forward, tied) for width in widths])
    slopes = np.polyfit(np.log2(widths), np.log2(sizes[:, :-1]), 1)[0]
    # A wrong power of the width is off by half a power at the least; one rate for all matrices gives .2, .3 and .75.
    assert np.abs(slopes).max() < 0.15, dict(zip(COORDINATES, slopes.round(2), strict=True))
    # The head sums what is aligned with its input and a random rest: squares go with a + b / width. From two widths
    # a follows, as a share of the last square: 1 when there is no rest, 0 when there is nothing else, 1.5 if it grows.
    *_, last_but_one, last = sizes[:, -1] ** 2
    assert 0.5 < 2 - last_but_one / last < 1.2


def sizes_of_changes(width: int, feed_forward: FeedForward, tied: bool) -> list[float]:
    """Root mean squares of what 4 steps changed in the last layer, over 4 models.

    Of the logits only what the head's own update adds: what its initial values make of a changed stream is a random
    sum, which falls with the root of the width by design.
    """
    spec = ModelSpec(
        d_model=width, n_heads=width // 16, d_ff=3 * width, context=16, feed_forward=feed_forward, tied_head=tied
    )
    decoder, tokens = StackedDecoder(spec), tokens_for(ModelSpec(context=16), 1, sequences=8).expand(4, -1, -1)
    flat = decoder.layout.initial([0, 1, 2, 3]).requires_grad_()
    before = flat.detach().clone()
    optimizer = StackedAdamW(OptimizerSpec(), before, decoder.layout)
    for count in range(1, 5):
        loss = decoder.mean_losses(flat, tokens, tokens.roll(-1, dims=2)).sum()
        (grad,) = torch.autograd.grad(loss, flat)
        optimizer.update(flat.detach(), grad, grad.norm(dim=1), 1e-2, count)
    changes = [changed(spec, old, new, tokens[0]) for old, new in zip(before, flat.detach(), strict=True)]
    return torch.tensor(changes).mean(dim=0).sqrt().tolist()


@torch.no_grad()
def changed(spec: ModelSpec, old: Tensor, new: Tensor, tokens: Tensor) -> list[float]:
    """Mean squares of the changes of one model, in the order of COORDINATES."""
    models = [PlainDecoder(spec, row) for row in (old, new)]
    then, now = (activations(model, tokens) for model in models)
    moved = [(now[name] - then[name]).square().mean() for name in COORDINATES[:-1]]
    added = F.linear(now["head"], models[1].head.weight - models[0].head.weight)
    return [part.item() for part in (*moved, added.square().mean())]


def activations(model: PlainDecoder, tokens: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    block = model.blocks[-1]

    def watch(name: str, module: nn.Module, which: str) -> None:
        def keep(_module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            seen[name] = inputs[0] if which == "input" else output

        module.register_forward_hook(keep)

    watch("embedding", model.embedding, "output")
    watch("queries, keys and values", block.get_submodule("query_key_value"), "output")
    watch("hidden units", block.get_submodule("down"), "input")
    watch("stream", model.final_norm, "input")
    watch("head", model.head, "input")
    model(tokens)
    return seen
