"""What in a forecast is worth a second thought before training: one sentence, with its remedy."""

from __future__ import annotations

from adapt_axolotl.commands.preview.forecast import REPEATS, Forecast

# Below these the run still trains, but what it learns of the tasks is mostly noise.
VALIDATION_ROWS = 16
STEPS = 50
META_STEPS = 20

# Above this a run costs more than a few per cent over a static one.
META_COST = 0.06


def warnings(run: Forecast, sequence_len: int) -> list[str]:
    """Empty where nothing stands out.

    Args:
        run: the forecast.
        sequence_len: longest row that fits, in tokens.
    """
    found = []
    if run.steps < STEPS:
        found.append(
            f"the budget of {run.budget:,} tokens buys {run.steps} optimizer steps, fewer than "
            f"{STEPS}; raise adapt.token_budget, or lower micro_batch_size or "
            "gradient_accumulation_steps"
        )
    if run.rows_ended:
        found.append(
            f"every task reaches adapt.max_repeats before the budget of {run.budget:,} tokens is "
            f"spent, so the run ends at {run.tokens:,}; raise max_repeats, or lower "
            "adapt.token_budget"
        )
    if run.meta is not None and run.meta.steps < META_STEPS:
        found.append(
            f"{run.meta.steps} meta steps, fewer than {META_STEPS}: the mixture will hardly move; "
            "lower adapt.learned.update_every, or raise adapt.token_budget"
        )
    if run.meta is not None and run.meta.cost > META_COST:
        found.append(
            f"meta steps will cost about {run.meta.cost:.0%} of the training, more than "
            f"{META_COST:.0%}: a step of {run.rows_per_step:.0f} rows is small beside "
            f"{len(run.tasks)} tasks; raise adapt.learned.update_every, micro_batch_size or "
            "gradient_accumulation_steps"
        )
    for task in run.tasks:
        if task.repeats > REPEATS:
            found.append(
                f"{task.name}: its {task.rows:,} rows are repeated {task.repeats:.1f} times under "
                f"the first mixture; set adapt.max_repeats: {REPEATS:g}, lower the budget, or join "
                "it with another task by giving both one task: name"
            )
        if task.validation_rows < VALIDATION_ROWS:
            found.append(
                f"{task.name}: {task.validation_rows} validation rows, fewer than "
                f"{VALIDATION_ROWS}: its loss is mostly noise; raise adapt.val_examples, or give "
                "it more test_datasets rows"
            )
        if 2 * task.rows_unfit > task.rows_read:
            found.append(
                f"{task.name}: {task.rows_unfit:,} of its {task.rows_read:,} rows do not fit "
                f"sequence_len: {sequence_len} and are left out; raise it, or set "
                "excess_length_strategy: truncate"
            )
    return found
