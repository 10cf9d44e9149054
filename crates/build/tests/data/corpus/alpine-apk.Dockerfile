FROM alpine:3.20
ARG PKGS="curl jq"
RUN apk add --no-cache ${PKGS}
ENTRYPOINT ["/sbin/tini", "--"]
CMD ["sh", "-c", "sleep 1 && echo $0"]
