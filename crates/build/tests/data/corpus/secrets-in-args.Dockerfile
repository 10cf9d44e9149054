FROM busybox
ARG GITHUB_TOKEN
ARG PUBLIC_KEY=harmless
RUN curl -H "Authorization: $GITHUB_TOKEN" https://example.org
