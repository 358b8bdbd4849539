# Everything a contributor or CI runs. The environment is made by the first target that needs it.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# axolotl finds its launchers (accelerate, torchrun) by name.
export PATH := $(abspath $(BIN)):$(PATH)
# No network beyond the package registry, no telemetry; two threads suit a small machine.
export HF_HUB_OFFLINE ?= 1
export HF_DATASETS_OFFLINE ?= 1
export AXOLOTL_DO_NOT_TRACK ?= 1
export TOKENIZERS_PARALLELISM ?= false

# Test processes; each training run in a test uses one core.
WORKERS ?= 2

.PHONY: help env demo results bench gpu estimators study study-small study-page check test test-fast wheel light inspect newest format grid clean

help:
	@echo "make demo    train the tiny recipe and its uniform twin, show both side by side"
	@echo "make results train all that docs/results.md tells of, and write it"
	@echo "make bench   cost of meta steps and runs, the sampler, comparisons and their error rate"
	@echo "make gpu     on an accelerator: kernels that work, what meta steps and runs cost"
	@echo "make estimators  the estimator of each of Axolotl's example YAMLs (AXOLOTL_EXAMPLES=DIR)"
	@echo "make study   train the grid behind docs/study.md, and write it; goes on where it was stopped"
	@echo "make study-small  a part of it, about an hour on two cores (ADAPT_TEST_DATA=DIR for both)"
	@echo "make check   formatting, linting, types; recipes, their list and generated docs up to date"
	@echo "make test    all tests (ADAPT_TEST_DATA=DIR adds those on real data)"
	@echo "make test-fast  those that take no longer than ten seconds each"
	@echo "make wheel   build the package, install it in a clean environment, train from it"
	@echo "make light   build adapt-eval alone, install it in a clean environment, compare with it"
	@echo "make inspect install it with inspect_ai in a clean environment, test on Inspect's logs"
	@echo "make newest  the newest Axolotl of the registry, where it is not the tested one"
	@echo "make format  write the formatting"
	@echo "make grid    write the recipes, their list and docs/keys.md again"

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing all packages into $(VENV), of which torch is the largest: about 4.5 GB on disk."
	@echo "This takes minutes and happens once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip<27"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# Each command is printed before it runs, so that a reader can go on alone.
demo: env
	$(BIN)/adapt-axolotl tiny data/tiny
	$(BIN)/axolotl train recipes/adapt_tiny_cpu.yml
	$(BIN)/axolotl train recipes/uniform_tiny_cpu.yml
	@printf '\n%s\n%s\n\n' "================================ The result ================================" \
		"All above is the log of training. The learned run is A, its uniform twin is B:"
	$(BIN)/adapt-axolotl show runs/adapt_tiny_cpu runs/uniform_tiny_cpu

# The runs behind docs/results.md; ADAPT_TEST_DATA names the folder of real data.
results: export OMP_NUM_THREADS = 1
results: env
	$(BIN)/adapt-axolotl tiny data/tiny
	for run in $(foreach kind,adapt uniform proportional,$(kind)_tiny_cpu $(kind)_real_cpu); do \
		$(BIN)/axolotl train recipes/$$run.yml || exit 1; \
		for seed in 1 2; do \
			$(BIN)/axolotl train recipes/$$run.yml --seed $$seed \
				--output-dir runs/$${run}_seed$$seed || exit 1; \
		done; \
	done
	$(BIN)/python benchmarks/results.py

# About an hour and a half on two cores. What each prints is kept under docs/measured.
BENCHES = row_losses_cost meta_step_cost split_batches_cost fsdp_memory zero3_memory vocabulary_memory \
	plan_memory run_overhead absent_tasks many_rows gpu compare_speed eval_overhead null_simulation \
	seed_simulation effects_truth
bench: env
	$(BIN)/adapt-axolotl tiny data/tiny
	for name in $(BENCHES) $${ADAPT_TEST_DATA:+start_up}; do \
		$(BIN)/python benchmarks/$$name.py > docs/measured/$$name.txt || exit 1; \
		cat docs/measured/$$name.txt; \
	done
	$(BIN)/python docs/cost.py

# About ten minutes; without an accelerator only gpu.py ends soon. Logs are kept in runs/gpu.
gpu: env
	: "$${ADAPT_TEST_DATA:?names the folder of data}"
	$(BIN)/adapt-axolotl tiny data/tiny
	$(BIN)/python benchmarks/gpu_check.py data/tiny --out runs/gpu/check
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/gpu_overhead.py data/tiny "$$ADAPT_TEST_DATA/mixture" --out runs/gpu/overhead

