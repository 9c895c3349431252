"""The stacked optimiser against PyTorch's own."""

from __future__ import annotations

import pytest
import torch

from proxy_training import optimizer
from proxy_training.model import layout_of
from proxy_training.optimizer import StackedAdamW
from proxy_training.spec import OptimizerSpec
from tests.proxy_training.training_cases import TINY

STEPS = 5


@pytest.mark.parametrize("clip", [0.5, 1e9], ids=["clipped", "not clipped"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_row_moves_as_under_torch_adamw(clip: float, decay: float) -> None:
    spec = OptimizerSpec(weight_decay=decay, grad_clip=clip, beta1=0.8, beta2=0.95)
    layout = layout_of(TINY)
    flat = layout.initial([0, 1, 2])
    alone = [[part.clone().requires_grad_() for part in row.split(layout.sizes)] for row in flat]
    groups = [
        [
            {"params": [part], "lr": 0.01 * slot.rate_scale, "weight_decay": decay / slot.rate_scale * slot.decayed}
            for slot, part in zip(layout.slots, parts, strict=True)
        ]
        for parts in alone
    ]
    references = [torch.optim.AdamW(group, betas=(0.8, 0.95)) for group in groups]
    stacked = StackedAdamW(spec, flat, layout)
    generator = torch.Generator().manual_seed(1)
    for count in range(1, STEPS + 1):
        grad = torch.randn(flat.shape, generator=generator) * torch.tensor([1e-4, 1.0, 50.0])[:, None]
        for parts, row, reference in zip(alone, grad, references, strict=True):
            for part, piece in zip(parts, row.split(layout.sizes), strict=True):
                part.grad = piece.clone().view(part.shape)
            torch.nn.utils.clip_grad_norm_(parts, clip)
            reference.step()
        stacked.update(flat, grad, grad.norm(dim=1), rate=0.01, count=count)
    expected = torch.stack([torch.cat([part.detach() for part in parts]) for parts in alone])
    # clip_grad_norm_ adds 1e-6 to the norm, which we do not.
    torch.testing.assert_close(flat, expected, atol=2e-6, rtol=2e-5)


def test_rows_that_are_kept_go_on_as_if_nothing_had_happened() -> None:
    spec, layout = OptimizerSpec(), layout_of(TINY)
    grads = torch.randn(2, 3, layout.params, generator=torch.Generator().manual_seed(2))
    whole, part = layout.initial([0, 1, 2]), layout.initial([0, 1, 2])
    for_whole, for_part = StackedAdamW(spec, whole, layout), StackedAdamW(spec, part, layout)
    for adam, flat in ((for_whole, whole), (for_part, part)):
        adam.update(flat, grads[0].clone(), grads[0].norm(dim=1), 0.01, 1)
    kept = torch.tensor([0, 2])
    for_part.keep(kept)
    part = part[kept]
    for_whole.update(whole, grads[1].clone(), grads[1].norm(dim=1), 0.01, 2)
    for_part.update(part, grads[1][kept], grads[1][kept].norm(dim=1), 0.01, 2)
    assert torch.equal(part, whole[kept])


def test_an_update_in_blocks_is_the_update_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    layout, spec = layout_of(TINY), OptimizerSpec(weight_decay=0.1)
    found = []
    for block in (100, 10**9):  # 33 columns at a time, the last ones fewer, or all
        monkeypatch.setattr(optimizer, "_CPU_BLOCK", block)
        flat, generator = layout.initial([0, 1, 2]), torch.Generator().manual_seed(3)
        stacked = StackedAdamW(spec, flat, layout)
        for count in (1, 2):
            grad = torch.randn(flat.shape, generator=generator)
            stacked.update(flat, grad, grad.norm(dim=1), rate=0.01, count=count)
        found.append(flat)
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)
