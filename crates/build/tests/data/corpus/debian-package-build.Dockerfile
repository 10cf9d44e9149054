FROM debian:12 AS build
RUN echo 'deb-src http://deb.debian.org/debian bookworm main' > /etc/apt/sources.list.d/src.list
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update && apt-get build-dep -y hello && apt-get source -b hello
FROM debian:12
COPY --from=build /hello_*.deb /tmp/
RUN dpkg -i /tmp/hello_*.deb && rm /tmp/*.deb
CMD ["hello"]
