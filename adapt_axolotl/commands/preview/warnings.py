"""What in a forecast is worth a second thought before training: one sentence, with its remedy."""

from __future__ import annotations

from adapt_axolotl.commands.preview.forecast import REPEATS, Forecast
from adapt_axolotl.commands.preview.notes import comes_round, left_out, much_is_left_out
from adapt_axolotl.meta_step.schedule import LEAST_FALLS
from adapt_axolotl.meta_step.training_losses import NAME as TRAINING_LOSSES

# Below these the run still trains, but what it learns of the tasks is mostly noise.
VALIDATION_ROWS = 16
STEPS = 50

# Above this a run costs more than a few per cent over a static one.
META_COST = 0.06


def warnings(run: Forecast, sequence_len: int) -> list[str]:
    """Empty where nothing stands out.

    Args:
        run: the forecast.
        sequence_len: longest row that fits, in tokens.
    """
    found = []
    longer = "raise adapt.token_budget" if run.max_steps is None else "raise or remove max_steps"
    shorter = "lower adapt.token_budget" if run.max_steps is None else "lower max_steps"
    if run.steps < STEPS and run.max_steps is not None:
        found.append(
            f"max_steps: {run.max_steps} ends the run before the budget does, after fewer than "
            f"{STEPS} optimizer steps; {longer}"
        )
    elif run.steps < STEPS:
        found.append(
            f"the budget of {run.budget:,} tokens buys {run.steps} optimizer steps, fewer than "
            f"{STEPS}; {longer}, or lower micro_batch_size or gradient_accumulation_steps"
        )
    if run.rows_ended:
        found.append(
            f"every task reaches adapt.max_repeats before the budget of {run.budget:,} tokens is "
            f"spent, so the run ends at {run.tokens:,}; raise max_repeats, or lower "
            "adapt.token_budget"
        )
    if run.meta is not None and run.meta.steps < LEAST_FALLS:
        if run.meta.measures == TRAINING_LOSSES:
            found.append(
                f"the mixture moves only {run.meta.steps} times, which says little of the tasks; "
                f"{longer}"
            )
        else:
            found.append(
                f"{run.meta.steps} meta steps, fewer than {LEAST_FALLS}, so the mixture will stay "
                f"what it starts with; raise adapt.learned.overhead, or {longer}"
            )
    if run.meta is not None and run.meta.cost > META_COST:
        found.append(
            f"meta steps will add about {run.meta.cost:.0%} to the training time, more than "
            f"{META_COST:.0%}, because a step of {run.rows_per_step:.0f} rows is small for "
            f"{len(run.tasks)} tasks; remove adapt.learned.update_every and rows_per_task, or "
            "raise micro_batch_size or gradient_accumulation_steps"
        )
    for task in run.tasks:
        if task.repeats > REPEATS:
            found.append(
                f"{task.name}: each of its {task.rows:,} rows is seen {task.repeats:.1f} times "
                f"under the first mixture; set adapt.max_repeats: {REPEATS:g}, {shorter}, or join "
                "it with another task by giving both one task: name"
            )
        if task.validation_rows < VALIDATION_ROWS:
            found.append(
                f"{task.name}: {task.validation_rows} validation rows, fewer than "
                f"{VALIDATION_ROWS}: its loss is mostly noise; raise adapt.val_examples, or give "
                "it more test_datasets rows"
            )
    if run.learn_rows and not comes_round(run):
        found.append(
            "adapt.rows: learned changes nothing here: no task's rows come round a third time "
            f"under the first mixture; {longer}, or remove it"
        )
    if much_is_left_out(run):
        found.append(
            f"{left_out(run, sequence_len)} Raise sequence_len, or set excess_length_strategy: "
            "truncate"
        )
    return found
