FROM rust:1.80 AS build
WORKDIR /w
RUN --mount=type=bind,target=. --mount=type=cache,id=cargo,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/target \
    cargo build --release --target-dir /target && cp /target/release/x /x
FROM debian:12
COPY --link --from=build /x /usr/bin/
