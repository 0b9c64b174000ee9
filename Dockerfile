# The images of compose.yaml: `counterfoil`, the engine, and `chain`, a local chain for it.

# The compiler of rust-toolchain.toml
FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# Queries are checked against the committed .sqlx: nothing here asks a database.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin counterfoil \
    && cp target/release/counterfoil /counterfoil

FROM node:22-bookworm-slim AS chain
WORKDIR /chain
COPY contracts/package.json contracts/package-lock.json ./
# the packages carry their programs, so no script of theirs has to run
RUN npm ci --ignore-scripts --no-audit --no-fund \
    && ln -s "$PWD"/node_modules/@foundry-rs/anvil-linux-*/bin/anvil /usr/local/bin/anvil \
    && mkdir /data && chown node:node /data
USER node
WORKDIR /data
EXPOSE 8545
# The finalized block is two behind the latest. Killed, it writes no state: stop it, or begin anew.
ENTRYPOINT ["anvil", "--host", "0.0.0.0", "--port", "8545", "--slots-in-an-epoch", "1"]
CMD ["--block-time", "2", "--state", "/data/state.json", "--max-persisted-states", "100"]

FROM debian:bookworm-slim AS counterfoil
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin counterfoil \
    # a volume begins with its owner
    && install --directory --mode 0700 --owner counterfoil /state
COPY --from=build /counterfoil /usr/local/bin/counterfoil
COPY tools/healthy /usr/local/bin/healthy
USER 10001
ENV COUNTERFOIL_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["healthy", "8080", "/livez"]
ENTRYPOINT ["counterfoil"]
CMD ["serve"]
