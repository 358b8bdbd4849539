"""Do the effects of tasks on targets say what more of a task really does?

    python benchmarks/effects_truth.py [seeds] [null tables]

Tasks are mappings of symbols, `x f(x)`, of which the answers are supervised; a Qwen3 of 50,000
parameters learns them from scratch with AdamW and a constant rate. Target X is learned from the
task `same`; `half` has half of its symbols; `other` is target Y, of other symbols; `contrary` maps
the symbols of X otherwise.

1. What is said of a run in which all four have equal shares.
2. The same run again, with the share of one task raised by `MORE` of all tokens at the cost of all
   others: how far the loss of each target ends below, over as many seeds, beside what was said.
3. Six tasks and three targets of one distribution: how many tables name any task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from adapt_axolotl.metagradient.group_products import group_products
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.step_sizes import adam_step_sizes
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.effects import Effects, of_group_products, summed

Mapped = tuple[np.ndarray, np.ndarray]
"""Symbols, and what each is mapped to."""

VOCABULARY, STEPS, ROWS, PAIRS, RATE, MORE = 64, 60, 16, 6, 3e-3, 0.10
MOMENTS = (3, 9, 15, 21, 27, 33, 39, 45, 51, 57)  # a tenth of the run each
GROUPS, GROUP_ROWS = 8, 8


def mappings() -> dict[str, Mapped]:
    random = np.random.default_rng(0)
    x, y = np.arange(2, 26), np.arange(30, 54)
    to_x, to_y = random.permutation(x), random.permutation(y)
    half = np.concatenate([x[::2], y[::2]])
    to_half = np.concatenate([to_x[::2], random.permutation(y)[::2]])
    return {
        "same": (x, to_x),
        "half": (half, to_half),
        "other": (y, to_y),
        "contrary": (x, np.roll(to_x, 1)),
    }


def batch(rows: list[tuple[Mapped, int]], random: np.random.Generator) -> TaskBatch:
    """So many rows of each mapping."""
    lines = []
    for (symbols, mapped), count in rows:
        for _ in range(count):
            drawn = random.integers(len(symbols), size=PAIRS)
            lines.append(np.stack([symbols[drawn], mapped[drawn]], axis=1).ravel())
    ids = torch.tensor(np.stack(lines))
    labels = ids.clone()
    labels[:, ::2] = -100
    numbers = torch.arange(len(ids))[:, None].expand_as(ids)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return TaskBatch(inputs, labels, numbers, torch.zeros(len(ids), dtype=torch.int64))


def mean_loss(model: torch.nn.Module, rows: TaskBatch) -> torch.Tensor:
    sums, tokens = row_losses(model, rows, whole_logits=True)
    return sums.sum() / tokens.sum()


Look = Callable[[torch.nn.Module, torch.optim.Optimizer], Effects]


def train(
    tasks: Mapping[str, Mapped], shares: np.ndarray, seed: int, look: Look | None = None
) -> tuple[torch.nn.Module, list[Effects]]:
    """A run, and what was seen at its moments."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            use_cache=False,
            tie_word_embeddings=False,
        )
    ).eval()
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    seen = []
    owed = np.zeros(len(shares))
    for step in range(1, STEPS + 1):
        owed += ROWS * shares
        counts = np.floor(owed).astype(int)
        # The rest of the batch goes to those who are owed most.
        for k in np.argsort(counts - owed)[: ROWS - counts.sum()]:
            counts[k] += 1
        owed -= counts
        rows = [(mapped, int(n)) for mapped, n in zip(tasks.values(), counts, strict=True) if n]
        loss = mean_loss(model, batch(rows, random))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if look is not None and step in MOMENTS:
            seen.append(look(model, optimizer))
    return model, seen


