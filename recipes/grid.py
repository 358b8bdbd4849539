"""Write the shipped recipes, one text a model and budget, three mixtures each, and their list.

Twins are made from one template, so an ADAPT recipe and its baselines differ in the mixture and the
output directory only. `--check` fails when a file on disk is not what this makes.

    python recipes/grid.py [--check]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from catalogue import catalogue

HERE = Path(__file__).resolve().parent
MIXTURES = {"adapt": "learned", "uniform": "uniform", "proportional": "proportional"}
BUDGETS = (1, 5, 10)

# The paper's abstract says 20 Natural Instructions task types and does not name them; ours, by
# Natural Instructions category.
NATURAL_INSTRUCTIONS = (
    "question_answering",
    "program_execution",
    "question_generation",
    "sentiment_analysis",
    "text_categorization",
    "toxic_language_detection",
    "text_matching",
    "commonsense_classification",
    "named_entity_recognition",
    "information_extraction",
    "wrong_candidate_generation",
    "textual_entailment",
    "cause_effect_classification",
    "fill_in_the_blank",
    "title_generation",
    "coreference_resolution",
    "summarization",
    "story_composition",
    "paraphrasing",
    "data_to_text",
)
TINY = (
    "constant",
    "yes_no",
    "next",
    "copy",
    "capital",
    "sort",
    "add",
    "reverse",
    "noise",
)
REAL = (
    "extractive_question_answering",
    "narrative_question_answering",
    "multi_hop_question_answering",
    "closed_book_question_answering",
    "science_question_answering",
    "commonsense_multiple_choice",
    "commonsense_free_form",
    "answer_verification",
    "paraphrase_detection",
    "paraphrase_generation",
    "question_generation",
    "title_generation",
    "summarization",
    "story_generation",
    "structure_to_text",
    "text_to_concepts",
    "topic_classification",
    "sentiment_analysis",
    "review_rating_prediction",
    "information_extraction",
)

# Twenty tasks with one right answer each, which docs/study.md is about.
STUDY = (
    "cogs",
    "g2p_english",
    "g2p_georgian",
    "g2p_greek",
    "g2p_hungarian",
    "g2p_italian",
    "g2p_japanese",
    "g2p_korean",
    "g2p_welsh",
    "inflect_arabic",
    "inflect_finnish",
    "inflect_georgian",
    "inflect_macedonian",
    "inflect_maltese",
    "inflect_navajo",
    "inflect_spanish",
    "inflect_turkish",
    "inflect_welsh",
    "scan",
    "sql_advising",
)

HEADER = """\
# {title}
#
# Prerequisites: {prerequisites}
# Launch:        axolotl train recipes/{name}.yml
# Override:      axolotl train recipes/{name}.yml {override}
#                (top-level keys only; keys inside adapt: are changed in the file)
# Hardware:      {hardware}
# Status:        {status}

"""
ADAPT = """\
plugins:
  - adapt_axolotl.AdaptPlugin
trainer_cls: adapt_axolotl.trainer.AdaptTrainer   # a missing package stops the run

adapt:
  token_budget: {budget}
  mixture: {mixture}

"""
DATASET_KEYS = """\
    ds_type: json
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
    train_on_eos: turn
"""


def data_blocks(root: str, tasks: tuple[str, ...]) -> str:
    """`datasets:` and `test_datasets:` over <root>/<task>/{train,validation}.jsonl."""
    lines = ["datasets:"]
    for number, task in enumerate(tasks):
        path = f"{root}/{task}/train.jsonl"
        if number == 0:
            lines += ["  - &chat", f"    path: {path}", f"    task: {task}", DATASET_KEYS.rstrip()]
        else:
            lines.append(f'  - {{<<: *chat, path: "{path}", task: {task}}}')
    lines.append("test_datasets:")
    for task in tasks:
        path = f"{root}/{task}/validation.jsonl"
        lines.append(f'  - {{<<: *chat, path: "{path}", task: {task}, split: train}}')
    return "\n".join(lines) + "\n\n"


CPU_SETTINGS = """\
optimizer: adamw_torch
learning_rate: 3e-3
lr_scheduler: cosine
warmup_ratio: 0.05
weight_decay: 0.01
seed: 42

