# docker build -f deploy/docker-discover.Dockerfile -t docker-discover .

# HAProxy alone, for compose.haproxy.yaml too: another docker-discover does not make this another image.
FROM debian:bookworm-slim AS haproxy
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates haproxy libcurl4 libstdc++6 \
    && rm -rf /var/lib/apt/lists/*

FROM swift:6.3-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libcurl4-openssl-dev
WORKDIR /src
COPY Package.swift ./
COPY Sources Sources
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --product docker-discover \
    && install -s .build/release/docker-discover /usr/local/bin/

FROM haproxy
COPY --from=build /usr/local/bin/docker-discover /usr/local/bin/
VOLUME /var/lib/docker-discover
ENTRYPOINT ["docker-discover"]
