# The demo, or any command: docker run ocnet_pl ocnet-train --help
FROM python:3.12-slim
WORKDIR /ocnet_pl
# OpenCV's headless build needs no libraries of the system. Versions are those with which the tests run.
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY src src
COPY conf conf
COPY experiments experiments
RUN pip install --no-cache-dir --constraint constraints.txt '.[explore,export,tensorboard,weights]'
CMD ["sh", "-c", "ocnet-train experiment=demo && ocnet-report outputs/demo"]