bf16: false
fp16: false
tf32: false
attn_implementation: sdpa
gradient_checkpointing: false
dataset_num_proc: 1
logging_steps: 10
save_strategy: "no"
"""


def tiny_recipe(kind: str) -> tuple[str, str]:
    """The embedded default and its twins."""
    name = f"{kind}_tiny_cpu"
    header = HEADER.format(
        title=f"A first run, {MIXTURES[kind]} mixture: a tiny Qwen3 on nine made tasks.",
        prerequisites=(
            "pip install -c constraints.txt -e . ; adapt-axolotl tiny data/tiny   (no model hub)"
        ),
        name=name,
        override="--learning-rate 1e-3 --output-dir runs/mine",
        hardware="2 CPU cores, a few minutes",
        status="run here; results in docs/results.md",
    )
    body = (
        "base_model: data/tiny/model\n"
        "reinit_weights: true   # the folder has a config and no weights; the seed makes them\n\n"
        + ADAPT.format(budget="100%", mixture=MIXTURES[kind])
        + data_blocks("data/tiny/data", TINY)
        + "dataset_prepared_path: data/tiny/prepared\n"
        + f"output_dir: runs/{name}\n\n"
        + "sequence_len: 64\nmicro_batch_size: 32\ngradient_accumulation_steps: 1\n"
        + "pad_to_multiple_of: 8\n"
        + CPU_SETTINGS
    )
    return name, header + body


def real_recipe(kind: str) -> tuple[str, str]:
    """The tiny model on 20 real tasks, for a folder of data that the environment names."""
    name = f"{kind}_real_cpu"
    header = HEADER.format(
        title=f"A tiny Qwen3 on 20 real tasks at a 5 % budget, {MIXTURES[kind]} mixture.",
        prerequisites="adapt-axolotl tiny data/tiny ; export ADAPT_TEST_DATA=DIR, with\n"
        "#                DIR/mixture/<task>/{train,validation}.jsonl in chat format",
        name=name,
        override="--output-dir runs/mine",
        hardware="2 CPU cores, up to 10 minutes",
        status="run here; results in docs/results.md",
    )
    body = (
        "base_model: data/tiny/model\n"
        "reinit_weights: true   # the folder has a config and no weights; the seed makes them\n\n"
        + ADAPT.format(budget="5%", mixture=MIXTURES[kind])
        + data_blocks("${ADAPT_TEST_DATA}/mixture", REAL)
        + "dataset_prepared_path: data/tiny/prepared\n"
        + f"output_dir: runs/{name}\n\n"
        + "sequence_len: 1024   # drops the longest rows, most of them multi-hop questions\n"
        + "sample_packing: true\neval_sample_packing: false\n"
        + "micro_batch_size: 4\ngradient_accumulation_steps: 2\n"
        + CPU_SETTINGS
    )
    return name, header + body


@dataclass(frozen=True)
class Model:
    """A model of the paper. The abstract names the families and sizes; the checkpoints are ours.

    Attributes:
        key: in the recipe's name.
        hub: the checkpoint.
        template: Axolotl's chat template for it.
        tokens: keys for the token that ends a turn, where it is not the tokenizer's EOS: without
            them Axolotl does not train on it, and the model never learns to stop.
        licence: how to come by it.
    """

    key: str
    hub: str
    template: str
    tokens: str
    licence: str


MODELS = (
    # chatml has Qwen's own markers; its qwen3 template adds an empty thinking block to each answer,
    # which a harness that prompts for thinking then does not find.
    Model("qwen", "Qwen/Qwen3-0.6B", "chatml", "", "open"),
    # -pt: a base model, as Llama-3.2-1B is; -it has been tuned on instructions already.
    Model(
        "gemma",
        "google/gemma-3-1b-pt",
        "gemma3",
        'eot_tokens: ["<end_of_turn>"]   # its EOS is another token\n',
        "gated: accept its licence on the hub",
    ),
    Model(
        "llama",
        "meta-llama/Llama-3.2-1B",
        "llama3",
        'eot_tokens: ["<|eot_id|>"]   # its EOS is another token\n'
        "special_tokens:\n"
        '  pad_token: "<|finetune_right_pad_id|>"   # it has none by default\n',
        "gated: accept its licence on the hub",
    ),
)

GPU_SETTINGS = """\
# Everything below is ours: the paper's abstract gives no hyper-parameters.
sequence_len: 2048
sample_packing: true
eval_sample_packing: false
micro_batch_size: 4
gradient_accumulation_steps: 4
gradient_checkpointing: true
optimizer: adamw_torch_fused
learning_rate: 2e-5
lr_scheduler: cosine
warmup_ratio: 0.03
weight_decay: 0.0
seed: 42

