# make demo      phantom films, train, evaluate: a few minutes on two CPU cores
# make reproduce DATA=/path    download, check, cache, convert, evaluate, train, evaluate, compare: days
#                              without a GPU; OPTIONS=--dry-run shows the steps
# make check     lint, format, import rules, and the tests that start no training and no browser
# make test      make check's rules and the tests
# make test-all  the long ones too: benchmarks, all pages of docs/, the notebook, second machines
# make bench     times, side by side with how others do it
# make rehearse  every command on 112,120 names of a few real films: time and memory
# make picture   draw docs/picture.png again, of phantoms
# make clean     remove what the targets above made

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
DEMO = --data-dir demo/data --resize 144 --crop-size 128
# The GPU wheel where there is a GPU.
REQUIREMENTS := $(shell nvidia-smi >/dev/null 2>&1 && echo requirements.txt || echo requirements-cpu.txt)

.PHONY: demo reproduce check test test-all test-paddle26 test-paddle26-gpu bench rehearse picture rules clean
.DELETE_ON_ERROR:

$(VENV)/installed: $(REQUIREMENTS) requirements-base.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-compile -r $(REQUIREMENTS)
	touch $@

# Modules are compiled as they are loaded (--no-compile): most of them never are.
# Few retries: an index that cannot be reached is passed over within a second, not eight a package.
$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt requirements-dicom.txt
	$(RUN) -m pip install --quiet --retries 1 --no-compile -r requirements-dev.txt
	touch $@

demo/data/labels/test_list.txt: demo/phantoms.py | $(VENV)/installed
	$(RUN) demo/phantoms.py --output-dir demo/data

demo: $(VENV)/installed demo/data/labels/test_list.txt
	rm -rf demo/save demo/result
	$(RUN) train.py $(DEMO) --save-dir demo/save --pretrained none --batch-size 16 --epochs 6 --decay-epochs 4,5
	$(RUN) eval.py --data-dir demo/data --weights demo/save/best_model.pdparams --batch-size 32 --output-dir demo/result
	@echo "These films are cartoons: the figures show that the network learns, nothing about patients."
	@echo "Open demo/result/report.html."

# What tests need brings torch, which reads the published checkpoint. The steps are shown without.
DATA ?= ChestX-ray14
IS_DRY = $(findstring --dry-run,$(OPTIONS))
reproduce: $(if $(IS_DRY),,$(VENV)/installed-dev)
	$(if $(IS_DRY),$(shell test -x $(RUN) && echo $(RUN) || echo $(PYTHON)),$(RUN)) reproduce.py --data-dir "$(DATA)" $(OPTIONS)

rules: $(VENV)/installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	PYTHONPATH=. $(VENV)/bin/lint-imports --no-logo

# Three at a time on two cores: many tests wait, for a launcher or a server.
check: rules
	$(RUN) -m pytest -q -n 3 --dist worksteal -m "not slow" tests

test: rules
	$(RUN) -m pytest -q -n 3 --dist worksteal -m "not rare" tests

test-all: rules
	$(RUN) -m pytest -q -n 3 --dist worksteal tests

# The last GPU wheel on the public index is Paddle 2.6.2, built against NumPy 1; this is its CPU twin.
PYLIBJPEG_OF_NUMPY_1 = pylibjpeg==2.0.1 pylibjpeg-openjpeg==2.3.0
test-paddle26:
	test -x .venv26/bin/python || $(PYTHON) -m venv .venv26
	grep -hv '^pylibjpeg\|^numpy\|^#\|^-r' requirements-base.txt requirements-dicom.txt requirements-dev.txt > .venv26/requirements.txt
	.venv26/bin/python -m pip install --quiet --retries 1 setuptools paddlepaddle==2.6.2 'numpy<2' \
	    -r .venv26/requirements.txt $(PYLIBJPEG_OF_NUMPY_1)
	.venv26/bin/python -m pytest -q -n 3 --dist worksteal tests

# That wheel itself, on a machine without a GPU: what a user with a broken driver has. None of its
# GPU kernels runs. 600 MB.
test-paddle26-gpu:
	test -x .venv26gpu/bin/python || $(PYTHON) -m venv .venv26gpu
	grep -hv '^pylibjpeg\|^numpy\|^#\|^-r' requirements-base.txt requirements-dicom.txt requirements-dev.txt > .venv26gpu/requirements.txt
	.venv26gpu/bin/python -m pip install --quiet --retries 1 setuptools paddlepaddle-gpu==2.6.2 'numpy<2' \
	    -r .venv26gpu/requirements.txt $(PYLIBJPEG_OF_NUMPY_1)
	.venv26gpu/bin/python -m pytest -q -n 3 --dist worksteal tests

# Side by side with PyTorch and the earlier port, on the films of ../shared/sample: about half an hour.
# The table of a card alone: python benchmarks/device.py
bench: $(VENV)/installed-dev
	$(RUN) benchmarks/bench.py

# Lists and films of ../shared; 9 GB below TMPDIR for as long as it runs.
rehearse: $(VENV)/installed
	$(RUN) benchmarks/rehearse.py

# At crops of 160 pixels a heat map has 5 x 5 values, where the demo's has 2 x 2: about 20 minutes.
PICTURE = --data-dir demo/data --weights demo/picture/save/best_model.pdparams
picture: $(VENV)/installed demo/data/labels/test_list.txt
	rm -rf demo/picture
	$(RUN) train.py --data-dir demo/data --resize 180 --crop-size 160 --save-dir demo/picture/save --pretrained none \
	    --batch-size 16 --epochs 8 --decay-epochs 5,7
	$(RUN) eval.py $(PICTURE) --batch-size 32 --output-dir demo/picture/result
	$(RUN) demo/picture.py $(PICTURE) --result demo/picture/result docs/picture.png

clean:
	rm -rf .venv .venv26 .venv26gpu demo/data demo/save demo/result demo/picture demo/worked_example .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
