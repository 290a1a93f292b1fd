# The one image of the five commands: python, what the lock file names, hooks/, and nothing else.
# images/README.md says why it is built like this, and what else was measured.

# The only place that names a base image. `make image BASES=local` builds on a stand-in.
ARG PYTHON=python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285
FROM ${PYTHON} AS build
WORKDIR /src

COPY requirements/build.txt requirements/run.txt requirements/
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.txt \
 && python3 -m venv --without-pip /opt/hooks \
 && /opt/build/bin/pip --python /opt/hooks/bin/python3 install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes --requirement requirements/run.txt

COPY images/lay_out.py images/
RUN python3 images/lay_out.py /opt/hooks /root-of-image

COPY LICENSE README.md pyproject.toml ./
COPY hooks hooks
# Isolated (-I): neither PYTHON* variables nor the working directory can put other code in the place of this one.
# What the scripts do for Windows would come before SIGTERM is listened to, which the first process of a container
# otherwise never gets. Unchecked hashes: the same source makes the same bytes, and nothing is compared at each start.
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /opt/build/wheel . \
 && /opt/build/bin/pip --python /opt/hooks/bin/python3 install --no-cache-dir --no-compile --no-deps /opt/build/wheel/*.whl \
 && find /opt/hooks/bin -type f ! -name '*-*' -delete \
 && sed -i -e '1 s/python3*$/python3 -I/' -e '/^import re$/d' -e '/sys\.argv\[0\]/d' /opt/hooks/bin/*-* \
 && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/hooks

# An interpreter in which nothing is installed: also what images/mock-oms is built on.
FROM scratch AS interpreter
COPY --from=build /root-of-image /
ENV PATH=/usr/local/bin:/usr/bin
USER 65532:65532

FROM interpreter
COPY --from=build /opt/hooks /opt/hooks
ENV PATH=/opt/hooks/bin:/usr/local/bin:/usr/bin
LABEL org.opencontainers.image.title="argocd-standby-hooks" \
      org.opencontainers.image.description="Argo CD hooks that put an order management system into standby before a deployment, verify it after, and page when it fails" \
      org.opencontainers.image.licenses="Apache-2.0"
# No entrypoint: each Job says which of the commands it runs.
CMD ["presync-standby", "--help"]
