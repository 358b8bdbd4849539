"""With a fused loss nothing that measures makes the logits of all tokens: what it holds beyond a
training step is some chunks and, where the head is trained, two gradients of it. Counted in bytes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import vocabulary_memory
from allocated_bytes import peak_bytes
from vocabulary_memory import FusedBench

from adapt_axolotl.metagradient import head_loss
from adapt_axolotl.metagradient.head_loss import weighted_head_loss
from adapt_axolotl.metagradient.logit_change import AS_THEY_ARE, LogitChange

VOCABULARY, WIDTH, TOKENS = 16_384, 16, 1024
CHUNK = 32 * VOCABULARY


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = replace(
        vocabulary_memory.SHAPE,
        hidden=WIDTH,
        intermediate=WIDTH,
        layers=1,
        head_dim=WIDTH // 2,
        rows=4,
        micro_batch=4,
        tokens=TOKENS // 4,
    )
    monkeypatch.setattr(vocabulary_memory, "SHAPE", shape)
    monkeypatch.setattr(head_loss, "CHUNK", CHUNK)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["tied", "untied", "LoRA"])
def test_measuring_holds_chunks_beyond_a_training_step_with_a_fused_loss(kind: str) -> None:
    bench = FusedBench(VOCABULARY, kind)
    bench.step()
    training = peak_bytes(bench.step)
    chunk, head = 4 * CHUNK, 4 * VOCABULARY * WIDTH
    allowed = training + chunk + (0 if kind == "LoRA" else 2 * head) + 2**19
    all_logits = 4 * VOCABULARY * TOKENS
    assert allowed < all_logits
    works = bench.works()
    for name, work in works.items():
        work()
        assert peak_bytes(work) < allowed, name
    assert len(works) == 6
    plain = FusedBench(VOCABULARY, kind, fused=False)
    plain.step()
    assert peak_bytes(plain.step) > 2 * all_logits


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("change", "chunks"),
    [(AS_THEY_ARE, 1), (LogitChange(scale=2.0), 1), (LogitChange(cap=30.0), 2)],
)
def test_a_soft_cap_takes_one_chunk_more(change: LogitChange, chunks: int) -> None:
    head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False).requires_grad_(False)
    states = torch.randn(TOKENS, WIDTH, requires_grad=True)
    labels, weights = torch.zeros(TOKENS, dtype=torch.int64), torch.ones(TOKENS)

    def work() -> None:
        weighted_head_loss(head, change, states, labels, weights)[0].backward()

    work()
    assert peak_bytes(work) < (chunks + 0.25) * 4 * CHUNK
