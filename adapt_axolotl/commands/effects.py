"""Which task helped which target: measured after a run, at its checkpoints. K tasks, J targets."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from adapt_axolotl.commands.same_data import planned_again
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.build import micro_batch_tokens
from adapt_axolotl.integration.checkpointed_model import CheckpointedModel
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.integration.recipe_config import PlannedRun
from adapt_axolotl.meta_step.row_groups import GROUPS, RowGroups
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.group_products import group_products
from adapt_axolotl.metagradient.task_batch import TaskBatch
from adapt_axolotl.mixture.checkpoint_signs import across_checkpoints
from adapt_axolotl.mixture.effects import Effects, of_group_products, summed
from adapt_axolotl.records.effects import MeasuredEffects, write_effects
from adapt_axolotl.records.page_file import write_page
from adapt_axolotl.run.checkpoint import read_checkpoint, whole_checkpoints
from adapt_common.run_records import read_ledger

LOG = logging.getLogger("axolotl.adapt")

LEAST_CHECKPOINTS = 3


def measure_effects(run: Path, targets: Sequence[str], rows: int) -> None:
    """Measure them and write `effects.json` into the run's records.

    Args:
        run: output directory of a finished run with its checkpoints. Its data is read again, as its
            recipe says.
        targets: names of tasks; those of the recipe where empty.
        rows: of each task and of each target at each checkpoint, at most.

    Raises:
        ValueError: the run has not ended, keeps too few checkpoints or cannot be read again.
    """
    ledger, folders = read_ledger(run), _checkpoints(run)
    planned = planned_again(run)
    named = _targets(planned, targets)
    pools, held_out = planned.tasks.pools, planned.tasks.validation_pools
    names, seed = list(pools.tasks), planned.spec.seed
    trained = [k for k, name in enumerate(names) if ledger["tasks"][name]["tokens"]]
    measured = [k for k in trained if pools.rows_of_task[k] >= GROUPS]
    tasks = [RowGroups(pools, k, rows, seed) for k in measured]
    asked = [RowGroups(held_out, names.index(name), rows, seed) for name in named]
    model = CheckpointedModel(planned)
    training = _measuring(model, planned, planned.tasks.train, pools)
    validation = _measuring(model, planned, planned.tasks.validation, held_out)
    found: list[Effects] = []
    for number, folder in enumerate(folders):
        parameters, step_sizes = model.load(folder)
        with evaluation_mode(model.model):
            one = group_products(
                model.model,
                parameters,
                step_sizes,
                [[_batches(validation, group) for group in of.at(number)] for of in asked],
                [[_batches(training, group) for group in of.at(number)] for of in tasks],
            )
        arrays = (one.products, one.target_tokens, one.task_tokens)
        found.append(of_group_products(*(array.numpy() for array in arrays)))
        LOG.info(f"effects: {folder.name}, {number + 1} of {len(folders)}")
    ledgers = [read_checkpoint(folder)["ledger"] for folder in folders]
    seen = [sum(one["tokens"]) for one in ledgers]
    parts = stretches(seen, ledger["used"])
    tokens = np.array([ledger["tasks"][names[k]]["tokens"] for k in measured], dtype=float)
    shares = tokens / tokens.sum()
    values = np.stack([one.values for one in found])
    told = [across_checkpoints(values[:, :, j], shares) for j in range(len(named))]
    write_effects(
        run,
        MeasuredEffects(
            tasks=[names[k] for k in measured],
            targets=named,
            effects=summed(found, parts),
            chances=[None if one is None else one.chance for one in told],
            shares=shares,
            left_out=[names[k] for k in trained if k not in measured],
            rows=rows,
            checkpoints=list(
                zip([one["steps"] for one in ledgers], seen, parts, strict=True),
            ),
        ),
        ledger,
    )
    write_page(run)


def _checkpoints(run: Path) -> list[Path]:
    folders = whole_checkpoints(run)
    if len(folders) < LEAST_CHECKPOINTS:
        raise ValueError(
            f"{run}: {len(folders)} of its checkpoints are there with the state of the optimizer, "
            f"and effects are measured at {LEAST_CHECKPOINTS} or more, spread over the run; train "
            "it with save_steps: 0.1 (a tenth of the run), save_total_limit: 20 (Axolotl keeps the "
            "last 4 by default) and without save_only_model"
        )
    return folders


def stretches(tokens: Sequence[int], used: int) -> list[float]:
    """The share of a run that each checkpoint stands for: from half of the way to the one before
    to half of the way to the next.

    Args:
        tokens: trained on up to each, ascending.
        used: in the whole run.
    """
    middles = [(one + other) / 2 for one, other in pairwise(tokens)]
    shares: list[float] = (np.diff([0, *middles, used]) / used).tolist()
    return shares


def _batches(source: MeasuringRows, rows: np.ndarray) -> Iterator[TaskBatch]:
    """Made when they are read."""
    return (source.batch(part) for part in source.parts(rows))


def _measuring(
    model: CheckpointedModel, planned: PlannedRun, rows: object, pools: TaskPools
) -> MeasuringRows:
    return MeasuringRows(
        rows,
        pools,
        pad_token_id=model.pad_token_id,
        micro_batch_tokens=micro_batch_tokens(planned.spec, planned.tasks.pools),
        device=model.device,
    )


def _targets(planned: PlannedRun, targets: Sequence[str]) -> list[str]:
    names, held_out = planned.tasks.names, planned.tasks.validation_pools
    chosen = list(dict.fromkeys(targets or planned.spec.adapt.targets))
    if not chosen:
        raise ValueError(
            f"the recipe names no targets; say which tasks you ask about, as in --target {names[0]}"
        )
    for name in chosen:
        if name not in names:
            raise ValueError(f"--target {name}: no task of the run; choose from {', '.join(names)}")
        if (there := held_out.rows_of_task[names.index(name)]) < GROUPS:
            raise ValueError(
                f"target {name}: {there} validation rows are too few to tell an effect from noise; "
                f"choose targets with {GROUPS} or more"
            )
    return chosen