# AXOLOTL_EXAMPLES is `examples` of Axolotl's source distribution (pip download --no-deps
# --no-binary :all: axolotl==VERSION). About a quarter of an hour.
estimators: env
	$(BIN)/python -m benchmarks.example_yamls "$${AXOLOTL_EXAMPLES:?names the folder of examples}"
	$(BIN)/python docs/estimators.py

# The runs behind docs/study.md, in runs/study; both go on with what is not done there. STUDY has
# filters, as in make study STUDY="--only uniform,learned --seeds 1 --budgets 1%".
STUDY ?=
TRAIN_STUDY = $(BIN)/python benchmarks/run_study.py "$${ADAPT_TEST_DATA:?names the folder of data}/study" \
	--out runs/study
study: env
	$(TRAIN_STUDY) $(STUDY)
	$(MAKE) study-page

study-small: env
	$(TRAIN_STUDY) --small $(STUDY)
	$(MAKE) study-page

# At any time, of the runs that are done.
study-page: env
	$(BIN)/python benchmarks/collect_study.py runs/study
	$(BIN)/python benchmarks/study_page.py

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python recipes/grid.py --check
	$(BIN)/python docs/keys.py --check
	$(BIN)/python docs/cost.py --check
	$(BIN)/python docs/estimators.py --check
	$(BIN)/python benchmarks/signal_tables.py --check
	$(BIN)/python benchmarks/rows_tables.py --check
	$(BIN)/python benchmarks/absent_tables.py --check
	$(BIN)/python benchmarks/study_page.py --check

# A file's tests stay in one process, so that they share what they trained. Files in their own order:
# xdist would put those of few tests last, which are the longest, and one process would wait.
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
test: export OMP_NUM_THREADS ?= 1
test: env
	$(BIN)/python -m pytest $(SPREAD)

test-fast: export OMP_NUM_THREADS ?= 1
test-fast: env
	$(BIN)/python -m pytest $(SPREAD) -m "not slow"

# In a folder of its own, where this checkout cannot be imported.
wheel: env
	rm -rf dist build .venv-wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --upgrade "pip<27"
	.venv-wheel/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	mkdir .venv-wheel/work
	cp recipes/adapt_tiny_cpu.yml .venv-wheel/work
	cd .venv-wheel/work && export PATH=$(CURDIR)/.venv-wheel/bin:$$PATH && \
		adapt-axolotl tiny data/tiny && \
		axolotl train adapt_tiny_cpu.yml --max-steps 60 && \
		adapt-axolotl show runs/adapt_tiny_cpu && \
		adapt-eval suites

# adapt-eval alone, without Axolotl, torch and lm-eval.
LIGHT_WHEEL = rm -rf dist-light && \
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist-light packaging/adapt-eval
light: env
	$(LIGHT_WHEEL)
	rm -rf .venv-light
	$(PYTHON) -m venv .venv-light
	.venv-light/bin/python -m pip install --quiet --upgrade "pip<27"
	.venv-light/bin/python -m pip install --quiet --constraint constraints.txt dist-light/*.whl
	mkdir .venv-light/work
	$(BIN)/python -m tests.support.log_files .venv-light/work/a .venv-light/work/b
	cd .venv-light/work && export PATH=$(CURDIR)/.venv-light/bin:$$PATH && \
		adapt-eval --version && \
		adapt-eval compare a b && \
		adapt-eval report a b --charts charts

# The tests that read Inspect's logs, on the installed package; none of them may be skipped.
inspect: env
	$(LIGHT_WHEEL)
	rm -rf .venv-inspect
	$(PYTHON) -m venv .venv-inspect
	.venv-inspect/bin/python -m pip install --quiet --upgrade "pip<27"
	.venv-inspect/bin/python -m pip install --quiet pytest "$$(ls dist-light/*.whl)[inspect]" \
		--constraint packaging/adapt-eval/constraints.txt
	mkdir .venv-inspect/work
	cp -r tests .venv-inspect/work
	cd .venv-inspect/work && ../bin/python -m pytest -c $(CURDIR)/pyproject.toml --rootdir . \
		-p no:cacheprovider tests/adapt_eval/logs/test_inspect_logs.py > test.log || \
		{ cat test.log; exit 1; }
	cat .venv-inspect/work/test.log
	! grep -q SKIPPED .venv-inspect/work/test.log

# AXOLOTL='axolotl @ git+https://github.com/axolotl-ai-cloud/axolotl' looks at its main branch.
newest: env
	$(BIN)/python packaging/newest_axolotl.py $(if $(AXOLOTL),--axolotl "$(AXOLOTL)")

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

grid: env
	$(BIN)/python recipes/grid.py
	$(BIN)/python docs/keys.py

clean:
	rm -rf $(VENV) .venv-wheel .venv-light .venv-inspect .venv-newest build dist dist-light runs data/tiny
