# make demo      phantom films, train, evaluate: a few minutes on two CPU cores
# make test      all tests
# make bench     times, side by side with how others do it
# make lint      ruff
# make clean     remove what the targets above made

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
DEMO = --data-dir demo/data --resize 72 --crop-size 64
# The GPU wheel where there is a GPU.
REQUIREMENTS := $(shell nvidia-smi >/dev/null 2>&1 && echo requirements.txt || echo requirements-cpu.txt)

.PHONY: demo test test-paddle26 bench lint clean
.DELETE_ON_ERROR:

$(VENV)/installed: $(REQUIREMENTS)
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r $(REQUIREMENTS)
	touch $@

# Few retries: an index that cannot be reached is passed over within a second, not eight a package.
$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(RUN) -m pip install --quiet --retries 1 -r requirements-dev.txt
	touch $@

demo/data/labels/test_list.txt: demo/phantoms.py | $(VENV)/installed
	$(RUN) demo/phantoms.py --output-dir demo/data

demo: $(VENV)/installed demo/data/labels/test_list.txt
	rm -rf demo/save demo/result
	$(RUN) train.py $(DEMO) --save-dir demo/save --pretrained none --batch-size 16 --epochs 6 --decay-epochs 4,5
	$(RUN) eval.py $(DEMO) --weights demo/save/best_model.pdparams --batch-size 32 --output-dir demo/result
	@echo "These films are cartoons: the figures show that the network learns, nothing about patients."

test: lint
	$(RUN) -m pytest -q -n 2 --dist worksteal tests

# The last GPU wheel on the public index is Paddle 2.6.2, built against NumPy 1; this is its CPU twin.
test-paddle26:
	test -x .venv26/bin/python || $(PYTHON) -m venv .venv26
	.venv26/bin/python -m pip install --quiet --retries 1 setuptools paddlepaddle==2.6.2 'numpy<2' \
	    $$(grep -hE '^(jinja2|matplotlib|pillow|safetensors|scikit-learn|scipy|tqdm)' requirements-cpu.txt) -r requirements-dev.txt
	.venv26/bin/python -m pytest -q -n 2 --dist worksteal tests

# Side by side with PyTorch and the earlier port, on the films of ../shared/sample: about 15 minutes.
bench: $(VENV)/installed-dev
	$(RUN) benchmarks/bench.py

lint: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

clean:
	rm -rf .venv .venv26 demo/data demo/save demo/result .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
