"""With a fused loss nothing that measures makes the logits of all tokens: what it holds beyond a
training step is some chunks and, where the head is trained, two gradients of it. Counted in bytes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import vocabulary_memory
from allocated_bytes import peak_bytes
from vocabulary_memory import FusedBench

from adapt_axolotl.metagradient import head_loss

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
