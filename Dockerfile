# The image of the operator and of the servers it runs: three static binaries and nothing else, no shell, no libc, not root.
#
#   docker build .                               compiles here (the last stage)
#   docker build --target prebuilt FOLDER        takes FOLDER/ensemble, FOLDER/operator and FOLDER/zk as cargo left them
#
# Only classic instructions, so that it builds with and without BuildKit.

# What the image is, whoever compiled the binaries.
FROM scratch AS runtime
LABEL org.opencontainers.image.title="zookeeper-ensemble" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532

FROM runtime AS prebuilt
COPY ensemble operator zk /

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY . .
ARG ENSEMBLE_COMMIT
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo build --release --locked --target x86_64-unknown-linux-gnu -p ensemble-server --bin ensemble \
 && cargo build --release --locked --target x86_64-unknown-linux-gnu -p operator-controller --bin operator \
 && cargo build --release --locked --target x86_64-unknown-linux-gnu -p ensemble-zk --bin zk \
 && mkdir /out \
 && for program in ensemble operator zk; do \
      strip -o /out/$program target/x86_64-unknown-linux-gnu/release/$program; \
    done

FROM runtime
COPY --from=build /out/ensemble /out/operator /out/zk /
