"""Learning rate schedules that cannot follow a token budget."""

# Values of `lr_scheduler` whose schedulers count steps themselves.
COUNT_STEPS = ("greedy", "one_cycle", "reduce_lr_on_plateau", "rex")


def counts_steps(scheduler: str) -> str:
    """What is said of one."""
    return (
        f"lr_scheduler: {scheduler} cannot follow a token budget, because it counts steps itself; "
        "use cosine, linear, constant, polynomial or another warm-up-and-decay schedule of "
        "Transformers"
    )