def looking(tasks: list[Mapped], targets: list[Mapped], random: np.random.Generator) -> Look:
    def groups(mapped: Mapped) -> list[list[TaskBatch]]:
        return [[batch([(mapped, GROUP_ROWS)], random)] for _ in range(GROUPS)]

    def look(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Effects:
        parameters = list(model.parameters())
        found = group_products(
            model,
            parameters,
            adam_step_sizes(optimizer, parameters),
            [groups(one) for one in targets],
            [groups(one) for one in tasks],
        )
        arrays = (found.products, found.target_tokens, found.task_tokens)
        return of_group_products(*(one.numpy() for one in arrays))

    return look


def of_run(seen: list[Effects]) -> Effects:
    """By a step, on average over the run."""
    return summed(seen, [1 / len(seen)] * len(seen))


def told(effects: Effects, names: list[str]) -> None:
    """A line a task."""
    shares = np.full(len(names), 1 / len(names))
    above = effects.above_average(shares)
    ours, theirs = effects.told_from_noise(), above.told_from_noise()
    for k, name in enumerate(names):
        cells = []
        for j in range(effects.values.shape[1]):
            word = "more" if above.values[k, j] > 0 else "less"
            cells.append(
                f"{effects.values[k, j]:8.4f} +- {effects.errors[k, j]:.4f} "
                f"{'told' if ours[k, j] else 'not told'}, {word if theirs[k, j] else 'no other'}"
            )
        print(f"{name:10}", *cells, sep="   ")


def main(seeds: int = 5, tables: int = 20) -> None:
    torch.set_num_threads(1)
    every = mappings()
    names, tasks = list(every), list(every.values())
    targets = [every["same"], every["other"]]
    equal = np.full(len(names), 1 / len(names))
    held_out = [batch([(one, 200)], np.random.default_rng(999)) for one in targets]
    said, real, fallen = [], [], []
    for seed in range(seeds):
        look = looking(tasks, targets, np.random.default_rng(1000 + seed))
        model, seen = train(every, equal, seed, look)
        before = [float(mean_loss(model, rows).detach()) for rows in held_out]
        fallen.append(np.log(VOCABULARY) - np.array(before))
        said.append(of_run(seen))
        falls = []
        for k in range(len(names)):
            shares = equal * (1 - MORE) + MORE * (np.arange(len(names)) == k)
            model, _ = train(every, shares, seed)
            after = [float(mean_loss(model, rows).detach()) for rows in held_out]
            falls.append(np.subtract(before, after))
        real.append(np.array(falls))
    print("1. One run (seed 0): targets X and Y, by a step on the task alone")
    told(said[0], names)
    steps = [f"{one:.2f}" for one in STEPS * said[0].average(equal).values[0]]
    print(
        f"all steps together: {', '.join(steps)}; from an even guess the losses fell by "
        f"{', '.join(f'{one:.2f}' for one in fallen[0])}"
    )
    above = np.array([STEPS * MORE * one.above_average(equal).values for one in said])
    falls = np.array(real)
    print(f"\n2. {MORE:.0%} more of a task, {seeds} seeds: fall that was said, that came (+- s.e.)")
    for k, name in enumerate(names):
        cells = [
            f"{above[:, k, j].mean():8.3f}, {falls[:, k, j].mean():7.3f} "
            f"+- {falls[:, k, j].std(ddof=1) / np.sqrt(seeds):.3f}"
            for j in range(2)
        ]
        print(f"{name:10}", *cells, sep="   ")
    both = (above.mean(axis=0).ravel(), falls.mean(axis=0).ravel())
    print(f"correlation of the two columns: {np.corrcoef(*both)[0, 1]:.2f}")
    named, cells, ratios = 0, 0, []
    same, six = every["same"], np.full(6, 1 / 6)
    for seed in range(tables):
        look = looking([same] * 6, [same] * 3, np.random.default_rng(seed))
        _, seen = train({"same": same}, np.ones(1), seed, look)
        one = of_run(seen).above_average(six)
        found = one.told_from_noise()
        named += bool(found.any())
        cells += int(found.sum())
        ratios.append(one.values / one.errors)
    print(
        f"\n3. All alike: {named} of {tables} tables name a task (5 % by chance), {cells} of "
        f"{18 * tables} cells; rms of effect by error {np.sqrt(np.mean(np.square(ratios))):.2f}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
