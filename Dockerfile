# Two images from one file:
#   docker build -t remediator .                        the service
#   docker build -t remediator-lab --target lab .       the simulated world, and `remediator demo`
# Nothing is compiled: every dependency is a wheel, pinned with its hash in requirements.lock. What installs stays behind in the build stages.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/remediator
COPY requirements.lock ./
RUN --mount=type=cache,target=/var/cache/pip \
    pip --python /opt/remediator/bin/python install --only-binary=:all: --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY remediator/ remediator/
RUN --mount=type=cache,target=/var/cache/pip \
    pip --python /opt/remediator/bin/python install --no-deps '.[postgres,demo]'

FROM ${PYTHON_IMAGE} AS base
RUN pip uninstall --yes --quiet --root-user-action=ignore wheel setuptools pip \
    && groupadd --gid 10001 remediator \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin remediator \
    && install -d -o 10001 -g 10001 -m 0750 /data
# Only /data and /tmp are ever written to: start it with a read-only root.
ENV PATH=/opt/remediator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM base AS lab
COPY --from=build /opt/remediator /opt/remediator
# What a named volume mounted here begins as: a directory that the unprivileged user may write to.
RUN install -d -o 10001 -g 10001 -m 0755 /configuration /run/secrets
WORKDIR /srv/remediator
COPY policy.yaml ./
COPY prometheus-rules/ prometheus-rules/
COPY alertmanager/ alertmanager/
COPY grafana/ grafana/
USER 10001:10001
ENTRYPOINT ["remediator"]
CMD ["demo"]

# The last stage is what `docker build` makes without --target.
FROM base AS service
COPY --from=build /opt/remediator /opt/remediator
ENV REMEDIATOR_LISTEN=0.0.0.0:8080 \
    REMEDIATOR_DATABASE=sqlite:////data/remediator.db \
    REMEDIATOR_POLICY=/etc/remediator/policy.yaml \
    REMEDIATOR_LOG=json
WORKDIR /data
EXPOSE 8080
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["remediator"]
CMD ["serve"]
