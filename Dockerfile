# Docker was not at hand. What the lines below run, without apt-get, was run in a folder of its own on Debian 12.
#   docker build -t chexnet .
#   docker run --rm --shm-size=1g chexnet                   make demo, and what it prints
#   docker run --rm -it --shm-size=1g -v /path/to/ChestX-ray14:/chexnet/ChestX-ray14 -v "$PWD/out:/out" \
#       chexnet python eval.py --weights /out/best_model.pdparams --output-dir /out/result
# With a card (not run: no machine of ours has one), and then `docker run --gpus all`:
#   docker build -t chexnet --build-arg REQUIREMENTS=requirements.txt .
FROM python:3.11-slim
ARG REQUIREMENTS=requirements-cpu.txt
# Paddle needs OpenMP of the system.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 make && rm -rf /var/lib/apt/lists/*
WORKDIR /chexnet
# Before the code, so that an edit of it installs nothing again.
COPY Makefile requirements*.txt ./
RUN PIP_NO_CACHE_DIR=1 make .venv/installed REQUIREMENTS=$REQUIREMENTS
COPY . .
ENV PATH=/chexnet/.venv/bin:$PATH
CMD ["make", "demo"]