bf16: auto
tf32: true
attn_implementation: flash_attention_2
logging_steps: 5
save_steps: 100
save_total_limit: 2
auto_resume_from_checkpoints: true
"""


def grid_recipe(kind: str, model: Model, budget: int) -> tuple[str, str]:
    """A recipe of the paper's grid."""
    name = f"{kind}_{model.key}_{budget}pct"
    header = HEADER.format(
        title=f"{model.hub}, 20 Natural Instructions task types, {budget} % of the supervised "
        f"tokens, {MIXTURES[kind]} mixture.",
        prerequisites="pip install -c constraints.txt -e . && pip install flash-attn ; hub access "
        f"({model.hub} is {model.licence}) ;\n"
        "#                git clone https://github.com/allenai/natural-instructions ;\n"
        "#                adapt-axolotl prepare natural-instructions --source natural-instructions"
        f" --out data/natural_instructions --recipe recipes/{name}.yml",
        name=name,
        override="--micro-batch-size 2 --gradient-accumulation-steps 8",
        hardware="one GPU with 24 GB or more",
        status="not yet run",
    )
    body = (
        f"base_model: {model.hub}\n"
        f"chat_template: {model.template}   # ours\n"
        f"{model.tokens}\n"
        + ADAPT.format(budget=f"{budget}%", mixture=MIXTURES[kind])
        + "# The 20 types are ours, by Natural Instructions category.\n"
        + data_blocks("data/natural_instructions", NATURAL_INSTRUCTIONS)
        + "dataset_prepared_path: data/prepared\n"
        + f"output_dir: runs/{name}\n\n"
        + GPU_SETTINGS
    )
    return name, header + body


SMALL_SETTINGS = """\
sample_packing: true
optimizer: adamw_torch_fused
learning_rate: {rate}
lr_scheduler: cosine
warmup_ratio: 0.05
weight_decay: 0.1
seed: 42

bf16: auto
attn_implementation: sdpa
dataset_num_proc: 4
logging_steps: 20
save_strategy: "no"
"""


def pretrain_recipe() -> tuple[str, str]:
    """A small model, trained on text first."""
    text = """\
# A Qwen3 of 40 million parameters, trained on text: what the runs of fine_tune.yml start from.
#
# Prerequisites: a JSON-lines file of {"text": ...}; export STUDY_TEXT=FILE
#                python benchmarks/pretrained_base.py $STUDY_TEXT --out data/small/model
# Launch:        axolotl train recipes/pretrained_study/pretrain.yml
#                (benchmarks/pretrained_study.py does this and all that comes after it)
# Hardware:      one GPU with 16 GB or more
# Status:        not yet run; the way was run with a tiny model on a CPU

base_model: data/small/model
reinit_weights: true   # the folder has a config and no weights; the seed makes them

datasets:
  - path: ${STUDY_TEXT}
    ds_type: json
    type: completion
    field: text

dataset_prepared_path: data/small/prepared
output_dir: runs/pretrained_study/base

sequence_len: 512
num_epochs: 1
micro_batch_size: 64
gradient_accumulation_steps: 1
"""
    return "pretrain", text + SMALL_SETTINGS.format(rate="1e-3")


def fine_tune_recipe() -> tuple[str, str]:
    """That model, on the study's tasks."""
    header = """\
# The model of pretrain.yml on the 20 tasks of the study, at a 5 % budget, learned mixture.
#
# Prerequisites: runs/pretrained_study/base of pretrain.yml ; export ADAPT_TEST_DATA=DIR, with
#                DIR/study/<task>/{train,validation,test}.jsonl in chat format
# Launch:        axolotl train recipes/pretrained_study/fine_tune.yml
#                (benchmarks/pretrained_study.py trains all arms and seeds)
# Hardware:      one GPU with 16 GB or more
# Status:        not yet run; the way was run with a tiny model on a CPU

base_model: runs/pretrained_study/base

"""
    body = (
        ADAPT.format(budget="5%", mixture="learned")
        + data_blocks("${ADAPT_TEST_DATA}/study", STUDY)
        + "dataset_prepared_path: data/small/prepared\n"
        + "output_dir: runs/pretrained_study/learned\n\n"
        + "sequence_len: 512\neval_sample_packing: false\n"
        + "micro_batch_size: 1\ngradient_accumulation_steps: 1\n"
        + SMALL_SETTINGS.format(rate="5e-4")
    )
    return "fine_tune", header + body


def all_recipes() -> dict[str, str]:
    """File name -> content."""
    recipes = []
    for kind in MIXTURES:
        recipes += [tiny_recipe(kind), real_recipe(kind)]
        recipes += [grid_recipe(kind, model, budget) for model in MODELS for budget in BUDGETS]
    apart = [pretrain_recipe(), fine_tune_recipe()]
    recipes += [(f"pretrained_study/{name}", content) for name, content in apart]
    return {f"{name}.yml": content for name, content in recipes}


def main(arguments: list[str]) -> int:
    recipes = all_recipes()
    if "--check" not in arguments:
        for name, content in recipes.items():
            (HERE / name).write_text(content, encoding="utf-8")
        (HERE / "README.md").write_text(catalogue(HERE), encoding="utf-8")
        return 0
    made = {**recipes, "README.md": catalogue(HERE)}
    stale = [
        name
        for name, content in made.items()
        if not (HERE / name).is_file() or (HERE / name).read_text(encoding="utf-8") != content
    ]
    if stale:
        print(f"recipes out of date: {', '.join(stale)}; run python recipes/grid.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
